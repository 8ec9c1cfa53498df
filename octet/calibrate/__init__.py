"""Calibration: which scale makes a layer's input int8, and which its weights.

methods/        the calibrators, one a file; its docstring says how to add one
job.py          what a calibrator works on
observe.py      one pass over the images: the histogram of all that the layers read
histogram.py    histograms that merge exactly
weights.py      the weights' scales
calibrate.py    from the network and the images to the table
ranges.py       what the inputs reach, for ranges.json; activations.py draws it
ppq_graph.py, match.py   PPQ itself, and which of its nodes is which of ncnn's layers
"""
