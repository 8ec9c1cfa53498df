"""The reader and writer of ncnn's .param and .bin, against literal bytes."""

import struct

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.ncnn.layer import Layer
from octet.ncnn.layout import slots
from octet.ncnn.net import dumps, load_net, loads, save_net
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
