"""The int8 ONNX models: ONNX Runtime and ONNX's own evaluator are the oracles, and numpy for a network by hand."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from octet.calibrate import methods
from octet.core.engines.onnx_runtime import Session
from octet.core.errors import OctetError
from octet.core.logits import kl_divergence
from octet.qdq.costs import costs
from octet.qdq.grids import Grid, grid
from octet.qdq.mobile import OPERATORS, lacking
from octet.qdq.network import Network, load
from octet.qdq.placement import float_operators, place
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import check, quantize
from octet.qdq.ranges import Range, ranges, runner, summand
from octet.qdq.weights import weights
from tests import nets
from tests.onnx_nets import classifier

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("exact_onnx_runtime")]

SETTINGS = nets.settings("minmax", weights="absmax")
IMAGES = np.random.Generator(np.random.PCG64(0)).standard_normal((12, 3, 16, 16)).astype(np.float32)


def network(**more) -> Network:
    return Network(classifier(end=(), shape=(1, 3, 16, 16), **more), "net.onnx")


def residual() -> onnx.ModelProto:
    """Two convolutions around a sum and a pool, one of them depthwise, and a linear layer."""
    random = np.random.Generator(np.random.PCG64(2))
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (8, 8, 1, 1), "w4": (5, 8)}
    biases = {"b1": (8,), "b2": (8,), "b4": (5,)}
    tensors = {name: (random.standard_normal(shape) * 0.4) for name, shape in (shapes | biases).items()}
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "relu"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        node("Conv", ["c2", "w3"], ["c3"], "pointwise"),
        node("Add", ["c3", "r1"], ["sum"], "sum"),
        node("MaxPool", ["sum"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["pool"], ["mean"], "mean"),
        node("Flatten", ["mean"], ["flat"], "flat"),
        node("Gemm", ["flat", "w4", "b4"], ["logits"], "last", transB=1),
    ]
    return model_of(nodes, tensors, "logits")


def model_of(nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray], output: str) -> onnx.ModelProto:
    """From an image of 16x16 pixels to 5 logits."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [value("image", onnx.TensorProto.FLOAT, (1, 3, 16, 16))],
        [value(output, onnx.TensorProto.FLOAT, (1, 5))],
        [onnx.numpy_helper.from_array(v.astype(np.float32), name) for name, v in tensors.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def bottlenecks() -> onnx.ModelProto:
    """As ResNet-50 begins: a convolution, a max pool, then two sums behind 1x1 convolutions that widen."""
    random = np.random.Generator(np.random.PCG64(3))
    shapes = {"stem": (4, 3, 3, 3), "narrow": (4, 4, 3, 3), "wide": (8, 4, 1, 1), "beside": (8, 4, 1, 1)}
    shapes |= {"narrow2": (4, 8, 1, 1), "wide2": (8, 4, 1, 1), "last": (5, 8)}
    tensors = {name: (random.standard_normal(shape) * 0.4).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {f"{name}/bias": random.standard_normal(len(tensors[name])).astype(np.float32) for name in shapes}

    def node(kind: str, reads: list[str], gives: str, **more) -> onnx.NodeProto:
        weights = [gives, f"{gives}/bias"] if kind in ("Conv", "Gemm") else []
        return onnx.helper.make_node(kind, [*reads, *weights], [f"{gives}/out"], gives, **more)

    nodes = [
        node("Conv", ["image"], "stem", pads=[1, 1, 1, 1]),
        node("Relu", ["stem/out"], "relu"),
        node("MaxPool", ["relu/out"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool/out"], "narrow", pads=[1, 1, 1, 1]),
        node("Relu", ["narrow/out"], "relu1"),
        node("Conv", ["relu1/out"], "wide"),
        node("Conv", ["pool/out"], "beside"),
        node("Add", ["wide/out", "beside/out"], "sum1"),
        node("Relu", ["sum1/out"], "relu2"),
        node("Conv", ["relu2/out"], "narrow2"),
        node("Relu", ["narrow2/out"], "relu3"),
        node("Conv", ["relu3/out"], "wide2"),
        node("Add", ["wide2/out", "relu2/out"], "sum2"),
        node("Relu", ["sum2/out"], "relu4"),
        node("GlobalAveragePool", ["relu4/out"], "mean"),
        node("Flatten", ["mean/out"], "flat"),
        node("Gemm", ["flat/out"], "last", transB=1),
    ]
    return model_of(nodes, tensors, "last/out")


def logits(model: onnx.ModelProto) -> np.ndarray:
    run = runner(model, "model")
    return np.concatenate([run(image)[0] for image in IMAGES])


@pytest.mark.parametrize("engine", sorted(PROFILES))
@pytest.mark.parametrize(
    "source",
    [residual, bottlenecks, lambda: classifier(end=(), shape=(1, 3, 16, 16))],
    ids=["sum", "bottlenecks", "plain"],
)
def test_is_valid_near_to_fp32_and_the_same_bytes_each_time(engine, source):
    net = Network(source(), "net.onnx")
    (int8,) = quantize(net, [PROFILES[engine]], IMAGES, SETTINGS)
    check(int8, IMAGES[0], "int8.onnx")
    (again,) = quantize(Network(source(), "net.onnx"), [PROFILES[engine]], IMAGES, SETTINGS, workers=3)
    assert int8.model.SerializeToString() == again.model.SerializeToString()
    exact, ours = logits(source()), logits(int8.model)
    assert 0 < np.abs(exact - ours).max() < 0.05 * np.ptp(exact)


@pytest.mark.parametrize("engine", sorted(PROFILES))
def test_an_activation_that_gives_the_logits_is_there(engine):
    model = residual()
    relu = onnx.helper.make_node("Relu", [model.graph.output[0].name], ["positive"], "end")
    model.graph.node.append(relu)
    model.graph.output[0].name = "positive"
    (int8,) = quantize(Network(model, "net.onnx"), [PROFILES[engine]], IMAGES, SETTINGS)
    exact, ours = logits(model), logits(int8.model)
    assert (exact == 0).any()
    assert np.abs(exact - ours).max() < 0.05 * np.ptp(exact)


@pytest.mark.parametrize("engine", sorted(PROFILES))
def test_onnx_s_own_evaluator_computes_the_same(engine):
    """In its order and without fusing anything: half an integer's step is where the two may part."""
    (int8,) = quantize(Network(residual(), "net.onnx"), [PROFILES[engine]], IMAGES, SETTINGS)
    newer = onnx.ModelProto()
    newer.CopyFrom(int8.model)
    newer.opset_import[0].version = 19  # the first that the evaluator has; uint8 means the same there
    reference = ReferenceEvaluator(newer)
    plain = np.concatenate([reference.run(None, {"image": image[None]})[0] for image in IMAGES])
    assert np.abs(plain - logits(int8.model)).max() < 0.01 * np.ptp(plain)


@pytest.mark.parametrize(
    ("opset", "operator", "said"),
    [
        (13, "Relu", "has all operators"),
        (17, "Relu", "lacks opset 17"),
        (14, "HardSwish", "lacks HardSwish"),
        (11, "Mish", "lacks opset 11, Mish"),
    ],
)
def test_what_the_smallest_package_for_phones_lacks_is_named(opset, operator, said):
    model = residual()
    model.opset_import[0].version = opset
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = operator
    assert lacking(model) == said


def test_minimal_builds_of_onnx_runtime_read_it(tmp_path):
    """By ONNX Runtime's own converter: the ORT file computes the same, and needs no operator that we do not know of."""
    (int8,) = quantize(Network(residual(), "net.onnx"), [PROFILES["onnxruntime"]], IMAGES, SETTINGS)
    onnx.save(int8.model, tmp_path / "net.onnx")
    command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(tmp_path / "net.onnx")]
    environment = {**os.environ, "ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL": "basic"}
    subprocess.run([*command, "--optimization_style", "Fixed"], check=True, capture_output=True, env=environment)
    (config,) = tmp_path.glob("*.config")
    needed = [line for line in config.read_text().splitlines() if ";" in line]
    assert {line.split(";")[0] for line in needed} == {"ai.onnx"}
    assert {name for line in needed for name in line.split(";")[2].split(",")} <= OPERATORS
    (converted,) = tmp_path.glob("*.ort")
    session = Session(converted.read_bytes(), converted.name)
    ours = np.concatenate([session.run(None, {"image": image[None]})[0] for image in IMAGES])
    assert np.abs(ours - logits(int8.model)).max() < 0.01 * np.ptp(ours)


def test_openvino_s_is_the_fp32_network_with_fake_quantization_by_hand():
    """Weights and what layers read, each behind its grid: computed by numpy on the fp32 network's own arithmetic."""
    net = Network(residual(), "net.onnx")
    (int8,) = quantize(net, [PROFILES["openvino"]], IMAGES, SETTINGS)
    assert int8.placement.layers == ["pointwise", "last"]
    seen = ranges(net, ["c2", "flat"], IMAGES)
    choose = lambda histogram, levels, settings: histogram.largest  # noqa: E731  # minmax
    for image, ours in zip(IMAGES, logits(int8.model), strict=True):
        values = dict(zip(["r1", "c2"], runner(residual(), "net", ["r1", "c2"])(image), strict=True))
        parts = {}
        for name, tensor in (("pointwise", "c2"), ("last", "flat")):
            source = grid(seen[tensor], choose, SETTINGS)
            rounded = weights(net.layers[name], source, int_bias=False)
            rows = rounded.integers.reshape(len(rounded.scales), -1) * rounded.scales[:, None]
            parts[name] = source, rows
        source, rows = parts["pointwise"]
        c3 = np.einsum("oc,chw->ohw", rows, source.fake(values["c2"])[0])
        c3 += int8.weights["pointwise"].bias[:, None, None]
        pool = (c3 + values["r1"][0]).reshape(8, 8, 2, 8, 2).max(axis=(2, 4))
        source, rows = parts["last"]
        by_hand = rows @ source.fake(pool.mean(axis=(1, 2))) + int8.weights["last"].bias
        np.testing.assert_allclose(ours, by_hand, atol=2 * np.abs(rows).max() * float(source.scale))


def test_onnx_runtime_s_has_both_nodes_around_all_that_it_computes_in_int8():
    net = Network(residual(), "net.onnx")
    placement = place(net, PROFILES["onnxruntime"])
    assert placement.layers == ["first", "depthwise", "pointwise", "last"]
    assert placement.around == ["sum", "pool", "mean", "flat"]
    assert placement.absorbed == ["relu"]
    assert placement.same == {"pool": "sum", "flat": "mean"}
    assert not placement.float_layers
    assert place(net, PROFILES["openvino"]).float_layers == {
        "first": "it reads the network's input",
        "depthwise": "it is depthwise",
    }


def test_openvino_s_has_sums_of_widening_convolutions_and_pools_in_int8():
    """All that a sum adds; before the pool and not behind it; and the first convolution, since a pool alone reads it."""
    net = Network(bottlenecks(), "net.onnx")
    placement = place(net, PROFILES["openvino"])
    assert placement.layers == list(net.layers)
    assert placement.around == ["pool", "sum1", "sum2", "mean"]
    assert placement.same == {"pool/out": "relu/out"}
    assert placement.summands == {"wide/out": "beside/out", "beside/out": "wide/out", "wide2/out": "relu2/out"}
    assert {"wide/out", "beside/out", "wide2/out", "relu2/out", "relu4/out"} <= set(placement.tensors)
    (int8,) = quantize(net, [PROFILES["openvino"]], IMAGES, SETTINGS)
    assert [name for name, of in int8.grids.items() if of.symmetric] == ["image"]


def test_openvino_s_sum_stays_in_float_where_an_operand_does_or_a_convolution_does_not_widen():
    net = Network(bottlenecks(), "net.onnx")
    assert place(net, PROFILES["openvino"], ["beside"]).around == ["pool", "sum2", "mean"]
    assert place(net, PROFILES["openvino"], ["narrow2"]).around == ["pool", "sum1"]
    assert place(net, PROFILES["openvino"], ["stem"]).same == {}
    assert place(Network(residual(), "net.onnx"), PROFILES["openvino"]).around == []


def test_operators_that_stay_in_float_are_named():
    model = residual()
    next(node for node in model.graph.node if node.name == "relu").op_type = "HardSwish"
    model.opset_import[0].version = 14
    net = Network(model, "net.onnx")
    in_float = {name: float_operators(net, place(net, profile)) for name, profile in PROFILES.items()}
    every = ["Add", "Flatten", "GlobalAveragePool", "HardSwish", "MaxPool"]
    assert in_float == {"onnxruntime": ["HardSwish"], "openvino": every, "tensorrt": every}


@pytest.mark.parametrize("engine", sorted(PROFILES))
def test_a_layer_that_reads_what_no_image_changes_stays_in_float(engine):
    """As the convolution of EdgeNeXt's position codes."""
    model = residual()
    codes = np.random.Generator(np.random.PCG64(3)).standard_normal((1, 8, 16, 16)).astype(np.float32)
    weight = np.ones((8, 8, 1, 1), np.float32)
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(codes, "angles"), onnx.numpy_helper.from_array(weight, "w5")]
    )
    node = onnx.helper.make_node
    add = next(of for of in model.graph.node if of.name == "sum")
    add.input[1] = "places"
    model.graph.node.insert(0, node("Sin", ["angles"], ["codes"], "sin"))
    model.graph.node.insert(1, node("Conv", ["codes", "w5"], ["places"], "places"))
    placement = place(Network(model, "net.onnx"), PROFILES[engine])
    assert placement.float_layers["places"] == "no image changes what it reads"
    assert "codes" not in placement.tensors


def test_what_a_relu_behind_a_sum_makes_zero_takes_no_integers():
    """c3 + r1 before a ReLU: c3 below -r1 is 0 whatever it is."""
    model = residual()
    for node in model.graph.node:
        if node.name == "pool":
            node.input[0] = "clipped"
    relu = onnx.helper.make_node("Relu", ["sum"], ["clipped"], "clip")
    model.graph.node.insert(5, relu)
    net = Network(model, "net.onnx")
    placement = place(net, PROFILES["onnxruntime"])
    assert placement.summands == {"c3": "r1"}, "r1 is read by another layer, too"
    assert "clip" in placement.absorbed
    plain, clamped = (ranges(net, ["c3"], IMAGES, summands)["c3"] for summands in (None, placement.summands))
    by_hand = [runner(model, "net", ["c3", "r1"])(image) for image in IMAGES]
    assert clamped.low == min(float(np.maximum(c3, -r1).min()) for c3, r1 in by_hand)
    assert (plain.low, plain.high) == (min(float(c3.min()) for c3, _ in by_hand), clamped.high)


def test_both_ends_of_a_summand_s_range_have_the_least_squared_error():
    """By trying many: what the ReLU lets through is rounded, and all is clipped where it has to be."""
    random = np.random.Generator(np.random.PCG64(5))
    values, other = (2 * random.standard_normal(40_000).astype(np.float32) for _ in range(2))
    other = np.abs(other)
    seen = Range.of(*summand(values, other))

    def error(chosen: Grid) -> float:
        wanted = np.maximum(values + other, 0)
        return float(np.square(np.maximum(chosen.fake(np.maximum(values, -other)) + other, 0) - wanted).sum())

    threshold, ends = (of("mse") for of in (methods.threshold, methods.ends))
    both = grid(seen, threshold, nets.settings("mse"), ends=ends)
    one = grid(seen, threshold, nets.settings("mse"))
    steps = np.linspace(0.5, 8, 31)
    tried = [(below, above) for below in steps for above in steps]
    least = min(error(Grid(np.float32((a + b) / 255), round(255 * a / (a + b)))) for a, b in tried)
    assert error(both) < error(one)
    assert error(both) < 1.1 * least
    half = Range.of(*summand(values[:20_000], other[:20_000])).merge(
        Range.of(*summand(values[20_000:], other[20_000:]))
    )
    assert half == seen


def test_onnx_runtime_computes_it_with_int8_kernels(tmp_path):
    """After its own optimization no convolution is left in float."""
    import onnxruntime

    (int8,) = quantize(Network(residual(), "net.onnx"), [PROFILES["onnxruntime"]], IMAGES, SETTINGS)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(int8.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kernels = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "Conv" not in kernels
    assert "Gemm" not in kernels
    assert kernels.count("QLinearConv") == 3


def test_a_layer_that_is_kept_stays_in_float():
    net = Network(residual(), "net.onnx")
    (int8,) = quantize(net, [PROFILES["openvino"]], IMAGES, SETTINGS, keep_float=["pointwise"])
    assert int8.placement.layers == ["last"]
    assert int8.placement.float_layers["pointwise"] == "params.yaml or the plan keeps it"


def test_a_1x1_convolution_in_groups_stays_in_float_for_openvino_alone():
    model = residual()
    (node,) = [node for node in model.graph.node if node.name == "pointwise"]
    node.attribute.append(onnx.helper.make_attribute("group", 2))
    for tensor in model.graph.initializer:
        if tensor.name == "w3":
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:, :4], "w3"))
    net = Network(model, "net.onnx")
    assert "does not compile" in place(net, PROFILES["openvino"]).float_layers["pointwise"]
    assert "pointwise" in place(net, PROFILES["onnxruntime"]).layers


@pytest.mark.parametrize(
    ("engine", "source"), [*((engine, residual) for engine in sorted(PROFILES)), ("openvino", bottlenecks)]
)
def test_what_a_layer_costs_is_what_the_model_loses_in_which_all_others_are_kept(engine, source):
    net = Network(source(), "net.onnx")
    (int8,) = quantize(net, [PROFILES[engine]], IMAGES, SETTINGS)
    (of_layers,) = costs(net, [int8], IMAGES)
    assert list(of_layers) == int8.placement.layers
    for name, cost in of_layers.items():
        others = [other for other in net.layers if other != name]
        (alone,) = quantize(net, [PROFILES[engine]], IMAGES, SETTINGS, others)
        assert cost == pytest.approx(kl_divergence(logits(source()), logits(alone.model)), rel=1e-4)
        assert cost > 0


def test_batch_norms_are_folded_and_nothing_else_changes():
    net = network()
    assert [node.op_type for node in net.nodes].count("BatchNormalization") == 0
    np.testing.assert_allclose(
        logits(net.rebuilt(net.nodes, {})), logits(classifier(end=(), shape=(1, 3, 16, 16))), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("content", [b"", b"null", b"\x08\x07half"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "fp32.onnx"
    path.write_bytes(content)
    with pytest.raises(OctetError, match=r"fp32\.onnx: not an ONNX model, or damaged; the stage export"):
        load(path)


def test_an_old_opset_is_refused_with_what_to_do():
    with pytest.raises(OctetError, match=r"opset 12.*export\.opset to 13"):
        network(opset=12)


@pytest.mark.parametrize("method", ["ppq", "file"])
def test_a_calibrator_of_ncnn_alone_is_refused(method):
    settings = nets.settings("minmax", weights="absmax").model_copy(update={"method": method})
    with pytest.raises(OctetError, match="works for ncnn alone"):
        quantize(network(), [PROFILES["openvino"]], IMAGES, settings)


def test_values_that_are_not_finite_are_named():
    images = IMAGES.copy()
    images[3, 0, 0, 0] = np.inf
    with pytest.raises(OctetError, match="'image' has values that are not finite on calibration image 3"):
        quantize(network(), [PROFILES["onnxruntime"]], images, SETTINGS, workers=1)


@pytest.mark.parametrize(
    ("low", "high", "zero_point", "step"),
    [(0, 10, 0, 10 / 255), (-10, 10, 127, 20 / 255), (-0.3, 10, 7, 10.3 / 255), (-10, 0, 255, 10 / 255)],
)
def test_a_grid_has_all_its_steps_where_the_values_are(low, high, zero_point, step):
    values = np.linspace(low, high, 1000, dtype=np.float32)
    choose = lambda histogram, levels, settings: histogram.largest  # noqa: E731  # minmax
    made = grid(Range.of(values), choose, SETTINGS)
    assert made.zero_point == zero_point
    assert made.scale == pytest.approx(step, rel=1e-6)
    assert np.abs(made.fake(values) - values).max() < 0.51 * step + step  # the zero point's own rounding
    assert made.fake(np.zeros(1, np.float32))[0] == 0


def test_a_tensor_of_zeros_has_a_grid():
    made = grid(Range.of(np.zeros(4, np.float32)), lambda *_: 1.0, SETTINGS)
    assert made == Grid(np.float32(1), 0), "and a ReLU before it still clips"


def test_a_bias_that_int32_could_not_hold_widens_its_channel_s_weights():
    net = Network(residual(), "net.onnx")
    layer = replace(net.layers["last"], bias=np.float32([0, 0, 1e6, 0, 0]))
    rounded = weights(layer, Grid(np.float32(1e-6), 0), int_bias=True)
    assert abs(int(rounded.bias[2])) < 2**31
    assert rounded.bias[2] * 1e-6 * float(rounded.scales[2]) == pytest.approx(1e6, rel=1e-3)


@pytest.mark.parametrize(("engine", "in_float"), [("onnxruntime", ["first", "depthwise"]), ("tensorrt", [])])
def test_a_depthwise_layer_right_behind_the_first_stays_in_float_for_onnx_runtime(engine, in_float):
    """Where nothing else reads what the first one gives, as in MobileNets."""
    both = Network(residual(), "net.onnx")
    assert place(both, PROFILES[engine]).float_layers == {}, "the sum reads it, too"
    model = residual()
    next(node for node in model.graph.node if node.name == "sum").input[1] = "c3"
    placement = place(Network(model, "net.onnx"), PROFILES[engine])
    assert list(placement.float_layers) == in_float
    (int8,) = quantize(Network(model, "net.onnx"), [PROFILES[engine]], IMAGES, SETTINGS)
    check(int8, IMAGES[0], "int8.onnx")
