"""ncnn's files for any content: what is valid reads back as it was written, all else is an OctetError."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from octet.core.errors import OctetError
from octet.graph.scales import check_table
from octet.ncnn import layout, table
from octet.ncnn.layer import TAG_FP16, TAG_FP32, TAG_FP32_SCALED, TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net, dumps, load_net, loads
from octet.ncnn.table import Table
from tests import damage, nets

pytestmark = pytest.mark.unit

DTYPES = {TAG_FP32: np.float32, TAG_FP32_SCALED: np.float32, TAG_FP16: np.float16, TAG_INT8: np.int8}
# Words as pnnx and people write them into a .param: no blank, no « = » (which begins a parameter).
NAMES = st.text(string.ascii_letters + string.digits + "_-./:;#'éß虎", min_size=1, max_size=12)
# Parameters that say how many weights there are, as small numbers; ? behind one that may be absent, and is 0 or more.
SIZES = {
    "Gemm": "4? 5? 6? 7 8 9 10? 18?",
    "RNN": "0 1 2? 8?",
    "GRU": "0 1 2? 8?",
    "LSTM": "0 1 2? 3? 8?",
    "Embed": "0 2? 3 18?",
    "MemoryData": "0 1 11 2 21?",
    "BatchNorm": "0",
    "Bias": "0",
    "PReLU": "0",
    "Normalize": "3",
    "Padding": "6?",
    "GroupNorm": "1 3?",
    "InstanceNorm": "0 2?",
    "LayerNorm": "0 2?",
    "RMSNorm": "0 2?",
    "Scale": "0 1?",
    "Quantize": "0",
    "Dequantize": "0 1",
    "Requantize": "0 1 2",
    "ReLU": "",
    "Reshape": "",
    "Anything": "",
}
CONVOLUTIONS = ["Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise", "DeformableConv2D"]
KINDS = [*sorted(SIZES), *CONVOLUTIONS, "InnerProduct", "MultiHeadAttention"]
SMALL = st.integers(1, 3)
# Values of parameters that no type has: of every kind that a reader tells apart.
TEXTS = st.one_of(
    st.integers(-(2**31), 2**31 - 1).map(str),
    st.floats(-9, 9, width=16).map(lambda value: f"{value:.3e}"),
    st.text(string.ascii_letters + " ,-=*", max_size=8).map(lambda text: f'"{text}"'),
)
ARRAYS = st.lists(st.integers(-9, 9), min_size=1, max_size=3).map(
    lambda values: ",".join(map(str, [len(values), *values]))
)


@st.composite
def parameters(draw, kind):
    """The parameters that give a layer its weights, in sizes that fit, and some that no type has."""
    if kind in CONVOLUTIONS:
        group, kernel = draw(SMALL), draw(st.integers(1, 2))
        outputs = group * draw(SMALL)
        result = {0: outputs, 1: kernel, 6: outputs * kernel**2 * draw(SMALL), 5: draw(st.integers(0, 1)), 7: group}
        result[8] = draw(st.sampled_from([0, 1, 2, 101, 102]))
    elif kind == "InnerProduct":
        outputs = draw(SMALL)
        result = {0: outputs, 1: draw(st.integers(0, 1)), 2: outputs * draw(SMALL), 8: draw(st.sampled_from([0, 2]))}
    elif kind == "MultiHeadAttention":
        heads = draw(SMALL)
        width = heads * draw(SMALL)
        result = {
            0: width,
            1: heads,
            2: width * draw(SMALL),
            3: draw(SMALL),
            4: draw(SMALL),
            18: draw(st.sampled_from([0, 2])),
        }
    else:
        result = {}
        for word in SIZES[kind].split():
            if not word.endswith("?"):
                result[int(word)] = draw(SMALL)
            elif draw(st.booleans()):
                result[int(word[:-1])] = draw(st.integers(0, 3))
    more = draw(st.dictionaries(st.integers(23, 27), TEXTS, max_size=2))
    more |= draw(st.dictionaries(st.integers(-23327, -23323), ARRAYS, max_size=1))
    return {key: str(value) for key, value in result.items()} | more


@st.composite
def tensors(draw, slot):
    tag = draw(st.sampled_from(sorted(DTYPES))) if slot.tagged else None
    dtype = np.dtype(DTYPES[tag] if slot.tagged else np.float32)
    raw = draw(st.binary(min_size=slot.count * dtype.itemsize, max_size=slot.count * dtype.itemsize))
    padding = draw(st.binary(min_size=-len(raw) % 4, max_size=-len(raw) % 4))
    return Tensor(np.frombuffer(raw, dtype), tag, padding)  # NaN, infinity and denormals among them


@st.composite
def any_net(draw):
    """A network of an input and up to five layers, in which every blob that is read was made above; weights of any bits."""
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=5))
    first, *names = draw(st.lists(NAMES, min_size=len(kinds) + 1, max_size=len(kinds) + 1, unique=True))
    free = draw(st.lists(NAMES, min_size=1, max_size=2 * len(kinds) + 1, unique=True))
    blobs = [free.pop()]
    layers = [Layer("Input", first, [], [blobs[0]])]
    for kind, name in zip(kinds, names, strict=True):
        inputs = draw(st.lists(st.sampled_from(blobs), max_size=3))
        outputs = [free.pop() for _ in range(draw(st.integers(0, min(len(free), 3))))]
        layer = Layer(kind, name, inputs, outputs, draw(parameters(kind)))
        blobs += outputs
        layer.weights = {slot.role: draw(tensors(slot)) for slot in layout.slots(layer)}
        layers.append(layer)
    return Net(layers)


def same(net, again):
    assert len(net.layers) == len(again.layers)
    for a, b in zip(net.layers, again.layers, strict=True):
        assert (a.type, a.name, a.inputs, a.outputs, a.params) == (b.type, b.name, b.inputs, b.outputs, b.params)
        assert list(a.params) == list(b.params), "in their order"
        assert a.weights.keys() == b.weights.keys()
        for role, tensor in a.weights.items():
            other = b.weights[role]
            assert (tensor.tag, tensor.data.dtype, tensor.padding) == (other.tag, other.data.dtype, other.padding)
            assert tensor.data.tobytes() == other.data.tobytes()


@given(any_net())
@damage.examples(100)
def test_any_net_reads_back_as_it_was_written(net):
    text, data = dumps(net)
    again = loads(text, data)
    same(net, again)
    assert dumps(again) == (text, data)


def test_every_type_with_weights_is_among_them():
    """What the test above draws: every type that layout.py has a rule for; those of 1 and 3 axes have the rule of 2 axes."""
    kinds = {kind for kind in layout._RULES if not kind.endswith(("1D", "3D"))}
    assert kinds == set(KINDS) - {"ReLU", "Reshape", "Anything"}


PARAM, BIN = dumps(nets.small())


@given(damage.contents(PARAM.encode()))
@damage.examples(100)
def test_any_param_is_read_or_refused(tmp_path, content):
    """The whole small network's .bin beside it. What is read, is written and read again."""
    (tmp_path / "m.param").write_bytes(content)
    (tmp_path / "m.bin").write_bytes(BIN)
    net = damage.result_or_octet_error(lambda: load_net(tmp_path / "m.param", tmp_path / "m.bin"))
    if net is not None:
        same(net, loads(*dumps(net)))


@given(any_net().flatmap(lambda net: st.tuples(st.just(net), damage.damaged(dumps(net)[0].encode()))))
@damage.examples(120)
def test_any_damage_of_any_param_is_read_or_refused(tmp_path, case):
    net, content = case
    (tmp_path / "m.param").write_bytes(content)
    (tmp_path / "m.bin").write_bytes(dumps(net)[1])
    again = damage.result_or_octet_error(lambda: load_net(tmp_path / "m.param", tmp_path / "m.bin"))
    if again is not None:
        same(again, loads(*dumps(again)))


@given(any_net().flatmap(lambda net: st.tuples(st.just(net), damage.contents(dumps(net)[1]))))
@damage.examples(80)
def test_any_bin_is_read_or_refused(case):
    """Of the wrong size it is refused; of the right size it may hold any numbers."""
    net, data = case
    text = dumps(net)[0]
    again = damage.result_or_octet_error(lambda: loads(text, data, "m.param", "m.bin"))
    if again is not None:
        assert len(data) == len(dumps(again)[1])
        assert dumps(again) == (text, data)


SCALES = st.floats(width=32, min_value=0, exclude_min=True, allow_infinity=False).map(np.float32)
VECTORS = st.integers(1, 5).flatmap(lambda n: st_numpy.arrays(np.float32, n, elements=SCALES))


@st.composite
def tables(draw):
    """Weights and inputs of any layers, attention's among them; a name holds no blank and no « _param_ »."""
    names = draw(st.lists(NAMES.filter(lambda name: not name.startswith("#")), max_size=5, unique=True))
    result = Table()
    for name in names:
        kind = draw(st.sampled_from(["layer", "attention", "input"]))
        if kind != "input":
            result.weights[name] = draw(VECTORS)
        if kind == "attention":
            result.more |= {f"{name}_param_{k}": draw(VECTORS) for k in (1, 2, 3)}
        else:
            result.inputs[name] = draw(SCALES)
    return result


@given(tables())
@damage.examples(80)
def test_any_table_reads_back_as_it_was_written(tmp_path, scales):
    table.save(scales, tmp_path / "t")
    again = table.load(tmp_path / "t")
    assert again.inputs == scales.inputs
    for part in ("weights", "more"):
        mine, theirs = getattr(scales, part), getattr(again, part)
        assert mine.keys() == theirs.keys()
        assert all(mine[key].tobytes() == theirs[key].tobytes() for key in mine)


TABLE = b"# calibrated\nconv_1_param_0 412.6 398.1 1.5e-05\nmha_param_0 1 2\nmha_param_1 3 4\nmha_param_2 5 6\nconv_1 25.4\nfc 3\n"


@given(damage.contents(TABLE))
@damage.examples(100)
def test_any_table_file_is_read_or_refused(tmp_path, content):
    """And whatever is read holds finite numbers above zero, and is written and read again."""
    (tmp_path / "t").write_bytes(content)
    result = damage.result_or_octet_error(lambda: table.load(tmp_path / "t"))
    if result is not None:
        assert all((scales > 0).all() and np.isfinite(scales).all() for scales in result.entries().values())
        table.save(result, tmp_path / "again")
        again = table.load(tmp_path / "again")
        assert {key: list(scales) for key, scales in again.entries().items()} == {
            key: list(scales) for key, scales in result.entries().items()
        }


@given(st.lists(st.sampled_from(["conv_1", "conv_2", "conv_3", "fc", "conv_9", "é"]), unique=True), tables())
@damage.examples(50)
def test_a_table_of_another_model_does_not_fit(names, scales):
    """None of these has the right number of scales for every layer."""
    for name, other in zip(names, list(scales.weights), strict=False):
        scales.weights[name] = scales.weights.pop(other)
    layers = [layer for layer in nets.small().layers if "weight" in layer.weights]
    with pytest.raises(OctetError, match="the table does not fit the model"):
        check_table(scales, layers, "int8.table")
