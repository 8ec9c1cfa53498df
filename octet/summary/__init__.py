"""fp32 beside int8, from what evaluate and benchmark measured.

summary.py      the figures: their file and their table
pairs.py        what the two predict for the same images: the drop, the agreement
differences.py  where they differ: by class, in the confusion of classes, and on which images
"""
