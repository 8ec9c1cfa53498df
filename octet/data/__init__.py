"""Data sets, and their images as what a network reads.

images.py       the one sequence that all others take: images[k] is a network's input
dataset.py      a split, whatever its layout on disk: open_split
folders.py      image files: a folder for each class, an annotation file, or no labels; image_files.py reads one
cifar.py        CIFAR-10 and CIFAR-100; cifar_layouts.py: where their files lie; cifar_pickle.py: the python version
preprocess.py   what happens to an image before the network sees it; geometry.py: resizing and cropping
subset.py       which images are used when not all are
unreadable.py   images that cannot be read
arrays.py       what all of these are as arrays
"""

import os

# OpenCV reads this variable when it is loaded, and then refuses larger images before it takes memory for them: a JPEG of
# this many pixels takes 0.2 GiB, a WebP or JPEG 2000 0.4 to 0.5. Set here, so before a module of this room loads OpenCV.
PIXELS_VARIABLE, MOST_PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS", 1 << 25
os.environ.setdefault(PIXELS_VARIABLE, str(MOST_PIXELS))
