"""The files of target ncnn2int8, against what the real tool (ncnn's of July 2026, x86 with F16C) wrote."""

import hashlib

import numpy as np
import pytest

from octet.calibrate.weights import weight_scales
from octet.core.errors import OctetError
from octet.graph.layers import is_int8, quantizable
from octet.graph.profiles import target
from octet.graph.scales import add_attention
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.layout import slots
from octet.ncnn.net import Net, dumps, load_net
from octet.ncnn.table import Table
from octet.ncnn.table import loads as table
from octet.quantize.int8_files import write
from octet.quantize.ncnn2int8 import convert, requantize, round_as_ncnn2int8, to_fp16
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit
PARITY = target("ncnn2int8")

# A clipped convolution whose Split is read by two int8 convolutions with scales of their own (it takes the first's), a
# depthwise one, an odd number of weights left in fp16, 1e-31 in a MemoryData that was tagged, what the writer leaves out.
CONVOLUTIONS = """7767517
12 13
Input                    in0                      0 1 in0
Convolution              conv_1                   1 1 in0 1 0=4 1=1 11=1 2=1 12=1 3=1 13=1 4=0 14=0 5=1 6=12 9=3 -23310=2,0.0,6.0
Split                    split_1                  1 2 1 2 3
ConvolutionDepthWise     dw_1                     1 1 2 4 0=4 1=1 5=1 6=4 7=4
Convolution              conv_2                   1 1 3 5 0=2 1=1 5=0 6=8 9=2 -23310=1,0.1
BatchNorm                bn_1                     1 1 4 6 0=4 1=1.000000e-05
PReLU                    prelu_1                  1 1 6 7 0=4
Concat                   cat_1                    2 1 7 5 8 0=0
Pooling                  gap_1                    1 1 8 9 0=1 4=1 1=0
MemoryData               data_1                   0 1 10 0=6 21=0
BinaryOp                 mul_1                    2 1 9 10 11 0=2
InnerProduct             fc                       1 1 11 out0 0=3 1=1 2=18
"""
CONVOLUTIONS_TABLE = """conv_1_param_0 30.5 24.25 33.123456 27.0 \ndw_1_param_0 90.5 100.25 80.0 127.0 \nconv_2_param_0 100.0 88.8
# fc stays fp32
conv_1 31.75 \ndw_1 21.125 \nconv_2 19.5\n"""
CONVOLUTIONS_INT8 = """7767517
12 13
Input                    in0                      0 1 in0
Convolution              conv_1                   1 1 in0 1 0=4 1=1 5=1 6=12 8=102 9=3 -23310=2,0.000000e+00,6.000000e+00
Split                    split_1                  1 2 1 2 3
ConvolutionDepthWise     dw_1                     1 1 2 4 0=4 1=1 5=1 6=4 7=4 8=1
Convolution              conv_2                   1 1 3 5 0=2 1=1 6=8 8=2 9=2 -23310=1,1.000000e-01
BatchNorm                bn_1                     1 1 4 6 0=4 1=1.000000e-05
PReLU                    prelu_1                  1 1 6 7 0=4
Concat                   cat_1                    2 1 7 5 8
Pooling                  gap_1                    1 1 8 9 0=1 4=1
MemoryData               data_1                   0 1 10 0=6
BinaryOp                 mul_1                    2 1 9 10 11 0=2
InnerProduct             fc                       1 1 11 out0 0=3 1=1 2=18
"""
CONVOLUTIONS_BIN = """
384b0d00db0ae812f71c01dc0fee18f9000040bfabaa4a3fabaaaabeabaa9a3f0000f4410000c2416b7e04420000d8410000fe410000a941
384b0d00e67d0a81abaa2a3e555575bf5555153fabaa0abf0000b5420080c8420000a0420000fe420000a941384b0d003fce68f8951eba43
0000c8429a99b14200009c41abaa8a3fabaa2abd555595bf0000c03e000090bf5555d53e555535bf5555553f5655d53f0000f03f0000a03f
aaaa1240555555beabaaaa3f5555553eabaa6abf0000803e000060bfabaa2a3fabaaeabe5555353f000000000000903f00000000000090bf
5555d53e476b3001ab3c552955bc553755b9003b00b42b3d5531abbbab3855b8003c00b0ab3dab34aabaaa39555585bf0000003f000020bf
"""

# A Gemm as pnnx writes it (B's scale is that of its first row: clamped below), attention on one input, SDPA.
ATTENTION = """7767517
6 8
Input                    in0                      0 1 in0
Gemm                     gemm_1                   1 1 in0 1 0=1.000000e+00 2=0 3=1 4=0 5=1 6=1 7=0 8=4 9=4 10=4
MultiHeadAttention       mha_1                    1 1 1 2 0=4 1=2 2=16
Reshape                  reshape_1                1 1 2 3 0=2 1=3 2=2
Split                    split_1                  1 3 3 4 5 6
SDPA                     sdpa_1                   3 1 4 5 6 out0 5=0
"""
ATTENTION_TABLE = """mha_1_param_0 90.0 91.5 92.25 93.0 \nmha_1_param_1 94.0 95.0 96.0 97.0
mha_1_param_2 98.0 99.0 100.0 101.0 \nmha_1_param_3 88.5\n"""
ATTENTION_INT8 = """7767517
6 8
Input                    in0                      0 1 in0
Gemm                     gemm_1                   1 1 in0 1 3=1 5=1 6=1 8=4 9=4 10=4 18=2
MultiHeadAttention       mha_1                    1 1 1 2 0=4 1=2 2=16 3=4 4=4 6=7.071068e-01 18=2
Reshape                  reshape_1                1 1 2 3 0=2 1=3 2=2
Split                    split_1                  1 3 3 4 5 6
SDPA                     sdpa_1                   3 1 4 5 6 out0 18=2
"""
ATTENTION_BIN = """
384b0d008123ad4fd97b048e30ba5ce67f129b3d476b300100ba553a55b5d53cf734d242384b0d00e6710ba632cb58f17f17af3ed565fc93
abaa2a3e555575bf5555153fabaa0abf384b0d003bd162f88d20b547dc7004982cbf55e8abaa8a3fabaa2abd555595bf0000c03e384b0d00
9229bb52e37c0c9d36c660ef7f19a843abaa2abf0000603f000080be5555a53f384b0d00ee7612af37d45cf9951eba42df6704a00000803e
000060bfabaa2a3fabaaeabe0000b4420000b7420080b8420000ba420000bc420000be420000c0420000c2420000c4420000c6420000c842
0000ca420000b142
"""

# What the tool changes in nets.small(); below, the sha256 of the 1,660 bytes of its .bin.
SMALL = [
    "Convolution              conv_1                   1 1 in0 1 0=8 1=3 4=1 5=1 6=216 8=102 9=1",
    "Convolution              conv_2                   1 1 1 2 0=8 1=3 4=1 5=1 6=576 8=2 9=1",
    "Convolution              conv_3                   1 1 3 5 0=8 1=3 4=1 5=1 6=576 8=2",
    "BinaryOp                 add_1                    2 1 5 4 6",
    "InnerProduct             fc                       1 1 8 out0 0=4 1=1 2=32 8=2",
]
SMALL_SHA256 = "1897d7bfb2dc327cbeaa7609161137e1f57f4ea00a18a9826e005d2289d145c7"


def build(text):
    """The model of a .param's text, with weights that follow from their place in it: 64 values of about ±1.4."""
    layers, place = [], 0
    for line in text.splitlines()[2:]:
        kind, name, inputs, outputs, *words = line.split()
        blobs, params = words[: int(inputs) + int(outputs)], words[int(inputs) + int(outputs) :]
        layer = Layer(kind, name, blobs[: int(inputs)], blobs[int(inputs) :])
        layer.params = {int(key): value for key, value in (word.split("=") for word in params)}
        for slot in slots(layer):
            data = ((np.arange(slot.count) * 37 + place * 11) % 64 - 29).astype(np.float32) / np.float32(24)
            if slot.role == "variance":
                data = np.abs(data) + 1
            if slot.role == "data":
                data[1] = 1e-31
            layer.weights[slot.role] = Tensor(data, 0 if slot.tagged else None)
            place += 1
        layers.append(layer)
    return Net(layers)


def one(kind, params="", inputs=1):
    """A model of one layer without weights."""
    text = f"7767517\n1 1\n{kind} x {inputs} 1{' in0' * inputs} y {params}\n"
    return build(text)


def small():
    """nets.small() and a table for it."""
    net, result = nets.small(), Table()
    for layer, scale in zip(quantizable(net.layers), (20, 30, 40, 50), strict=True):
        result.weights[layer.name] = weight_scales(layer, PARITY)
        result.inputs[layer.name] = np.float32(scale)
    return net, result


@pytest.mark.parametrize(
    ("text", "scales", "keep_fp32", "shape", "expected"),
    [
        (CONVOLUTIONS, CONVOLUTIONS_TABLE, ["fc"], (3, 4, 4), (CONVOLUTIONS_INT8, CONVOLUTIONS_BIN)),
        (ATTENTION, ATTENTION_TABLE, [], (3, 4), (ATTENTION_INT8, ATTENTION_BIN)),
    ],
    ids=["convolutions", "attention"],
)
def test_the_tool_s_bytes(tmp_path, text, scales, keep_fp32, shape, expected):
    net = build(text)
    assert dumps(net)[0] == text
    result = quantize(net, table(scales), PARITY, keep_fp32, "t")
    param, data = dumps(result)
    assert param == expected[0]
    assert data.hex() == "".join(expected[1].split())
    image = np.random.Generator(np.random.PCG64(0)).normal(0, 1, shape).astype(np.float32)
    write(net, tmp_path / "fp32.param", tmp_path / "fp32.bin", image)
    write(result, tmp_path / "int8.param", tmp_path / "int8.bin", image)
    fp32, int8 = (Engine(tmp_path / f"{p}.param", tmp_path / f"{p}.bin")(image) for p in ("fp32", "int8"))
    assert 0 < np.abs(fp32 - int8).max() < 0.2 * np.ptp(fp32), "ncnn reads it, as int8"


def test_small(tmp_path):
    net, actual = small()
    before, result = dumps(net)[0].splitlines(), quantize(net, actual, PARITY, [], "t")
    param, data = dumps(result)
    assert [line for line in param.splitlines() if line not in before] == SMALL
    assert hashlib.sha256(data).hexdigest() == SMALL_SHA256
    write(result, tmp_path / "int8.param", tmp_path / "int8.bin", nets.images(1)[0])
    assert dumps(load_net(tmp_path / "int8.param", tmp_path / "int8.bin")) == (param, data)


def test_a_kept_layer_behind():
    net, actual = small()
    result = quantize(net, actual, PARITY, ["conv_2", "conv_3", "fc"], "t")
    assert [layer.name for layer in result.layers if is_int8(layer)] == ["conv_1"]
    assert result.layer("conv_1").int(8) == 2, "no int8 reader"
    assert {layer.weights["weight"].tag for layer in quantizable(result.layers)[1:]} == {0x01306B47}


def test_requantized_twice():
    """A reader and a Split behind one layer: ncnn2int8 adds 100 for each."""
    layers = [
        nets.conv("a", "in0", "a", 3, 4),
        nets.conv("b", "a", "b", 4, 4),
        Layer("Split", "s", ["a"], ["s1", "s2"]),
        nets.conv("c", "s1", "c", 4, 4),
        nets.conv("d", "s2", "d", 4, 4, groups=4),
    ]
    for scale, layer in enumerate(layers):
        if layer.type != "Split":
            layer.params[8] = "1" if layer.type.endswith("Wise") else "2"
            layer.weights["weight"] = Tensor(np.zeros_like(layer.weights["weight"].data, np.int8), 0x000D4B38)
            layer.weights["input_scale"] = Tensor(np.array([scale], np.float32))
    requantize(Net(layers), lambda layer: True)
    assert [layer.int(8) for layer in layers] == [202, 2, 0, 2, 1]
    assert layers[0].weights["output_scale"].data == [3], "the Split's first reader's"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("Pooling 0=0 1=3 11=3 12=2 13=1 2=2 3=1 5=1", {1: "3", 2: "2", 3: "1", 5: "1"}),
        ("Pooling 0=1 1=3 11=1 2=2 12=1", {0: "1", 1: "3", 11: "1", 2: "2", 12: "1"}),
        ("Softmax 0=0 1=1", {}),
        ("Softmax 1=1 0=-1", {0: "-1", 1: "1"}),
        ("Reduction 0=3 1=0 -23303=2,1,2 4=1 5=1", {0: "3", 1: "0", -23303: "2,1,2", 4: "1", 5: "1"}),
        ("Reduction 0=3 5=1", {0: "3"}),
        ("Slice -23300=2,58,-233 1=0", {-23300: "2,58,-233"}),
        ("Slice 0=58,-233", {-23300: "2,58,-233"}),
        ("Clip 0=0.0 1=6.000000e+00", {0: "0.000000e+00", 1: "6.000000e+00"}),
        ("Clip 0=-3.402823e+38", {0: "-3.402823e+38"}),  # not -FLT_MAX
        ("ELU 0=0.1", {}),
        ("LayerNorm 0=0 1=1.000000e-03 2=0", {2: "0"}),
        ("BinaryOp 0=2 1=1 2=9.99999e-06", {0: "2", 1: "1", 2: "9.999990e-06"}),
        ("BinaryOp 2=4294967297.5", {2: "1.500000e+00"}),  # the digits before the point, in an unsigned integer
        ('Reshape 6="0w,1,-1"', {6: '"0w,1,-1"'}),
        ("Reshape 0=-233 1=3", {1: "3"}),
        ("LSTM 0=8 1=0 2=0", {0: "8", 3: "8"}),
        ("Sigmoid", {}),
    ],
)
def test_parameters(given, written):
    kind, _, params = given.partition(" ")
    if kind == "LSTM":
        layer = Layer("LSTM", "x", ["a"], ["b"], {0: "8", 1: "0", 2: "0"})
        assert convert(Net([layer])).layers[0].params == written
    else:
        assert list(convert(one(kind, params)).layers[0].params.items()) == list(written.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Foo 0=1", "layer x: Octet does not know how ncnn2int8 writes a layer of type Foo"),
        ("Reshape 0=1 12=0 13=2", "layer x: ncnn2int8 would drop Reshape's parameter 12=0, 13=2"),
        ("Flip -23300=1,1", "layer x: ncnn2int8 would drop Flip's parameter -23300=1,1"),
        ("ReLU 31=64", "layer x: ncnn2int8 would drop ReLU's parameter 31=64"),
        ("Input 0=3 11=2", "would drop Input's parameter 11=2"),
        ("Slice 0=58", "would drop Slice's parameter 0=58"),  # one number alone is no array
        ("ReLU 0=1", "layer x: ReLU's parameter 0=1: expected a point or an exponent"),
        ("ReLU 0=nan", "ReLU's parameter 0=nan: expected a number"),
        ("ReLU 0=0.12345678901234", "ReLU's parameter 0=0.12345678901234: expected a number of up to 15 characters"),
        ("Concat 0=1.0", "Concat's parameter 0=1.0: expected an integer"),
        ("Concat 0=4294967296", "Concat's parameter 0=4294967296: expected an integer of 32 bits"),
        ("Slice -23300=3,1,2", "Slice's parameter -23300=3,1,2: expected the number of values, then as many; found 2"),
    ],
)
def test_what_the_tool_would_drop_or_misread(given, message):
    kind, _, params = given.partition(" ")
    with pytest.raises(OctetError, match=message):
        quantize(one(kind, params), Table(), PARITY, [], "t")


@pytest.mark.parametrize(
    ("kind", "params"),
    [("RNN", "0=2 1=6"), ("LSTM", "0=2 1=24"), ("GRU", "0=2 1=18"), ("Embed", "0=2 1=3 3=6")],
)
@pytest.mark.parametrize("name", ["ncnn2int8", "dotprod"])
def test_refused_by_name(kind, params, name):
    net = one(kind, params)
    with pytest.raises(OctetError, match=f"layer x: Octet does not quantize {kind}; list it under keep_fp32"):
        quantize(net, Table(), target(name), [], "t")
    kept = quantize(net, Table(), target(name), ["x"], "t").layers[0]
    assert {tensor.tag for tensor in kept.weights.values() if tensor.tag is not None} <= {0, 0x01306B47}


def test_dotprod_and_attention():
    """B's scale from all of B, attention's from the weights where the table has none; fp32 elsewhere, text as it was."""
    net, dotprod = build(ATTENTION), target("dotprod")
    result = quantize(net, Table(), dotprod, [], "t")
    gemm, attention, sdpa = (result.layer(name) for name in ("gemm_1", "mha_1", "sdpa_1"))
    assert is_int8(gemm)
    assert is_int8(attention)
    assert is_int8(sdpa)
    assert gemm.params == net.layer("gemm_1").params | {18: "2"}
    assert sdpa.params == {5: "0", 18: "2"}
    largest = np.abs(net.layer("gemm_1").weights["b"].data).max()
    assert gemm.weights["b_scale"].data == [np.float32(127) / largest]
    assert gemm.weights["c"].tag == 0
    for role in "q", "k", "v":
        assert np.abs(attention.weights[f"{role}_weight"].data.reshape(4, -1)).max(axis=1).tolist() == [127] * 4
    given = quantize(net, table(ATTENTION_TABLE), dotprod, [], "t").layer("mha_1")
    assert given.weights["q_scales"].data.tolist() == [90, 91.5, 92.25, 93]


@pytest.mark.parametrize("name", ["ncnn2int8", "dotprod"])
def test_attention_kept(name):
    result = quantize(build(ATTENTION), Table(), target(name), ["gemm_1", "mha_1", "sdpa_1"], "t")
    assert not any(map(is_int8, result.layers))
    assert all(18 not in layer.params for layer in result.layers)


def test_attention_needs_its_entries():
    net = build(ATTENTION)
    with pytest.raises(OctetError, match="no entry 'mha_1_param_3': layer mha_1 has no weight scales"):
        quantize(net, table(ATTENTION_TABLE.replace("mha_1_param_3", "# ")), PARITY, [], "t")
    with pytest.raises(OctetError, match="'mha_1_param_2' has 3 scales, layer mha_1 needs 4"):
        quantize(net, table(ATTENTION_TABLE.replace(" 101.0", "")), PARITY, [], "t")
    with pytest.raises(OctetError, match="line 1: 'mha_1_param_1': expected mha_1_param_0 as well"):
        table("mha_1_param_1 94.0 95.0 96.0 97.0\n")
    result = Table()
    add_attention(result, net.layers)
    assert list(result.entries()) == [f"mha_1_param_{k}" for k in range(4)]
    quantize(net, result, PARITY, [], "t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv_1\t25.4\n", "line 1: has a tab"),
        ("conv_1 25.4\rconv_2 3\n", "line 1: has a tab or another control character"),
        ("conv_1 1_0\n", "'1_0' is not a number"),
        ("conv_1 0x1p3\n", "'0x1p3' is not a number"),
        ("conv_1_param_4 1\n", "expected conv_1_param_0, or _1 to _3 for attention"),
    ],
)
def test_what_ncnn_would_read_otherwise_in_a_table(text, message):
    with pytest.raises(OctetError, match=message):
        table(text)


def test_a_table_from_windows():
    result = table("# made elsewhere\r\n conv_1_param_0 1.5 +2.5e1 \r\nconv_1 .5\r\n\r\n")
    assert result.weights["conv_1"].tolist() == [1.5, 25]
    assert result.inputs["conv_1"] == 0.5


def test_matrices_that_need_transposing():
    """A (M=2) and B (N=3) given with K=4 first: rows of K come out, B's scale from all of it."""
    net = one("Gemm", "2=1 3=0 4=1 5=1 7=2 8=3 9=4 10=-1", inputs=0)
    a, b = (net.layers[0].weights[role].data for role in "ab")
    layer = quantize(net, Table(), PARITY, [], "t").layers[0]
    assert layer.params == {3: "1", 4: "1", 5: "1", 7: "2", 8: "3", 9: "4", 10: "-1", 18: "2"}
    result = layer.weights["a"].data.reshape(2, 4) / layer.weights["a_scales"].data[:, None]
    assert np.abs(result - a.reshape(4, 2).T).max() < 0.01
    result = layer.weights["b"].data.reshape(3, 4) / layer.weights["b_scale"].data
    assert np.abs(result - b.reshape(4, 3).T).max() < 0.01


def test_int8_already():
    net, result = small()
    once = quantize(net, result, PARITY, [], "t")
    with pytest.raises(OctetError, match="layer conv_1: is int8 already"):
        quantize(once, result, PARITY, [], "t")


def test_a_table_that_clips():
    """aciq's scales give a little more than 31 for layers that may run as Winograd: ncnn2int8 takes them."""
    net, result = small()
    result.weights["conv_1"] = result.weights["conv_1"] * np.float32(36 / 31)
    assert np.abs(quantize(net, result, PARITY, [], "t").layer("conv_1").weights["weight"].data).max() == 36
    result.weights["conv_1"] *= 3
    with pytest.raises(OctetError, match="layer conv_1: .* integers up to 108"):
        quantize(net, result, PARITY, [], "t")


def test_fp16():
    """Four values to nearest even, and the three behind them cut off towards zero, denormals to nothing."""
    values = np.array([1.0009, 65519.9, 65520, 6e-8, 1.0009, -65535, 6e-8], np.float32)
    assert to_fp16(values).view(np.uint16).tolist() == [0x3C01, 0x7BFF, 0x7C00, 0x0001, 0x3C00, 0xFBFF, 0x0000]
    infinite = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert to_fp16(infinite).view(np.uint16).tolist() == [0x7C00, 0xFC00, 0x7E00]


def test_rounding_to_the_last_bit():
    below = np.nextafter(np.float32(0.5), np.float32(0))
    row = np.array([below, -below, 2.5, -126.5, below, -below, 2.5], np.float32)
    assert round_as_ncnn2int8(row[None]).tolist() == [[1, -1, 3, -127, 0, 0, 3]]
    assert round_as_ncnn2int8(np.array([127.5, -300, 2.0**31, np.nan], np.float32)).tolist() == [127, -127, -127, -127]
