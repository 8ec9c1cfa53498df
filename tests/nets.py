"""Small ncnn models for tests, with weights of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from octet.core import params
from octet.graph.targets import TARGETS
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net

DOTPROD = replace(TARGETS["dotprod"], fp32_below=0, fp32_second=0)  # which has int8 layers in so small models


def conv(name, blob_in, blob_out, inputs, outputs, kernel=3, stride=1, seed=0, relu=True, groups=1):
    """A Convolution (ConvolutionDepthWise with groups), padded so that stride 1 keeps the size."""
    random = np.random.Generator(np.random.PCG64(seed))
    weight = random.normal(0, 0.3, outputs * inputs // groups * kernel * kernel).astype(np.float32)
    bias = random.normal(0, 0.2, outputs).astype(np.float32)
    params = {0: outputs, 1: kernel, 2: 1, 3: stride, 4: kernel // 2, 5: 1, 6: weight.size}
    if groups > 1:
        params[7] = groups
    if relu:
        params[9] = 1
    kind = "ConvolutionDepthWise" if groups > 1 else "Convolution"
    texts = {key: str(value) for key, value in params.items()}
    return Layer(kind, name, [blob_in], [blob_out], texts, {"weight": Tensor(weight, 0), "bias": Tensor(bias)})


def linear(name, blob_in, blob_out, inputs, outputs, seed=0):
    random = np.random.Generator(np.random.PCG64(seed))
    weight = random.normal(0, 0.3, outputs * inputs).astype(np.float32)
    params = {0: str(outputs), 1: "1", 2: str(weight.size)}
    weights = {"weight": Tensor(weight, 0), "bias": Tensor(random.normal(0, 0.2, outputs).astype(np.float32))}
    return Layer("InnerProduct", name, [blob_in], [blob_out], params, weights)


def small():
    """Two convolutions in a row, a third beside a skip connection, and a classifier of 4 classes: 3x8x8 in."""
    return Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            conv("conv_1", "in0", "1", 3, 8, seed=1),
            conv("conv_2", "1", "2", 8, 8, seed=2),
            Layer("Split", "split_1", ["2"], ["3", "4"]),
            conv("conv_3", "3", "5", 8, 8, seed=3, relu=False),
            Layer("BinaryOp", "add_1", ["5", "4"], ["6"], {0: "0"}),
            Layer("ReLU", "relu_1", ["6"], ["7"]),
            Layer("Pooling", "gap_1", ["7"], ["8"], {0: "1", 4: "1"}),
            linear("fc", "8", "out0", 8, 4, seed=4),
        ]
    )


def images(count, seed=0, size=8):
    """Network inputs: fp32 of shape (3, size, size), within about ±2."""
    random = np.random.Generator(np.random.PCG64(seed))
    return [random.normal(0, 0.7, (3, size, size)).astype(np.float32) for _ in range(count)]


class Computed(Sequence):
    """A sequence of `count` network inputs, each computed by a function when it is asked for."""

    def __init__(self, count: int, function: Callable[[int], np.ndarray]):
        self.count, self.function = count, function

    def __len__(self):
        return self.count

    def __getitem__(self, k):
        return self.function(k)


def settings(method="mse", **changes):
    """The section `calibrate` of the project's params.yaml, with another calibrator and other changes."""
    default = params.load(Path(__file__).parents[1] / "params.yaml").calibrate
    return params.Calibrate(**(vars(default) | {"method": method} | changes))
