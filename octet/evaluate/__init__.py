"""How accurate a model is: ncnn on a split of the data set, and what it predicted for each image.

evaluate.py     runs a model on all images: the five most likely classes of each
accuracy.py     top-1, top-5, precision, recall and F1, as mmcls's own test computes them
fidelity.py     outputs that are no class scores: int8's beside fp32's
predictions.py  the file with what was predicted for each image
pairs.py        what two models predict for the same images: the drop, the agreement
engines.py      what int8 in other engines loses: engines.json
"""
