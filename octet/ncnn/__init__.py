r"""ncnn: its files, read and written, and ncnn itself, run.

net.py          a network from its two files, and back: load_net, save_net (loads, dumps: without files)
param_file.py   the text of a .param; layer.py: one layer of it
bin_file.py     a weight in a .bin, and its padding; layout.py: which weights a layer has, in which order
parameters.py   which parameters ncnn's layer types have, and how it reads a value; sizes.py: do they fit one another?
table.py        the calibration table: load, save (loads: without a file)
engine.py       runs a network; partition.py: in several parts
convert.py      ONNX to ncnn, by pnnx
machine.py      which kernels this processor gets; rounding.py: how ncnn rounds

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from octet.ncnn.engine import Engine
    >>> from octet.ncnn.net import load_net, loads, save_net
    >>> net = loads("7767517\n2 2\nInput in0 0 1 in0\nReLU relu 1 1 in0 out0\n", b"")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = Path(folder) / "a.param", Path(folder) / "a.bin"
    ...     save_net(net, *files)
    ...     load_net(*files) == net, Engine(*files)(np.array([-1, 2], np.float32)).tolist()
    (True, [0.0, 2.0])
"""
