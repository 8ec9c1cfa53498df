"""The summary of fp32 beside int8, and the paired drop."""

import math
from dataclasses import replace

import numpy as np
import pytest

from octet.core import files
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.logits import kl_divergences, kl_divergences_expected
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.evaluate import top
from octet.evaluate.pairs import kl_top5_expected_nats, kl_top5_nats, paired_drop, read_pairs
from octet.evaluate.predictions import Prediction, predictions_csv
from octet.summary.differences import classes_csv, confusion_csv
from octet.summary.summary import Summary, summarize, summary_table

pytestmark = pytest.mark.unit


def predicted(actual, *top):
    return Prediction("0", actual, list(top), [1.0] + [0.0] * (len(top) - 1))


def test_paired_drop_by_hand():
    # Of ten images int8 loses two and wins one: a drop of 10 points; the differences are 1, 1, -1 and seven zeros.
    fp32, int8 = "xxxxxxxxxo", "ooxxxxxxxx"
    drop, error = paired_drop([(predicted("x", a), predicted("x", b)) for a, b in zip(fp32, int8, strict=True)])
    variance = (3 - 10 * 0.1**2) / 9
    assert drop == pytest.approx(10)
    assert error == pytest.approx(100 * math.sqrt(variance / 10))
    assert paired_drop([(predicted("x", a), predicted("x", a)) for a in fp32]) == (0, 0)
    assert paired_drop([(predicted("x", "x"), predicted("x", "o"))]) == (100, None)


def test_summary(tmp_path):
    folder = ModelFolder("m", tmp_path)
    for p, size, top1 in (("fp32", 400, 90.0), ("int8", 100, 80.0)):
        files.write_bytes(folder.ncnn(p).bin, bytes(size))
        files.write_bytes(folder.ncnn(p).param, b"")
        files.write_json(folder.figures(p), Accuracy(10, top1, 100.0, top1, top1, top1).to_json())

    def write(precision, label, best, shares):
        rows = [
            Prediction(str(k), "xo"[label], ["xo"[best], "xo"[1 - best]], [share, 1 - share])
            for k, (best, share) in enumerate(zip(best, shares, strict=True))
        ]
        files.write_text(folder.predictions(precision), predictions_csv(rows))

    write("fp32", 0, [0] * 9 + [1], [1] * 10)
    write("int8", 0, [0] * 8 + [1] * 2, [0.5] * 8 + [1] * 2)
    machine = {"cpu": "c", "cores": 2, "features": ["avx2"], "ncnn": "1"}
    fps = {"fp32": {"fps": 100.0}, "int8": {"fps": 310.0}}
    files.write_json(folder.latency, {"threads_1": fps, "threads_2": fps, "machine": machine})
    summary = summarize(folder)
    assert (summary.top1_drop_pt, summary.agreement_pct, summary.size_ratio) == (10.0, 90.0, 4.0)
    assert summary.probability_shift_pct == 40.0
    assert summary.speedup_1_thread == 3.1
    assert summary.n_images == 10
    files.write_json(folder.summary, summary.to_json())
    assert Summary.load(folder.summary) == summary
    assert "published_top1_pct" not in summary.to_json()
    assert summary_table({"m": replace(summary, published_top1_pct=91.5)}).splitlines() == [
        "m                  fp32     int8",
        "--------------  -------  -------  --------------------------",
        "top-1           90.00 %  80.00 %  drop +10.00 ± 10.00 points",
        "FPS, 1 thread     100.0    310.0  3.10 times as fast",
        "FPS, 2 threads    100.0    310.0  3.10 times as fast",
        "size             0.0 MB   0.0 MB  4.00 times smaller",
        "mmcls's zoo publishes 91.50 % for fp32.",
        "10 images; int8 agrees with fp32 on 90.00 %. c, 2 cores, ncnn 1.",
    ]
    assert set(summary.comparison()) == {
        "top1_drop_pt",
        "top1_drop_se_pt",
        "agreement_pct",
        "probability_shift_pct",
        "size_ratio",
    }
    assert "another machine" not in summary_table({"m": summary}, machine)
    assert summary_table({"m": summary}, machine | {"cpu": "d"}).splitlines()[-1] == (
        "The speeds are of another machine than this one: cpu c, then d."
    )
    write("int8", 1, [0] * 10, [1] * 10)
    with pytest.raises(OctetError, match="not evaluated on the same images"):
        summarize(folder)
    write("fp32", 1, [0] * 10, [1] * 10)
    for content in ({}, [], {"machine": machine}, {"threads_1": fps}, {"threads_1": {}, "machine": machine}):
        files.write_json(folder.latency, content)
        with pytest.raises(OctetError, match=r"latency.json: expected the keys machine and threads_1"):
            summarize(folder)
    files.write_json(folder.figures("int8"), {"top1_pct": 1})
    with pytest.raises(OctetError, match=r"int8.json: expected the keys n_images, top1_pct, .*the stage evaluate"):
        summarize(folder)


def test_a_divergence_by_the_five_most_likely_classes():
    """Of all classes it is the divergence itself; of more it is less; never negative, and 0 for the same."""
    rng = np.random.default_rng(0)
    for count in (2, 5, 9, 1000):
        pairs, exact = [], []
        for _ in range(20):
            logits = rng.normal(size=count) * 3
            rows, shares = [], []
            for values in (logits, logits + rng.normal(size=count) * 0.2):
                order, probabilities = top(values.astype(np.float32))
                rows.append(Prediction("0", "", [str(k) for k in order], probabilities.tolist()))
                shares.append(np.exp(values) / np.exp(values).sum())
            pairs.append(tuple(rows))
            exact.append(float((shares[0] * np.log(shares[0] / shares[1])).sum()))
        if count <= 5:
            assert kl_top5_nats(pairs) == pytest.approx(np.mean(exact), rel=1e-3)
        else:
            assert 0 < kl_top5_nats(pairs) < np.mean(exact)
        assert kl_top5_nats([(fp32, fp32) for fp32, _ in pairs]) == 0


def test_a_divergence_expected_on_new_images_from_the_predictions_file():
    """With six decimals and five classes it is that of the logits; and no noise where a network is as sure as the file can tell."""
    rng = np.random.default_rng(0)
    for spread, tolerance in ((3, 0.02), (12, 0.2)):
        fp32 = (rng.normal(size=(300, 5)) * spread).astype(np.float32)
        int8 = fp32 + (rng.normal(size=fp32.shape) * 0.03).astype(np.float32)
        pairs = []
        for both in zip(fp32, int8, strict=True):
            ranked = (top(values) for values in both)
            rows = [([str(k) for k in order], [round(float(p), 6) for p in shares]) for order, shares in ranked]
            pairs.append(tuple(Prediction("0", "", *row) for row in rows))
        exact = kl_divergences_expected(fp32, int8)
        assert kl_top5_expected_nats(pairs).mean() == pytest.approx(exact.mean(), rel=tolerance)
        assert exact.mean() > kl_divergences(fp32, int8).mean(), "a network is surer of what it has learned"


def test_images_without_labels_have_no_top1(tmp_path):
    folder = ModelFolder("m", tmp_path)
    for p, best in (("fp32", "xxxx"), ("int8", "xxxo")):
        files.write_bytes(folder.ncnn(p).bin, bytes(8))
        files.write_bytes(folder.ncnn(p).param, b"")
        files.write_json(folder.figures(p), Accuracy(4).to_json())
        files.write_text(folder.predictions(p), predictions_csv([predicted("", name) for name in best]))
    machine = {"cpu": "c", "cores": 1, "features": [], "ncnn": "1"}
    files.write_json(folder.latency, {"threads_1": {p: {"fps": 9.0} for p in ("fp32", "int8")}, "machine": machine})
    summary = summarize(folder)
    assert (summary.top1_drop_pt, summary.agreement_pct, summary.loss_pt) == (None, 75.0, 25.0)
    assert not [key for key in summary.to_json() if "top1" in key]
    files.write_json(folder.summary, summary.to_json())
    assert Summary.load(folder.summary) == summary
    table = summary_table({"m": summary})
    assert table.splitlines()[2].split() == [
        "agreement",
        "75.00",
        "%",
        "differ",
        "on",
        "25.00",
        "%",
        "of",
        "the",
        "images",
    ]
    pairs = read_pairs(folder)
    assert classes_csv(pairs, ["x", "o"]).count("\n") == 1
    assert confusion_csv(pairs, ["x", "o"]).count("\n") == 1
    files.write_json(folder.figures("int8"), Accuracy(4, 1.0, 1.0, 1.0, 1.0, 1.0).to_json())
    with pytest.raises(OctetError, match="some figures are of images with labels, some without"):
        summarize(folder)
    files.write_json(folder.figures("int8"), {"n_images": 4, "top1_pct": 1.0})
    with pytest.raises(OctetError, match=r"int8.json: expected all of the keys top1_pct, top5_pct, .*, or none"):
        summarize(folder)
