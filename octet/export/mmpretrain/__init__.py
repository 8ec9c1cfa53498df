"""mmpretrain 1.x as a source: its configs and weights, brought into the form of mmcls 0.x, which all else reads.

Neither mmpretrain nor mmengine is needed. What a network, a step or a data set of mmpretrain is called in mmcls stands
here and nowhere else.

text_config.py  mmengine's text configs, as far as mmcv 1 does not read them
translate.py    a config; what is no classifier is refused by name
model.py        its model: scopes, renamed options, and what mmcls lacks
pipeline.py     its test pipeline and data_preprocessor
datasets.py     its data sets: where images and labels are
weights.py      renamed weights
"""
