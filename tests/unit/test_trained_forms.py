"""Models with fake quantization in the forms that torch and MMRazor write. ONNX Runtime on the file itself is the oracle."""

import contextlib
import io
import warnings

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from octet.calibrate.calibrate import remarks, table
from octet.core.errors import OctetError
from octet.core.trained_scales import Grid
from octet.export import onnx_file
from octet.export.onnx_quantized import underneath
from octet.ncnn.engine import Engine, logits
from octet.qdq.network import load
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import quantize as quantize_onnx
from octet.qdq.trained import _uint8
from octet.qdq.words import lines
from octet.quantize.quantize import quantize
from tests.unit.test_qdq import IMAGES, SETTINGS, model_of, residual
from tests.unit.test_trained_scales import PLAIN, answers, handed_over, job, noise_db, source, trained

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization", "ignore:Please use quant_min"),
]


@pytest.fixture(scope="module")
def torch_models() -> dict[str, onnx.ModelProto]:
    """A network that torch trained for some steps with fake quantization, as prepared for it and as converted, through ONNX."""
    import torch
    from torch import nn
    from torch.ao.quantization import FakeQuantize, MinMaxObserver, PerChannelMinMaxObserver, QConfig, QConfigMapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_qat_fx

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, outputs, stride in ((3, 8, 1), (8, 12, 2)):
        layers += [nn.Conv2d(channels, outputs, 3, stride, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(12, 5, 6))
    around_128 = {"dtype": torch.quint8, "qscheme": torch.per_tensor_symmetric, "quant_min": 0, "quant_max": 255}
    by_channel = {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric, "quant_min": -128, "quant_max": 127}
    activation = FakeQuantize.with_args(observer=MinMaxObserver, **around_128)
    weight = FakeQuantize.with_args(observer=PerChannelMinMaxObserver, **by_channel)
    models, images = {}, torch.from_numpy(IMAGES)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        mapping = QConfigMapping().set_global(QConfig(activation=activation, weight=weight))
        prepared = prepare_qat_fx(network.train(), mapping, (images[:1],))
        optimizer = torch.optim.SGD(prepared.parameters(), lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(prepared(images)[:, :, 0, 0], torch.arange(len(images)) % 5).backward()
            optimizer.step()
        prepared.eval().apply(torch.ao.quantization.disable_observer)
        for module in prepared.modules():
            if isinstance(module, FakeQuantize):  # so that nothing is at -128, which ncnn has not
                module.activation_post_process.min_val.mul_(1.3)
                module.activation_post_process.max_val.mul_(1.3)
                module.scale.copy_(module.activation_post_process.calculate_qparams()[0])
        for name in ("prepared", "converted"):
            model = prepared if name == "prepared" else convert_fx(prepared)  # which changes what was prepared
            file = io.BytesIO()
            torch.onnx.export(model, (images[:1],), file, opset_version=13, dynamo=False, input_names=["image"])
            models[name] = onnx.load_from_string(file.getvalue())
    return models


@pytest.mark.parametrize("form", ["prepared", "converted"])
def test_torch_s_own_training(tmp_path, torch_models, form):
    """Prepared: batch norms behind what they were divided by. Converted: integers through a Cast, biases of computed zeros."""
    model = torch_models[form]
    net = handed_over(tmp_path, model)
    assert [layer.type for layer in net.layers if layer.type in ("BatchNorm", "BinaryOp", "Scale")] == []
    work = job(tmp_path, net, PLAIN)
    scales = table(work)
    assert "scales that the model was trained with: of what 3 of 3 layers read" in remarks(work, scales)
    wanted = answers(without_last_pair(model))[:, :, 0, 0]
    assert (
        noise_db(logits(Engine.of(quantize(net, scales, PLAIN, [], "t")), IMAGES, "t"), wanted) > 45
    )  # -128 becomes -127
    assert noise_db(logits(Engine.of(net), IMAGES, "t"), wanted) < 50


def without_last_pair(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its logits as they are before torch rounds them, which ncnn does not."""
    copy, name = onnx.ModelProto(), model.graph.output[0].name
    copy.CopyFrom(model)
    producers = {node.output[0]: node for node in copy.graph.node}
    while producers[name].op_type in ("DequantizeLinear", "Cast", "QuantizeLinear"):
        name = producers[name].input[0]
    copy.graph.output[0].name = name
    return copy


def with_fake_quantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with OpenVINO's operator in the place of pairs and of weights' integers, as MMRazor writes it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in copy.graph.initializer}
    nodes, made = [], {}
    for node in copy.graph.node:
        if node.op_type == "QuantizeLinear":
            made[node.output[0]] = node.input[0]
            continue
        if node.op_type != "DequantizeLinear" or node.input[0].endswith("bias/integers"):
            nodes.append(node)
            continue
        scale, tensor = values[node.input[1]], made.get(node.input[0], node.output[0] + "/float")
        if node.input[0] in values:
            integers = values[node.input[0]]
            scale = scale.reshape(-1, *[1] * (integers.ndim - 1))
            copy.graph.initializer.append(numpy_helper.from_array((integers * scale).astype(np.float32), tensor))
        ends = {f"{node.output[0]}/{k}": (end * scale).astype(np.float32) for k, end in enumerate((-127, 127) * 2)}
        copy.graph.initializer.extend(numpy_helper.from_array(end, name) for name, end in ends.items())
        make = helper.make_node
        nodes.append(make("FakeQuantize", [tensor, *ends], [node.output[0]], levels=255, domain="org.openvinotoolkit"))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def test_openvino_s_operator(tmp_path):
    int8 = trained("tensorrt", residual())
    model = with_fake_quantize(int8.model)
    assert {node.op_type for node in model.graph.node}.isdisjoint({"QuantizeLinear", "DequantizeLinear"})
    _, scales = underneath(int8.model, "net.onnx")
    _, ours = underneath(model, "net.onnx")
    assert [one.weights for one in ours] == [pytest.approx(one.weights, rel=1e-6) for one in scales]
    assert [one.input.range[1] for one in ours] == [pytest.approx(127 * one.input.scale) for one in scales]
    net = handed_over(tmp_path, model)
    quantized = quantize(net, table(job(tmp_path, net, PLAIN)), PLAIN, [], "t")
    assert noise_db(logits(Engine.of(quantized), IMAGES, "t"), answers(int8.model)) > 100


def test_openvino_s_operator_that_does_more_than_to_round_is_named(tmp_path):
    model = with_fake_quantize(trained("tensorrt", residual()).model)
    node = next(node for node in model.graph.node if node.op_type == "FakeQuantize")
    for tensor in model.graph.initializer:
        if tensor.name == node.input[4]:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(2), tensor.name))
    with pytest.raises(
        OctetError, match=r"net\.onnx: FakeQuantize '.*': expected constant limits, .* Export the model again"
    ):
        source(tmp_path, model).look()


def pairs(name: str, tensor: str, scale: float, zero: np.ndarray) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """A QuantizeLinear and a DequantizeLinear behind a tensor; what they give is called name."""
    tensors = {f"{name}/scale": np.float32(scale), f"{name}/zero": zero}
    nodes = [
        helper.make_node("QuantizeLinear", [tensor, *tensors], [f"{name}/integers"]),
        helper.make_node("DequantizeLinear", [f"{name}/integers", *tensors], [name]),
    ]
    return nodes, tensors


@pytest.mark.parametrize(
    ("zero", "between", "expected"),
    [
        (np.uint8(0), "MaxPool", Grid(0.5, 0, 0, 255)),
        (np.uint8(0), "Identity", Grid(0.5, 0, 0, 255)),
        (np.uint8(100), "", Grid(0.5, 100, 100, 255)),  # behind a ReLU: nothing lies below
        (np.int8(0), "", Grid(0.5, 0, 0, 127)),
        (np.int32(0), "", Grid(0.5, 0, 0, 127)),  # MMRazor's for TensorRT
        (np.uint8(0), "AveragePool", None),
    ],
)
def test_the_grid_of_what_a_layer_reads(zero, between, expected):
    nodes, tensors = pairs("d", "r", 0.5, zero)
    pool = {"kernel_shape": [2, 2]} if between.endswith("Pool") else {}
    last = [helper.make_node(between, ["d"], ["p"], **pool)] if between else []
    random = np.random.Generator(np.random.PCG64(4))
    weights = {f"w{k}": random.standard_normal(shape) for k, shape in enumerate([(4, 3, 1, 1), (5, 4, 1, 1)])}
    integers = {f"q{k}": np.rint(weight * 30).astype(np.int8) for k, weight in enumerate(weights.values())}
    of_weights = [helper.make_node("DequantizeLinear", [f"q{k}", "step"], [f"w{k}"]) for k in range(2)]
    nodes = [
        *of_weights,
        helper.make_node("Conv", ["image", "w0"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        *nodes,
        *last,
        helper.make_node("Conv", ["p" if between else "d", "w1"], ["m"]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"]),
        helper.make_node("Flatten", ["g"], ["logits"]),
    ]
    model = model_of(nodes, {"step": np.float32(1 / 30)}, "logits")
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in (tensors | integers).items())
    network, (_, scales) = underneath(model, "net.onnx")
    assert scales.input == expected
    kinds = [node.op_type for node in network.graph.node]
    assert (kinds.count("Relu"), kinds.count("Clip")) == (0, 1), "it ends where the grid does"


@pytest.mark.parametrize("also_read", [False, True], ids=["pairs alone", "also without"])
def test_a_relu_ends_where_training_cut_it_off(also_read):
    """What reads floats in ncnn, as an average, has to see no more than in training; where something reads all of it, it stays."""
    nodes, tensors = pairs("d", "r", 0.01, np.uint8(0))
    random = np.random.Generator(np.random.PCG64(4))
    made = {"w": random.standard_normal((5, 3, 1, 1)), "step": np.float32(1)}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "step"], ["w"]),
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        *nodes,
        helper.make_node("Add", ["d", "r" if also_read else "d"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["g"]),
        helper.make_node("Flatten", ["g"], ["logits"]),
    ]
    model = model_of(nodes, {"step": made["step"]}, "logits")
    integers = np.rint(made["w"] * 3).astype(np.int8)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in (tensors | {"q": integers}).items()
    )
    network, _ = underneath(model, "net.onnx")
    assert [node.op_type for node in network.graph.node][1] == ("Relu" if also_read else "Clip")
    assert all(one.dims == [] for one in network.graph.initializer if "octet" in one.name), "as ONNX has limits"
    noise = noise_db(answers(network), answers(model))
    assert (noise > 40) != also_read  # there is a sum of what was cut off and what was not


def test_mmrazor_s_weights_for_tensorrt():
    """Opset 11 has no axis and no int32 zero points; MMRazor writes scales of channels and torch's zero points all the same."""
    random = np.random.Generator(np.random.PCG64(4))
    weight, steps = random.standard_normal((5, 5)).astype(np.float32), random.uniform(0.01, 0.02, 5).astype(np.float32)
    weight = (np.rint(weight / steps[:, None] / 2).clip(-127, 127) * steps[:, None]).astype(np.float32)
    tensors = {
        "w": weight,
        "steps": steps,
        "zeros": np.zeros(5, np.int32),
        "narrow": random.standard_normal((5, 3, 1, 1)),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "steps", "zeros"], ["wq"]),
        helper.make_node("DequantizeLinear", ["wq", "steps", "zeros"], ["wd"]),
        helper.make_node("Conv", ["image", "narrow"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "wd"], ["logits"], transB=1),
    ]
    model = model_of(nodes, {"narrow": tensors.pop("narrow")}, "logits")
    model.opset_import[0].version = 11
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in tensors.items())
    network, (scales,) = underneath(model, "net.onnx")
    assert scales.weights == pytest.approx(steps)
    (rows,) = (numpy_helper.to_array(one) for one in network.graph.initializer if one.name == "wd/float")
    np.testing.assert_allclose(rows, weight, rtol=1e-6)


def test_a_batch_norm_takes_the_steps_with_it(tmp_path):
    """As NVIDIA's toolkit writes it: the weights are rounded without the norm. A channel's factor may be negative, or 0."""
    random = np.random.Generator(np.random.PCG64(4))
    integers = random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    steps = random.uniform(0.01, 0.02, 4).astype(np.float32)
    norm = {
        "gain": np.float32([2, -1, 0, 0.5]),
        "shift": np.float32([1, 2, 3, 4]),
        "mean": np.float32([0.1, 0, -0.2, 0.3]),
    }
    norm["variance"] = np.float32([1, 4, 1, 0.25])
    tensors = {"q": integers, "steps": steps, "bias": np.float32([1, 0, -1, 2]), "last": random.standard_normal((5, 4))}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "steps"], ["w"], axis=0),
        helper.make_node("Conv", ["image", "w", "bias"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *norm], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "last"], ["logits"], transB=1),
    ]
    model = model_of(nodes, {}, "logits")
    model.graph.initializer.extend(
        numpy_helper.from_array(v.astype(np.float32) if v.dtype == np.float64 else v, k)
        for k, v in (tensors | norm).items()
    )
    network, (scales,) = underneath(model, "net.onnx")
    assert "BatchNormalization" not in {node.op_type for node in network.graph.node}
    assert noise_db(answers(network), answers(model)) > 120
    factor = norm["gain"] / np.sqrt(norm["variance"] + 1e-5)
    assert scales.weights == pytest.approx(np.where(factor == 0, 1, abs(factor)) * steps, rel=1e-6)
    net = handed_over(tmp_path, model)
    first = next(layer.name for layer in net.layers if "weight" in layer.weights)
    table_steps = 1 / table(job(tmp_path, net, PLAIN)).weights[first]
    assert table_steps == pytest.approx(scales.weights, rel=1e-6)


def test_what_the_checks_before_say_of_openvino_s_operator(tmp_path):
    """ONNX does not know it; other operators of that domain are named."""
    model = with_fake_quantize(trained("tensorrt", residual()).model)
    onnx.save(model, tmp_path / "net.onnx")
    onnx_file.check_operators(onnx_file.read(str(tmp_path / "net.onnx")), "net.onnx")
    model.graph.node[-1].domain = "org.openvinotoolkit"
    with pytest.raises(OctetError, match=r"operators that ONNX does not define: org\.openvinotoolkit\.Gemm"):
        onnx_file.check_operators(model, "net.onnx")


def test_a_checkpoint_of_it_is_refused_with_the_way_out(tmp_path):
    """Its scales belong to tensors that it does not name."""
    from torch import nn
    from torch.ao.quantization import get_default_qat_qconfig_mapping
    from torch.ao.quantization.quantize_fx import prepare_qat_fx

    from octet.export.checkpoint import load_weights

    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    prepared = prepare_qat_fx(network.train(), get_default_qat_qconfig_mapping("x86"), (torch_images(),))
    with pytest.raises(
        OctetError, match=r"x\.pth: trained with fake quantization \(it has .*weight_fake_quant.* ONNX=file"
    ):
        load_weights(
            network, {k: v for k, v in prepared.state_dict().items() if "activation" not in k}, tmp_path / "x.pth"
        )


def torch_images():
    import torch

    return torch.from_numpy(IMAGES)


@pytest.mark.usefixtures("exact_onnx_runtime")  # not of all: ONNX Runtime 1.19.2 aborts on a batch norm with it
@pytest.mark.parametrize("engine", ["tensorrt", "onnxruntime", "openvino"])
def test_the_other_engines_take_the_steps(tmp_path, engine):
    """From a file of int8 around 0: the same weights, and the same steps or, where uint8 has more integers, finer ones."""
    int8 = trained("tensorrt", residual())
    handed_over(tmp_path, int8.model)
    network = load(tmp_path / "fp32.onnx")
    (ours,) = quantize_onnx(network, [PROFILES[engine]], IMAGES, SETTINGS)
    assert "scales that the model was trained with: of" in "\n".join(lines(network, ours, {}))
    theirs = {tuple(np.sort(one.integers.ravel())): one.scales for one in int8.weights.values()}
    for one in ours.weights.values():
        assert one.scales == pytest.approx(theirs[tuple(np.sort(one.integers.ravel()))])
    steps = {float(grid.scale) for grid in int8.grids.values()}
    read = {ours.placement.owner(network.layers[name].input) for name in ours.placement.layers}
    for grid in (ours.grids[name] for name in read):
        whole = min(abs(float(grid.scale) / step - 1) for step in steps)
        half = min(abs(float(grid.scale) * 255 / 127 / step - 1) for step in steps)
        assert whole < 1e-6 or (half < 1e-6 and not grid.symmetric and grid.zero_point == 0)
    assert noise_db(answers(ours.model), answers(int8.model)) > 30


@pytest.mark.parametrize(
    ("grid", "top", "expected"),
    [
        (Grid(0.5, 0, 0, 255), None, (0.5, 0)),
        (Grid(0.5, 20, 0, 255), None, (0.5, 20)),
        (Grid(0.5, 0, -128, 127), None, (0.5, 128)),
        (Grid(0.5, 0, -127, 127), None, (0.5, 127)),
        (Grid(0.5, 0, 0, 127), None, (0.5 * 127 / 255, 0)),
        (Grid(0.5, 0, -32768, 32767), None, None),
        (Grid(0.5, 0, 0, 255), np.inf, (0.5, 0)),
        (Grid(0.5, 0, 0, 255), 6, None),  # the integers would go on where the ReLU6 ends
        (Grid(6 / 255, 0, 0, 255), 6, (6 / 255, 0)),
        (Grid(0.5, 0, -128, 127), np.inf, None),  # nor would they begin at 0
    ],
)
def test_uint8_s_integers_for_a_trained_grid(grid, top, expected):
    made = _uint8(grid, top)
    assert (made and (float(made.scale), made.zero_point)) == (expected and (pytest.approx(expected[0]), expected[1]))
