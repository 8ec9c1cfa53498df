"""The stage plan: what the budget is judged against."""

from importlib import import_module

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.core import params
from octet.core.files import read_json
from octet.core.folder import ModelFolder
from octet.core.logits import kl_divergences_expected, likely_most
from octet.data import cifar
from octet.data.images import hold_out_images, training_images
from octet.data.preprocess import Preprocess, save
from octet.graph.equalize import equalize
from octet.graph.profiles import target
from octet.ncnn.engine import Engine, logits
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, save_net
from octet.ncnn.table import save as save_table
from octet.quantize.quantize import quantize
from tests import nets
from tests.pipeline.project import PARAMS

pytestmark = pytest.mark.unit

STEPS = Preprocess("RGB", [128.0] * 3, [64.0] * 3, [32, 32], ["a", "b", "c", "d"])


def clipped() -> Net:
    """A network whose ReLU6 clips some channels, so that equalization, which scales them, makes another network of it."""
    first, second = nets.conv("a", "in0", "1", 3, 16, relu=False), nets.conv("b", "1", "2", 16, 16, seed=2)
    first.params |= {9: "3", -23310: "2,0.0e+00,6.0e+00"}
    sizes = np.exp2(np.random.Generator(np.random.PCG64(0)).integers(-1, 4, 16)).astype(np.float32)
    first.weights["weight"].data = (first.weights["weight"].data.reshape(16, -1) * sizes[:, None]).reshape(-1)
    pool = Layer("Pooling", "gap", ["2"], ["3"], {0: "1", 4: "1"})
    return Net([Layer("Input", "in0", [], ["in0"]), first, second, pool, nets.linear("fc", "3", "out0", 16, 4)])


def test_the_budget_is_of_what_the_fp32_network_gives_not_the_equalized_one(tmp_path, monkeypatch):
    (tmp_path / "models/tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    random = np.random.Generator(np.random.PCG64(0))
    pixels, labels = random.integers(0, 256, (96, 3, 32, 32), np.uint8), np.arange(96, dtype=np.uint8) % 4
    cifar.write("data/digits32", (pixels, labels), (pixels, labels), STEPS.classes)
    folder, net, profile = ModelFolder("tiny"), clipped(), target("dotprod")
    table = calibrate(
        equalize(net), training_images("data/digits32", STEPS, 32, "t", "t"), nets.settings("minmax"), profile
    )
    save_net(net, *folder.fp32)
    save_table(table, folder.table)
    save(STEPS, folder.preprocess)
    np.savez(folder.rounding)
    text = PARAMS.replace("equalize: false", "equalize: true").replace("metric: none", "metric: kl")
    (tmp_path / "params.yaml").write_text(
        text.replace("budget: 0.001", "budget: 1000.0").replace("images: 50", "images: 48")
    )
    monkeypatch.setattr("sys.argv", ["plan", "--model", "tiny"])
    import_module("stages.plan").main()

    images = hold_out_images("data/digits32", STEPS, 48, "t", "t", params.model(params.load(), "tiny"))
    int8 = logits(Engine.of(quantize(equalize(net), table, profile, [], "t")), images, "t")
    against, equalized = (logits(Engine.of(one), images, "t") for one in (net, equalize(net)))
    plain = read_json(folder.plan, "t")["plain"]
    assert plain == pytest.approx(likely_most(kl_divergences_expected(against, int8)), rel=1e-4)
    assert plain > 2 * likely_most(kl_divergences_expected(equalized, int8)), "equalization counts as loss"
