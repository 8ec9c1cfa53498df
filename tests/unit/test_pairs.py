"""Octet's int8 beside each engine's own: the ratios of `make bench-peers`, by hand."""

import numpy as np
import pytest

from octet.core.logits import kl_divergences
from tests.bench.cifar_peers import cifar_10_jpeg
from tests.bench.pairs import PAIRS, ROWS, divergences, kl_ratio, speed_ratio, speeds
from tests.bench.peers import LOADS, OCTET_IN, OPENVINO_INT8, UINT8

pytestmark = pytest.mark.unit

RANDOM = np.random.Generator(np.random.PCG64(0))
FP32 = RANDOM.standard_normal((400, 5)).astype(np.float32)


def near(noise: float) -> np.ndarray:
    return FP32 + (noise * RANDOM.standard_normal(FP32.shape)).astype(np.float32)


def test_the_speed_s_error_is_that_of_the_loads():
    own, mine = np.full((LOADS, 9), 2.0), np.full((LOADS, 9), 2.0)
    own[:, 0] = 50  # one slow round of each load does not count
    mine[0] = 1.0
    ratio = speed_ratio(mine.ravel().tolist(), own.ravel().tolist())
    ratios = [2.0] + [1.0] * (LOADS - 1)
    assert ratio.value == pytest.approx(np.mean(ratios))
    assert ratio.error == pytest.approx(np.std(ratios, ddof=1) / LOADS**0.5)


def test_the_divergences_ratio_has_the_error_of_many_samples():
    mine, own = near(0.05), near(0.1)
    ratio = kl_ratio(FP32, mine, own)
    a, b = kl_divergences(FP32, mine), kl_divergences(FP32, own)
    samples = RANDOM.integers(0, len(a), (2000, len(a)))
    ratios = a[samples].mean(axis=1) / b[samples].mean(axis=1)
    assert ratio.value == pytest.approx(a.mean() / b.mean())
    assert ratio.error == pytest.approx(ratios.std(), rel=0.1)
    assert kl_ratio(FP32, own, own).error == 0


def test_the_tables_name_every_pair():
    logits = {row: near(0.1) for row in ROWS}
    text = divergences(logits, FP32.argmax(axis=1))
    assert all(f"| {pair.title} " in text for pair in PAIRS)
    of = {row: [1.0] * 2 * LOADS for row in (*OCTET_IN.values(), UINT8, OPENVINO_INT8)}
    assert speeds({"1": of, "2": of}).count("1.000 ± 0.000") == 4


def test_cifar_10_is_skipped_where_it_is_not_there(tmp_path):
    assert cifar_10_jpeg(tmp_path).startswith(f"CIFAR-10, JPEG: skipped, {tmp_path}")
