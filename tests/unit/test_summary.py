"""The summary of fp32 beside int8, and the paired drop."""

import math
from dataclasses import replace

import pytest

from octet.core import files
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.predictions import Prediction, predictions_csv
from octet.summary.pairs import paired_drop
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
