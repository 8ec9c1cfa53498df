r"""What is true of an ncnn network whatever the stage.

layer_types.py  what ncnn has for each type of layer, and what Octet does with it: the one place
layers.py       what is true of one layer: its parameters by name, whether it is int8, which activation it has
origins.py      where a blob's values come from
scales.py       which scales the layers need in a calibration table; ranges.py: what their inputs reach
targets.py      which int8 kernels a device runs best, which layers stay in fp32, and why; profiles.py: targets in files
zero_points.py  all 8 bits for the outputs of ReLU; equalize.py: channels scaled alike
windows.py      what a convolution multiplies its weights with
gptq.py         the weights' integers chosen together, from what a layer reads

    >>> import numpy as np
    >>> from octet.graph.profiles import target
    >>> from octet.ncnn.layer import Layer, Tensor
    >>> from octet.ncnn.net import Net
    >>> weights = {"weight": Tensor(np.ones(216, np.float32))}
    >>> stem = Layer("Convolution", "stem", ["in0"], ["1"], {0: "8", 1: "3", 6: "216"}, weights)
    >>> depthwise = Layer("ConvolutionDepthWise", "dw", ["1"], ["2"], {0: "8", 1: "3", 6: "72", 7: "8"}, weights)
    >>> linear = Layer("InnerProduct", "fc", ["2"], ["out0"], {0: "2", 2: "16"}, weights)
    >>> net = Net([Layer("Input", "in0", [], ["in0"]), stem, depthwise, linear])
    >>> {name: reason.name for name, reason in target("dotprod").fp32_reasons(net).items()}
    {'stem': 'INPUT', 'dw': 'DEPTHWISE'}
"""
