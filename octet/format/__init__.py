"""ncnn's files, read and written: the graph (.param), the weights (.bin) and the calibration table.

    net = load("fp32.param", "fp32.bin")
    net.layers[1].weights["weight"].data.shape
    save(net, "copy.param", "copy.bin")      # byte for byte what was read

`loads` and `dumps` do the same with text and bytes in memory.
"""

from octet.format.net import Layer, Net, Tensor, dump, dumps, load, loads, save

__all__ = ["Layer", "Net", "Tensor", "dump", "dumps", "load", "loads", "save"]
