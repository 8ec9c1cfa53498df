"""The int8 models are as far from fp32 as they were: neither further away nor, without a word on it, nearer."""

import pytest

from octet.core import registry
from tests import accuracy

pytestmark = pytest.mark.pipeline

OLD = {"mse, dotprod": {"agreement_pct": 99.0, "kl_nats": 1e-4, "sqnr_db": 40.0}}
TOLERANCES = {"agreement_pct": 0.8, "kl_nats": 1.5, "sqnr_db": 0.5}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, None),
        ({"agreement_pct": 98.4, "kl_nats": 1.4e-4, "sqnr_db": 39.6}, None),
        ({"agreement_pct": 98.0}, "mse, dotprod: agreement_pct: 99 before, 98 now: worse"),
        ({"agreement_pct": 100.0}, "mse, dotprod: agreement_pct: 99 before, 100 now: better"),
        ({"kl_nats": 1.6e-4}, "mse, dotprod: kl_nats: 0.0001 before, 0.00016 now: worse"),
        ({"kl_nats": 0.0}, "mse, dotprod: kl_nats: 0.0001 before, 0 now: better"),
        ({"sqnr_db": float("nan")}, "mse, dotprod: sqnr_db: 40 before, nan now: worse"),
        ({"layer_sqnr_db": 3.0}, "mse, dotprod: layer_sqnr_db: None before, 3.0 now"),
    ],
)
def test_a_loss_and_a_gain_are_told(change, line):
    new = {"mse, dotprod": OLD["mse, dotprod"] | change}
    assert accuracy.problems(new, OLD, TOLERANCES) == ([line] if line else [])


def test_cases_without_a_baseline_and_baselines_without_a_case():
    assert accuracy.problems({"kl, dotprod": {}}, OLD, TOLERANCES) == [
        "kl, dotprod: no baseline",
        "mse, dotprod: not measured any more",
    ]


def test_the_accuracy_is_what_it_was():
    baselines, tolerances = accuracy.load()
    assert {name.split(", ")[0] for name in baselines} == set(registry.computing_calibrators())
    assert {name.split(", ")[1] for name in baselines} == set(registry.BUILT_IN_TARGETS)
    missing = [name for name in registry.computing_calibrators() if registry.calibrator_needs(name).missing]
    baselines = {name: figures for name, figures in baselines.items() if name.split(", ")[0] not in missing}
    result = accuracy.problems(accuracy.measure(), baselines, tolerances)
    assert not result, "\n".join([*result, "If that is meant: make accuracy-baselines"])
