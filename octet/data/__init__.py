"""Data sets: the one that the project draws, and the readers."""

import os

# OpenCV reads this variable when it is loaded, and then refuses larger images before it takes memory for them: a JPEG of
# this many pixels takes 0.2 GiB, a WebP or JPEG 2000 0.4 to 0.5. Set here, so before a module of this room loads OpenCV.
PIXELS_VARIABLE, MOST_PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS", 1 << 25
os.environ.setdefault(PIXELS_VARIABLE, str(MOST_PIXELS))
