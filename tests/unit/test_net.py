"""The reader and writer of ncnn's .param and .bin, against literal bytes."""

import struct

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.ncnn.bin_file import padding_bytes
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.layout import slots
from octet.ncnn.net import Net, dumps, load_net, loads, save_net
from tests import nets

pytestmark = pytest.mark.unit

PARAM = """7767517
3 3
Input                    in0                      0 1 in0
Convolution              conv_0                   1 1 in0 1 0=1 1=1 5=1 6=3 8=2 9=2 -23310=1,0.1
InnerProduct             fc                       1 1 1 out0 0=1 1=1 2=5
"""
# One 1x1 convolution of 3 inputs in int8 (padded to 4 bytes), then an InnerProduct of 5 weights in fp16 (padded).
BIN = (
    struct.pack("<I3bx", 0x000D4B38, 1, -2, 127)
    + struct.pack("<fff", 0.5, 100.0, 25.0)
    + struct.pack("<I5e2x", 0x01306B47, 1.0, 2.0, -0.5, 0.25, 8.0)
    + struct.pack("<f", 1.5)
)


def test_literal_bytes():
    net = loads(PARAM, BIN)
    conv, fc = net.layers[1:]
    assert conv.weights["weight"].data.tolist() == [1, -2, 127]
    assert conv.weights["weight"].data.dtype == np.int8
    assert conv.weights["bias"].data.tolist() == [0.5]
    assert conv.weights["weight_scales"].data.tolist() == [100.0]
    assert conv.weights["input_scale"].data.tolist() == [25.0]
    assert fc.weights["weight"].data.tolist() == [1.0, 2.0, -0.5, 0.25, 8.0]
    assert conv.int(8) == 2
    assert conv.int(18, 7) == 7
    assert conv.floats(10) == [0.1]
    assert (net.input, net.output) == ("in0", "out0")
    assert dumps(net) == (PARAM, BIN)


def test_save_and_load(tmp_path):
    net = nets.small()
    save_net(net, tmp_path / "a.param", tmp_path / "a.bin")
    again = load_net(tmp_path / "a.param", tmp_path / "a.bin")
    assert dumps(again) == dumps(net)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "a.param"]


def test_quoted_parameter_with_blanks():
    text = '7767517\n2 2\nInput a 0 1 a\nReshape r 1 1 a b 6="0w, 1" 0=3\n'
    assert loads(text, b"").layers[1].params == {6: '"0w, 1"', 0: "3"}


@pytest.mark.parametrize("cut", range(len(BIN)))
def test_truncated_anywhere(cut):
    with pytest.raises(OctetError, match=r"m\.bin: layer \w+, \w+: .*(cut off)"):
        loads(PARAM, BIN[:cut], "m.param", "m.bin")


def test_bytes_left_over():
    with pytest.raises(OctetError, match=r"m\.bin: 4 bytes left over"):
        loads(PARAM, BIN + b"\0\0\0\0", "m.param", "m.bin")


def test_unknown_tag():
    with pytest.raises(OctetError, match="unknown tag 0x12345678"):
        loads(PARAM, struct.pack("<I", 0x12345678) + BIN[4:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with 7767517"),
        ("7767517\n", "line 2"),
        (PARAM.replace("3 3", "4 3"), "promises 4 layers, the file has 3"),
        (PARAM.replace("3 3", "3 9"), "promises 9 blobs, the layers make 3"),
        ("\n".join(PARAM.splitlines()[:-1]) + "\n", "promises 3 layers, the file has 2"),
        (PARAM.replace("1 1 1 out0", "1 1 nope out0"), "reads blob 'nope'"),
        (
            PARAM.replace("InnerProduct             fc     ", "InnerProduct conv_0"),
            "more than one layer is called conv_0",
        ),
        (PARAM.replace("1 1 1 out0", "1 x 1 out0"), "line 5: expected"),
        (PARAM.replace("0=1 1=1 2=5", "0=1 hello 2=5"), "cannot read the parameters"),
        (PARAM.replace("1 1 1 out0 0=1", "1 3 1 out0 0=1"), "names fewer"),
    ],
)
def test_bad_param(text, message):
    with pytest.raises(OctetError, match=message):
        loads(text, BIN)


HEAD = "7767517\n2 2\nInput in0 0 1 in0\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Convolution c 1 1 in0 b 0=x 1=1 6=3", "Convolution's parameter 0=x: expected an integer"),
        ("Convolution c 1 1 in0 b 0=1_0 1=1 6=10", "parameter 0=1_0: expected an integer"),
        ("Convolution c 1 1 in0 b 0=1 1=1 3=1.5 6=3", "parameter 3=1.5: expected an integer"),
        ("Convolution c 1 1 in0 b 0=4294967297 1=1 6=3", "parameter 0=4294967297: expected an integer of 32 bits"),
        ("Convolution c 1 1 in0 b 1=1 6=3", "parameter 0=0: expected at least 1"),
        ("Convolution c 1 1 in0 b 0=0 1=1 6=3", "parameter 0=0: expected at least 1"),
        ("Convolution c 1 1 in0 b 0=-2 1=1 6=2", "parameter 0=-2: expected at least 1"),
        ("Convolution c 1 1 in0 b 0=2 1=0 6=2", "parameter 1=0: expected at least 1"),
        ("Convolution c 1 1 in0 b 0=2 1=1 3=0 6=2", "parameter 3=0: expected at least 1"),
        ("Convolution c 1 1 in0 b 0=2 1=1 6=-4", "parameter 6=-4: expected at least 0"),
        ("Convolution c 1 1 in0 b 0=2 1=3 6=27", "parameter 6=27: expected a multiple of 18"),
        ("Convolution c 1 1 in0 b 0=2 1=1 6=2 40=1", "parameter 40=1: expected a number from 0 to 31"),
        ("Convolution c 1 1 in0 b 0=2 1=1 6=2 9=3", "parameter 9=3: expected 2 values in parameter 10, found 0"),
        ("Convolution c 1 1 in0 b 0=2 1=1 6=2 9=3 10=1.0", "parameter 10=1.0: expected an array"),
        ("Convolution c 1 1 in0 b 0=2 1=1 6=2 9=3 -23310=3,0.0,6.0", "expected the number of values, then as many"),
        ("Convolution c 1 1 in0 b 0=2 1=1 6=2 9=3 -23310=2,0.0,six", "parameter -23310=2,0.0,six: expected a number"),
        ("ConvolutionDepthWise c 1 1 in0 b 0=4 1=1 6=4 7=-4", "parameter 7=-4: expected at least 1"),
        ("ConvolutionDepthWise c 1 1 in0 b 0=4 1=1 6=4 7=0", "parameter 7=0: expected at least 1"),
        ("ConvolutionDepthWise c 1 1 in0 b 0=4 1=1 6=4 7=3", "parameter 7=3: 4 outputs do not fall into so many"),
        ("InnerProduct c 1 1 in0 b 2=4", "InnerProduct's parameter 0=0: expected at least 1"),
        ("InnerProduct c 1 1 in0 b 0=3 2=4", "parameter 2=4: expected a multiple of 3, the outputs"),
        ("MultiHeadAttention c 1 1 in0 b 0=0 1=1 2=16", "parameter 0=0: expected at least 1"),
        ("MultiHeadAttention c 1 1 in0 b 0=4 1=0 2=16", "parameter 1=0: expected at least 1"),
        ("MultiHeadAttention c 1 1 in0 b 0=4 1=3 2=16", "a width of 4 does not fall into so many heads"),
        ("MultiHeadAttention c 1 1 in0 b 0=4 1=2 2=15", "parameter 2=15: expected a multiple of 4"),
        ("BatchNorm c 1 1 in0 b 0=-6", "parameters give the weight 'slope' -6 values"),
        ("Clip c 1 1 in0 b 0=low", "Clip's parameter 0=low: expected a number"),
        ("Clip c 1 1 in0 b 0=0.0 1=1,2", "parameter -23301=2,1,2: expected one number"),
        ("Unheard c 1 1 in0 b 0=1.2.3", "Unheard's parameter 0=1.2.3: expected a number"),
        ("Unheard c -1 1 in0 b", "expected «type name inputs outputs"),
        ("Unheard c 1_0 1 in0 b", "expected «type name inputs outputs"),
    ],
)
def test_parameters_that_cannot_be(line, message):
    """Each names the file, the line and the layer; none ends in another error, or passes."""
    where = r"m\.param: line 4: " if "«" in message else r"m\.param: line 4: layer c: .*"
    with pytest.raises(OctetError, match=f"{where}{message}"):
        loads(f"{HEAD}{line}\n", b"", "m.param")


@pytest.mark.parametrize(
    "line",
    [
        "Clip c 1 1 in0 b 0=0.0 1=6",
        "Slice c 1 1 in0 b 0=58,",
        "Unheard c 1 1 in0 b 0=abc",
        "Convolution c 1 1 in0 b 0=0 1=0 6=0 19=1",  # a weight that is an input, of a shape that pnnx does not know
        "Deconvolution c 1 1 in0 b 0=-1 1=3 6=-9 28=1",
    ],
)
def test_parameters_that_ncnn_reads(line):
    assert loads(f"{HEAD}{line}\n", b"").layers[1].name == "c"


def test_no_input():
    with pytest.raises(OctetError, match="has no Input layer"):
        loads("7767517\n1 1\nMemoryData c 0 1 a\n", b"")


def test_weights_that_ncnn_does_not_read():
    """What a type without int8 would be given, were it made int8."""
    layer = Layer("Deconvolution", "d", ["in0"], ["b"], {0: "1", 1: "1", 6: "3", 8: "2"})
    layer.weights = {"weight": Tensor(np.ones(3, np.int8), TAG_INT8), "weight_scales": Tensor(np.ones(1, np.float32))}
    with pytest.raises(
        OctetError, match="layer d: ncnn's Deconvolution .* reads no weight_scales .* has no int8 for it"
    ):
        dumps(Net([Layer("Input", "in0", [], ["in0"]), layer]))


def test_padding():
    assert [padding_bytes(size) for size in range(6)] == [0, 3, 2, 1, 0, 3]


def test_missing_and_binary(tmp_path):
    with pytest.raises(OctetError, match=r"a\.param: no such file"):
        load_net(tmp_path / "a.param", tmp_path / "a.bin")
    (tmp_path / "a.param").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OctetError, match="not text"):
        load_net(tmp_path / "a.param", tmp_path / "a.bin")


def test_slots_of_other_layers():
    def counts(line):
        kind, *words = line.split()
        layer = Layer(kind, "x", ["a"], ["b"], {int(k): v for k, v in (word.split("=") for word in words)})
        return [(slot.count, slot.tagged) for slot in slots(layer)]

    assert counts("BatchNorm 0=6") == [(6, False)] * 4
    assert counts("LayerNorm 0=6 2=0") == []
    assert counts("GroupNorm 0=2 1=6") == [(6, False)] * 2
    assert counts("PReLU 0=6") == [(6, False)]
    assert counts("MemoryData 0=3 1=4") == [(12, False)]
    assert counts("MemoryData 0=3 1=4 21=0") == [(12, True)]
    assert counts("Gemm 5=1 6=1 8=4 9=3 10=4 18=2") == [(12, True), (4, True), (1, False)]
    assert counts("Convolution 0=4 5=1 6=36 8=102") == [(36, True), (4, False), (4, False), (1, False), (1, False)]
    assert counts("ConvolutionDepthWise 0=4 6=36 7=2 8=1") == [(36, True), (2, False), (1, False)]
    assert counts("Deconvolution 0=4 6=36 19=1") == [(36, True)]
    assert counts("Convolution 0=4 6=36 19=1") == []
    mha = counts("MultiHeadAttention 0=4 1=2 2=16")
    assert [count for count, _ in mha] == [16, 4, 16, 4, 16, 4, 16, 4]
    assert counts("GRU 0=2 1=12 2=0") == [(12, True), (8, True), (12, True)]


def test_what_pnnx_writes_oddly_comes_back_byte_for_byte():
    """Split names given twice, and padding that is not zero (pnnx with fp16=1)."""
    text = "7767517\n5 7\nInput a 0 1 a\nSplit s 1 2 a b c\nSplit s 1 2 b d e\nReLU r 1 1 d f\nInnerProduct i 1 1 c g 0=1 2=3\n"
    data = struct.pack("<I3e", 0x01306B47, 1.0, 2.0, 3.0) + b"\x12\x34"
    assert dumps(loads(text, data))[1] == data
    with pytest.raises(OctetError, match="cut off"):
        loads(text, data[:-1])


@pytest.mark.parametrize(
    ("role", "value", "problem"),
    [
        ("input_scale", 0, "not above zero"),
        ("input_scale", -0.0, "not above zero"),
        ("input_scale", -100, "not above zero"),
        ("weight_scales", -100, "below zero"),
    ],
)
def test_scales_that_cannot_be(tmp_path, role, value, problem):
    """Biases and weights may be, and the scale of a channel whose weights are all zero may be zero."""
    net = loads(PARAM, BIN)
    net.layers[1].weights["bias"].data = np.array([value], np.float32)
    save_net(net, tmp_path / "x.param", tmp_path / "x.bin")
    net.layers[1].weights["weight_scales"].data = np.zeros(1, np.float32)
    save_net(net, tmp_path / "x.param", tmp_path / "x.bin")
    load_net(tmp_path / "x.param", tmp_path / "x.bin")
    net.layers[1].weights[role].data = np.array([value], np.float32)
    save_net(net, tmp_path / "x.param", tmp_path / "x.bin")
    with pytest.raises(OctetError, match=f"x.bin: layer conv_0, {role}: 1 of 1 scales are {problem}; .*make it"):
        load_net(tmp_path / "x.param", tmp_path / "x.bin")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    """Constants may be infinite, as masks are."""
    net = loads(PARAM, BIN)
    net.layers[1].weights["weight_scales"].data = np.array([value], np.float32)
    save_net(net, tmp_path / "x.param", tmp_path / "x.bin")
    with pytest.raises(
        OctetError, match=r"x.bin: layer conv_0, weight_scales: 1 of 1 numbers are not finite; .*make it"
    ):
        load_net(tmp_path / "x.param", tmp_path / "x.bin")
    text = "7767517\n2 2\nInput in0 0 1 in0\nMemoryData mask 0 1 mask 0=1 21=1\n"
    (tmp_path / "x.param").write_text(text)
    (tmp_path / "x.bin").write_bytes(np.float32(value).tobytes())
    if np.isnan(value):
        with pytest.raises(OctetError, match="layer mask"):
            load_net(tmp_path / "x.param", tmp_path / "x.bin")
    else:
        assert load_net(tmp_path / "x.param", tmp_path / "x.bin").layers[1].weights["data"].data[0] == value


def test_a_parameter_over_32_bits():
    with pytest.raises(
        OctetError, match=r"line 3: layer in0: .*parameter 5=1e999: expected a number that fits into 32 bits"
    ):
        loads("7767517\n1 1\nPadding in0 0 1 in0 5=1e999\n", b"")
