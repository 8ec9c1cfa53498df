"""What every layer costs, and the plan that is made of it."""

import numpy as np
import pytest

from octet.analyze.analyze import analyze, multiplications, table_text
from octet.calibrate.observe import How, histograms, table
from octet.core.errors import OctetError
from octet.core.logits import decibels, kl_divergence
from octet.graph.targets import target
from octet.ncnn.engine import Engine, logits
from octet.quantize import mixed_precision as plans
from octet.quantize.mixed_precision import Held, costs, plan
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit

COUNT = 12


@pytest.fixture(scope="module")
def made():
    net, images, profile = nets.small(), nets.images(COUNT), target("ncnn2int8")
    read = histograms(net, images)
    scales = table(net, read, How("percentile", percentile=99.0), profile)

    def make(keep_fp32):
        return quantize(net, scales, profile, keep_fp32, "t")

    return net, make, scales, read, images


def softmax(values):
    shares = np.exp(values - values.max())
    return shares / shares.sum()


def test_every_figure_by_hand(made):
    net, make, scales, read, images = made
    found = analyze(net, make, scales, read, images)
    assert [row["layer"] for row in found["layers"]] == ["conv_1", "conv_2", "conv_3", "fc"]
    fp32 = Engine.of(net)
    row = found["layers"][1]

    def kl(engine):
        pairs = [(softmax(fp32(x).astype(np.float64)), softmax(engine(x).astype(np.float64))) for x in images]
        return np.mean([(p * np.log(p / q)).sum() for p, q in pairs])

    alone = Engine.of(make(["conv_1", "conv_3", "fc"]))
    assert row["kl_alone"] == pytest.approx(kl(alone), rel=1e-3)
    assert row["kl_without"] == pytest.approx(kl(Engine.of(make(["conv_2"]))), rel=1e-3)
    assert found["model"]["kl"] == pytest.approx(kl(Engine.of(make([]))), rel=1e-3)
    outputs = [[np.array(next(e.blobs(x, ["2"]))).astype(np.float64) for x in images] for e in (fp32, alone)]
    error = [b - a - (b - a).mean() for a, b in zip(*outputs, strict=True)]
    wanted = 10 * np.log10(np.sum(np.square(outputs[0])) / np.sum(np.square(error)))
    assert row["sqnr_db"] == pytest.approx(wanted, abs=0.01)
    assert 15 < wanted < 60
    inputs = np.array([np.array(next(fp32.blobs(x, ["1"]))) for x in images])
    threshold = 127 / scales.inputs["conv_2"]
    assert row["input_absmax"] == pytest.approx(inputs.max(), rel=1e-5)
    assert row["input_threshold"] == pytest.approx(threshold, rel=1e-5)
    width = read["1"].width
    shares = [100 * np.mean(inputs > threshold + side * width) for side in (1, -1)]
    assert shares[0] <= row["clipped_pct"] <= shares[1]
    assert row["clipped_pct"] > 0.5
    assert row["weight_absmax"] == pytest.approx(np.abs(net.layer("conv_2").weights["weight"].data).max(), rel=1e-5)


def test_multiplications():
    found = multiplications(nets.small(), ["conv_1", "conv_2", "fc"], nets.images(1)[0])
    assert found == {"conv_1": 3 * 8 * 9 * 64, "conv_2": 8 * 8 * 9 * 64, "fc": 8 * 4}


def test_the_terminal_s_table_begins_with_what_costs_most(made):
    net, make, scales, read, images = made
    found = analyze(net, make, scales, read, images)
    lines = table_text(found).splitlines()
    worst = max(found["layers"], key=lambda row: row["kl_alone"])
    assert lines[2].startswith(worst["layer"])
    assert len(lines) == 7
    assert lines[-1].startswith("All in int8: KL ")


def test_kl_divergence_and_decibels():
    same = np.array([[1000.0, -1000.0, 0.0]])
    assert kl_divergence(same, same) == 0
    assert kl_divergence(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])) == pytest.approx(
        0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    )
    assert decibels(100, 1) == pytest.approx(20)
    assert decibels(1, 0) == pytest.approx(200)


class Additive(Held):
    """Held-out images on which every int8 layer loses what it is said to lose, whatever the others do."""

    def __init__(self, losses):
        super().__init__(None, np.zeros((500, 4)), None)
        object.__setattr__(self, "losses", losses)

    def loss(self, net, metric):
        return sum(loss for name, loss in self.losses.items() if name not in net)


LOSSES = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}
ROWS = [{"layer": name, "kl_alone": loss, "macs": 10} for name, loss in LOSSES.items()]
COSTS = {"a": 10.0, "b": 2.0, "c": 2.0, "d": 1.0}


def planned(budget, losses=LOSSES):
    return plan(list, ROWS, COSTS, Additive(losses), "kl", budget)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (10, []),
        (9, ["b"]),
        (7, ["b"]),
        (5, ["b", "c"]),
        (4, ["b", "c", "d"]),
        (3.9, ["a", "b"]),
        (1.5, ["a", "b", "c"]),
    ],
)
def test_the_budget_is_kept_at_the_least_cost(budget, kept):
    found = planned(budget)
    assert found["keep_fp32"] == kept
    assert found["plain"] == 10
    assert found["planned"] <= budget
    assert [row["layer"] for row in found["layers"]] == kept


def test_a_budget_that_cannot_be_kept():
    with pytest.raises(
        OctetError, match=r"budget: 0.5 nats cannot be kept on 500 .* all in int8 lose up to 10, .* 3 of 4 .* still 1\."
    ):
        planned(0.5)


def test_a_real_network_keeps_its_budget(made):
    net, make, scales, read, images = made
    found = analyze(net, make, scales, read, images)
    more = nets.images(40, seed=9)
    wanted = logits(Engine.of(net), more, "t")
    held = Held(more, wanted, wanted.argmax(axis=1))
    whole = held.loss(make([]), "kl")
    result = plan(make, found["layers"], costs(found["layers"], {}), held, "kl", whole / 3)
    assert 0 < len(result["keep_fp32"]) < 4
    again = kl_divergence(wanted, logits(Engine.of(make(result["keep_fp32"])), more, "t"))
    assert again < result["planned"] <= whole / 3, "the budget holds with twice the standard error to spare"
    assert "with these layers in fp32" in plans.text(result)
    found = logits(Engine.of(make([])), more, "t")
    each = [kl_divergence(wanted[k : k + 1], found[k : k + 1]) for k in range(40)]
    assert whole == pytest.approx(np.mean(each) + 2 * np.std(each) / 40**0.5, rel=1e-4)
    assert held.loss(make([]), "top1") >= 0, "fp32 is right on all of them"
    with pytest.raises(OctetError, match="top1 needs labels"):
        Held(more, wanted, None).loss(make([]), "top1")


def test_costs_are_measured_ones_and_multiplications_at_their_rate():
    rows = [{"layer": name, "macs": macs} for name, macs in (("a", 100), ("b", 300), ("c", 50))]
    assert costs(rows, {}) == {"a": 100, "b": 300, "c": 50}
    assert costs(rows, {"a": 20.0, "b": 20.0}) == {"a": 20, "b": 20, "c": 5}
    assert costs(rows, {"a": -3.0})["a"] == 1e-9
