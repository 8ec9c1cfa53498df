"""fp32 beside int8, from what evaluate and benchmark measured.

summary.py      the figures: their file and their table
engines.py      the same of other engines, and which of all is the fastest and which the closest to fp32
worst.py        of a network that gives no class scores, the images with the least SQNR
differences.py  where they differ: by class, in the confusion of classes, and on which images
"""
