"""Fine-tuning: the simulation beside ncnn itself, what it learns, and what becomes of it in the int8 model."""

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from octet.calibrate.calibrate import calibrate
from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.logits import decibels, kl_divergence
from octet.data import cifar
from octet.data.preprocess import Preprocess
from octet.data.preprocess import save as save_preprocess
from octet.graph.profiles import target
from octet.graph.targets import Target
from octet.ncnn.engine import Engine, logits
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, load_net, save_net
from octet.ncnn.table import save as save_table
from octet.quantize import finetune as finetuning
from octet.quantize import gptq, torch_layers
from octet.quantize.finetune import finetune
from octet.quantize.gptq_weights import GptqWeights, load, save
from octet.quantize.quantize import quantize
from octet.quantize.recipe import Recipe
from octet.quantize.simulation import Simulation
from tests import nets
from tests.pipeline.project import PARAMS

pytestmark = pytest.mark.unit

TARGETS = [target("ncnn2int8"), nets.DOTPROD, Target("t", winograd=False, asymmetric=True)]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Tests run in as many processes as there are cores: threads would wait for one another."""
    monkeypatch.setattr(finetuning, "THREADS", 1)


targets = pytest.mark.parametrize("profile", TARGETS, ids=lambda profile: profile.name)


def mobile():
    """Depthwise layers between 1x1 convolutions, around a sum, all of it as MobileNetV2 has it: 3x8x8 in."""
    return Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("conv_1", "in0", "1", 3, 16, stride=2, seed=1),
            Layer("Split", "split_1", ["1"], ["2", "3"]),
            nets.conv("conv_2", "2", "4", 16, 24, kernel=1, seed=2),
            nets.conv("dw_3", "4", "5", 24, 24, groups=24, seed=3),
            nets.conv("conv_4", "5", "6", 24, 16, kernel=1, seed=4, relu=False),
            Layer("BinaryOp", "add_1", ["3", "6"], ["7"], {0: "0"}),
            nets.conv("conv_5", "7", "8", 16, 24, seed=5),
            Layer("Pooling", "gap_1", ["8"], ["9"], {0: "1", 4: "1"}),
            nets.linear("fc", "9", "out0", 24, 4, seed=6),
        ]
    )


def recipe(net, profile):
    table = calibrate(net, nets.images(32), nets.settings("minmax"), profile)
    return Recipe(net, table, profile, (), frozenset(), "table")


def simulation(one):
    return Simulation(one.net, one.table, one.target, one.target.int8_layers(one.net), one.gptq_weights)


def simulated(one, images):
    with torch.no_grad():
        return one(torch.from_numpy(np.stack(images))).numpy()


def sqnr_db(reference, other):
    return decibels(np.square(reference).sum(), np.square(other - reference).sum())


def engine_logits(net, images):
    """By ncnn's plain kernels: with packing, depthwise layers take an approximate reciprocal on x86 (tests/simulate.py)."""
    return logits(Engine.of(net, packing=False), images, "test")


@targets
@pytest.mark.parametrize("net", [nets.small(), mobile()], ids=["resnet", "mobilenet"])
def test_the_simulation_is_what_ncnn_computes(net, profile):
    """What differs are last bits of fp32, and the few integers that they tip: far below int8's own noise."""
    one, images = recipe(net, profile), nets.images(64, seed=1)
    int8, fp32 = (engine_logits(each, images) for each in (one.int8([]), net))
    assert sqnr_db(fp32, int8) < 45
    assert sqnr_db(int8, simulated(simulation(one), images)) > 60


@targets
def test_what_is_learned_is_what_ncnn_computes(profile):
    """Weights, biases and scales that are all other ones than calibration's, once they are in the files."""
    one, images = recipe(mobile(), profile), nets.images(64, seed=1)
    learned, random = simulation(one), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values, most in (
            (learned.steps, 3.0),
            (learned.biases, 0.1),
            (learned.weight_scales, 0.2),
            (learned.input_scales, 0.2),
        ):
            for value in values.values():
                value += most * (2 * torch.rand(value.shape, generator=random) - 1)
    before = engine_logits(one.int8([]), images)
    int8 = engine_logits(replace(one, gptq_weights=learned.weights()).int8([]), images)
    assert sqnr_db(int8, before) < 20
    assert sqnr_db(int8, simulated(learned, images)) > 60


def test_the_teacher_is_fp32():
    net, images = mobile(), nets.images(8)
    result = simulation(recipe(net, target("dotprod"))).fp32(torch.from_numpy(np.stack(images))).numpy()
    assert np.abs(result - logits(Engine.of(net), images, "test")).max() < 1e-5


SETTINGS = params.Finetune(images=128, hold_out=64, steps=40, batch=16, rate=2.0)


@pytest.mark.parametrize("profile", TARGETS[:2], ids=lambda profile: profile.name)
def test_the_engine_loses_less(profile):
    """On images that it neither learned from nor was judged by; the same bytes in every run."""
    one = recipe(mobile(), profile)
    images, hold_out, others = nets.images(128, seed=2), nets.images(64, seed=3), nets.images(128, seed=4)
    result, again = (finetune(one, images, hold_out, SETTINGS) for _ in range(2))
    assert result.kept
    assert result.after < result.before
    for name, weights in result.weights.items():
        assert all(
            np.array_equal(a, b)
            for a, b in zip(vars(weights).values(), vars(again.weights[name]).values(), strict=True)
        )
    fp32 = logits(Engine.of(one.net), others, "test")
    plain, tuned = (
        kl_divergence(fp32, logits(Engine.of(replace(one, gptq_weights=weights).int8([])), others, "test"))
        for weights in ({}, result.weights)
    )
    assert tuned < 0.8 * plain


def by_gptq(one, images):
    """A recipe with the integers that GPTQ chooses."""
    return replace(one, gptq_weights=gptq.gptq_weights(one.net, one.table, one.target, one.keep_fp32, images))


@targets
def test_it_begins_with_the_integers_of_gptq(profile):
    one = by_gptq(recipe(nets.small(), profile), nets.images(8))
    plain, learned = simulation(replace(one, gptq_weights={})).weights(), simulation(one).weights()
    for name, start in one.gptq_weights.items():
        assert np.array_equal(learned[name].weight, start.weight)
        assert np.allclose(learned[name].bias, start.bias, atol=1e-6)
    assert any(not np.array_equal(plain[name].weight, learned[name].weight) for name in one.gptq_weights)


def test_where_nothing_is_better_the_beginning_is_kept(monkeypatch):
    monkeypatch.setattr(finetuning, "JUDGED", 1)
    one, wild = (
        by_gptq(recipe(nets.small(), nets.DOTPROD), nets.images(8)),
        SETTINGS.model_copy(update={"rate": 100.0, "steps": 20}),
    )
    far_off = [20 * image for image in nets.images(32)]
    result = finetune(one, far_off, nets.images(32, seed=1), wild)
    assert (result.weights, result.kept, result.after) == (one.gptq_weights, 0, result.before)
    assert str(result).startswith("fine-tuning found nothing better than GPTQ's model in 20 steps (KL ")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@targets
def test_a_gpu_computes_the_same(profile):
    """But for last bits, and the few integers that they tip."""
    one, images = recipe(mobile(), profile), nets.images(64, seed=1)
    gpu = torch.device("cuda")
    on_gpu = Simulation(one.net, one.table, profile, profile.int8_layers(one.net), one.gptq_weights, gpu)
    with torch.no_grad():
        result = on_gpu(torch.from_numpy(np.stack(images)).to(gpu)).cpu().numpy()
    assert sqnr_db(simulated(simulation(one), images), result) > 60
    assert finetune(one, nets.images(128, seed=2), nets.images(64, seed=3), SETTINGS).kept


def test_torch_is_left_as_it_was():
    threads = torch.get_num_threads()
    finetune(
        recipe(nets.small(), nets.DOTPROD),
        nets.images(4),
        nets.images(4),
        SETTINGS.model_copy(update={"steps": 1}),
    )
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, False)


def test_layers_that_gradients_cannot_pass_are_named():
    net = nets.small()
    net.layers[6] = Layer("Softmax", "soft", ["6"], ["7"], {0: "0"})
    with pytest.raises(
        OctetError, match=r"rounding.method: layer soft: fine-tuning knows no Softmax \(known: Convolution"
    ):
        finetune(recipe(net, target("dotprod")), nets.images(4), nets.images(4), SETTINGS)


def image(channels):
    return np.random.Generator(np.random.PCG64(5)).normal(0, 1, (channels, 11, 13)).astype(np.float32)


LAYERS = [
    *(
        Layer("Pooling", "l", ["in0"], ["out0"], {0: kind, 1: "3", 2: "2", 3: "1", **other})
        for kind in "01"
        for other in ({5: "0"}, {5: "1"}, {5: "0", 11: "2", 12: "1"}, {5: "1", 6: "1"})
    ),
    Layer("Pooling", "l", ["in0"], ["out0"], {0: "1", 7: "1", 8: "4", 18: "2"}),
    Layer("Pooling", "l", ["in0"], ["out0"], {0: "0", 4: "1"}),
    Layer("ReLU", "l", ["in0"], ["out0"], {0: "0.1"}),
    Layer("Clip", "l", ["in0"], ["out0"], {0: "0.0", 1: "0.5"}),
    *(
        Layer(kind, "l", ["in0"], ["out0"])
        for kind in ("HardSigmoid", "HardSwish", "Swish", "Sigmoid", "Mish", "Flatten")
    ),
    Layer("BinaryOp", "l", ["in0"], ["out0"], {0: "2", 1: "1", 2: "0.3"}),
    Layer("Padding", "l", ["in0"], ["out0"], {0: "1", 1: "0", 2: "2", 3: "1", 5: "0.5"}),
    Layer("ShuffleChannel", "l", ["in0"], ["out0"], {0: "2"}),
    Layer("Reshape", "l", ["in0"], ["out0"], {0: "-1", 1: "6"}),
]


@pytest.mark.parametrize("one", LAYERS, ids=lambda one: f"{one.type}-{one.params}")
def test_layers_are_ncnn_s(one):
    """Every image of a batch by itself."""
    values = image(6)
    wanted = np.array(next(Engine.of(Net([Layer("Input", "in0", [], ["in0"]), one])).blobs(values, ["out0"])))
    batch = torch.from_numpy(np.stack([values * 0, values]))
    result = torch_layers.layer(one, [batch])[0][1].numpy()
    assert np.abs(result.reshape(wanted.shape) - wanted).max() < 1e-5


@pytest.mark.parametrize(
    "other",
    [{3: "2"}, {2: "2", 4: "2"}, {4: "0", 15: "2", 14: "1", 16: "3"}, {4: "-233", 3: "2"}, {4: "-234", 3: "2"}]
    + [{9: kind, -23310: "2,2.0e-01,6.0e-01"} for kind in "123456"],
    ids=str,
)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolutions_are_ncnn_s(other, groups):
    one = nets.conv("l", "in0", "out0", 6, 6, relu=False, groups=groups)
    one.params |= other
    values = image(6)
    wanted = np.array(next(Engine.of(Net([Layer("Input", "in0", [], ["in0"]), one])).blobs(values, ["out0"])))
    weight, bias = (torch.from_numpy(one.weights[role].data) for role in ("weight", "bias"))
    result = torch_layers.layer(one, [torch.from_numpy(values[None])], weight, bias)[0][0].numpy()
    assert np.abs(result - wanted).max() < 1e-5


def test_the_file_holds_learned_scales(tmp_path):
    learned = simulation(recipe(nets.small(), nets.DOTPROD)).weights()
    learned["plain"] = GptqWeights(np.zeros(4, np.int8), np.zeros(2, np.float32))
    save(learned, tmp_path / "a.npz")
    again = load(tmp_path / "a.npz")
    assert list(again) == list(learned)
    assert again["plain"].weight_scales is None
    assert np.array_equal(again["fc"].weight_scales, learned["fc"].weight_scales)
    learned["fc"].input_scale[0] = 0
    save(learned, tmp_path / "b.npz")
    with pytest.raises(OctetError, match=r"b\.npz: not an \.npz of rounded weights, or damaged"):
        load(tmp_path / "b.npz")


def test_scales_of_another_model():
    one = recipe(nets.small(), nets.DOTPROD)
    learned = simulation(one).weights()
    learned["fc"] = replace(learned["fc"], weight_scales=np.ones(3, np.float32))
    with pytest.raises(OctetError, match="layer fc: its 32 rounded weights are not for this model and target"):
        quantize(one.net, one.table, one.target, [], "t", learned)


@pytest.fixture
def stage_folder(tmp_path, monkeypatch):
    """A project's folder with what the stages round, plan and quantize read of a model."""
    (tmp_path / "models/tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    folder, steps = ModelFolder("tiny"), Preprocess("RGB", [128.0] * 3, [64.0] * 3, [32, 32], ["a", "b", "c", "d"])
    random = np.random.Generator(np.random.PCG64(0))
    pixels, labels = random.integers(0, 256, (64, 3, 32, 32), np.uint8), np.arange(64, dtype=np.uint8) % 4
    cifar.write(tmp_path / "data/digits32", (pixels, labels), (pixels, labels), steps.classes)
    one = recipe(mobile(), target("ncnn2int8"))
    save_net(one.net, *folder.fp32)
    save_table(one.table, folder.table)
    save_preprocess(steps, folder.preprocess)
    settings = "{images: 32, hold_out: 32, steps: 4, batch: 16, rate: 1.0, seed: 0}"
    text = PARAMS.replace("dotprod", "ncnn2int8").replace("nearest", f"finetune\n  finetune: {settings}")
    (tmp_path / "params.yaml").write_text(text)
    return folder


def run_stage(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--model", "tiny"])
    import_module(f"stages.{name}").main()
    return capsys.readouterr().out


def test_the_stages_make_int8_files_of_it(stage_folder, monkeypatch, capsys):
    words = run_stage("round", monkeypatch, capsys)
    assert re.fullmatch(r"tiny: fine-tuned, step \d of 4: KL .* on 32 hold-out images\n", words), words
    before = stage_folder.rounding.read_bytes()
    run_stage("plan", monkeypatch, capsys)
    run_stage("quantize", monkeypatch, capsys)
    int8 = load_net(*stage_folder.int8)
    for name, one in load(stage_folder.rounding).items():
        layer = int8.layer(name)
        assert all(
            np.array_equal(layer.weights[role].data, vars(one)[role])
            for role in ("weight", "weight_scales", "input_scale")
        )
    run_stage("round", monkeypatch, capsys)
    assert stage_folder.rounding.read_bytes() == before, "the same bytes twice"


def test_those_that_judge_do_not_teach(stage_folder, monkeypatch, capsys):
    """Of a split of which both are more, and of a class with one image."""
    pixels, labels = np.zeros((8, 3, 32, 32), np.uint8), np.array([0, 1, 2, 3, 1, 2, 3, 3], np.uint8)
    cifar.write(Path("data/digits32"), (pixels, labels), (pixels, labels), ["a", "b", "c", "d"])
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("{images: 32, hold_out: 32,", "{images: 8, hold_out: 4,"))
    seen = []

    def record(_recipe, taught, hold_out, _settings):
        seen.append((set(taught.indices), set(hold_out.indices)))
        raise OctetError("seen")

    monkeypatch.setattr("octet.quantize.finetune.finetune", record)
    with pytest.raises(OctetError, match="seen"):
        run_stage("round", monkeypatch, capsys)
    ((taught, judges),) = seen
    assert (len(taught), len(judges), taught & judges) == (4, 4, set())


def test_a_seed_that_torch_does_not_take(stage_folder, monkeypatch, capsys):
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("seed: 0", f"seed: {2**64}"))
    with pytest.raises(OctetError, match=r"rounding\.finetune\.seed: expected a whole number"):
        run_stage("round", monkeypatch, capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it does compute")
def test_a_gpu_that_does_not_compute_is_left_alone(monkeypatch, capsys):
    """As one that is too old for this build of torch."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    finetune(
        recipe(nets.small(), nets.DOTPROD),
        nets.images(16),
        nets.images(8, seed=1),
        params.Finetune(images=16, hold_out=8, steps=2, batch=8),
    )
    assert "note: fine-tuning computes on the processor: the GPU does not (" in capsys.readouterr().err


def test_networks_without_class_scores_are_refused(stage_folder, monkeypatch, capsys):
    steps = Preprocess("RGB", [128.0] * 3, [64.0] * 3, [32, 32], [])
    save_preprocess(steps, stage_folder.preprocess)
    with pytest.raises(
        OctetError, match=r"rounding\.method: finetune is for networks that give class scores; take gptq"
    ):
        run_stage("round", monkeypatch, capsys)


def test_no_image_that_judges_teaches(stage_folder, monkeypatch, capsys):
    """Of a split that has no more than is asked for, too."""
    path, seen = stage_folder.models.parents[1] / "params.yaml", []
    path.write_text(path.read_text().replace("images: 32, hold_out: 32", "images: 8000, hold_out: 24"))

    def watched(one, images, hold_out, settings):
        seen.append((set(images.names), set(hold_out.names)))
        return finetune(one, images, hold_out, settings)

    monkeypatch.setattr(finetuning, "finetune", watched)
    run_stage("round", monkeypatch, capsys)
    ((taught, judged),) = seen
    assert (len(taught), len(judged), taught & judged) == (40, 24, set())
