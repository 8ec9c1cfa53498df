r"""The int8 model: which layers are int8, their weights' integers, and ncnn's int8 files.

recipe.py       all that it is made from, out of the files that the stages left
quantize.py     the fp32 network and a table become the int8 network; int8_layers.py: one layer of it
ncnn2int8.py    the files as ncnn2int8 writes them, byte for byte
int8_files.py   written, read back and run before they get their names
fp32_layers.py  why layers stayed in fp32
gptq.py         the weights' integers chosen together; gptq_weights.py: their file
finetune.py     the weights and all scales trained; simulation.py, torch_layers.py: ncnn's arithmetic with gradients
mixed_precision.py, sensitivity.py   which layers stay in fp32 under a budget, by what each loses

    >>> import numpy as np
    >>> from octet.graph.profiles import target
    >>> from octet.ncnn.layer import Layer, Tensor
    >>> from octet.ncnn.net import Net
    >>> from octet.ncnn.table import Table
    >>> from octet.quantize.quantize import quantize
    >>> fc = Layer("InnerProduct", "fc", ["in0"], ["out0"], {0: "1", 2: "3"})
    >>> fc.weights["weight"] = Tensor(np.array([0.5, -1, 0.25], np.float32), 0)
    >>> net = Net([Layer("Input", "in0", [], ["in0"]), fc])
    >>> table = Table({"fc": np.array([127], np.float32)}, {"fc": np.float32(42)})
    >>> int8 = quantize(net, table, target("dotprod"), keep_fp32=[], where="int8.table")
    >>> int8.layer("fc").weights["weight"].data.tolist()
    [64, -127, 32]
"""
