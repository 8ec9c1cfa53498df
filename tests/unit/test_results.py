"""Evaluation, figures, predictions, the paired drop, and files that are whole or absent."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octet.core import files
from octet.core.errors import OctetError, Unreadable
from octet.core.folder import ModelFolder
from octet.data.preprocess import Preprocess
from octet.evaluate.accuracy import Accuracy, ClassAccuracy, accuracy, by_class
from octet.evaluate.evaluate import evaluate
from octet.evaluate.predictions import Prediction, distinct, predictions_csv, read_predictions
from octet.ncnn.engine import Engine
from octet.ncnn.net import save_net
from octet.summary.pairs import paired_drop
from octet.summary.summary import Summary, summarize, summary_table
from tests import nets

pytestmark = pytest.mark.unit


@pytest.fixture
def engine(tmp_path):
    save_net(nets.small(), tmp_path / "m.param", tmp_path / "m.bin")
    return Engine(tmp_path / "m.param", tmp_path / "m.bin")


def test_the_same_from_any_number_of_workers(engine):
    images = nets.images(40)
    results = [evaluate(engine, images, "x", workers) for workers in (1, 2, 5)]
    results += [evaluate(engine, images, "x", workers, readers) for workers in (1, 3) for readers in (1, 2)]
    for other in results[1:]:
        pairs = zip(vars(other).values(), vars(results[0]).values(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    top = results[0]
    logits = np.stack([engine(x) for x in images])
    assert top.indices.tolist() == list(range(40))
    assert np.array_equal(top.classes[:, 0], logits.argmax(axis=1))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(top.probabilities, -np.sort(-softmax, axis=1)[:, :5])


@pytest.mark.parametrize("workers", [1, 3])
def test_images_that_cannot_be_read_are_left_out(engine, capsys, workers):
    images = nets.images(200)

    def image(k: int) -> np.ndarray:
        if k in bad:
            raise Unreadable(f"{k}.jpg: damaged")
        return images[k]

    bad = {199, 7}
    top = evaluate(engine, nets.Computed(200, image), "evaluate int8", workers)
    assert top.indices.tolist() == [k for k in range(200) if k not in bad]
    assert top.classes[:, 0].tolist() == [int(engine(images[k]).argmax()) for k in top.indices]
    assert capsys.readouterr().err == (
        "warning: evaluate int8: 2 of 200 images cannot be read and were left out:\n199.jpg: damaged\n7.jpg: damaged\n"
    )
    bad = {7, 8, 9}
    with pytest.raises(OctetError, match="evaluate int8: more than 1 % of 200 images cannot be read"):
        evaluate(engine, nets.Computed(200, image), "evaluate int8", workers)


def test_logits_that_are_not_finite(engine):
    with pytest.raises(OctetError, match="test image 1 are not finite"):
        evaluate(engine, [nets.images(1)[0], np.full((3, 8, 8), np.nan, np.float32)], "x", 1)


def test_figures_by_hand():
    order = np.array([[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [2, 1, 0, 3, 4], [5, 4, 3, 2, 1]])
    labels, classes = np.array([0, 0, 0, 1]), ["a", "b", "c", "d", "e", "f"]
    rows = by_class(labels, order[:, 0], classes)
    assert rows[0] == ClassAccuracy("a", precision_pct=100, recall_pct=100 / 3, f1_pct=50, support=3)
    assert rows[1:] == [ClassAccuracy("b", 0, 0, 0, 1)] + [ClassAccuracy(name, 0, 0, 0, 0) for name in "cdef"]
    # Unweighted means over all six classes, those without an image among them, as in mmcls.
    means = {"precision_pct": 16.6667, "recall_pct": 5.5556, "f1_pct": 8.3333}
    whole = accuracy(labels, order, classes, n_unreadable=2, split_source="val (class folders)")
    assert whole.to_json() == {
        "n_images": 4,
        "top1_pct": 25.0,
        "top5_pct": 100.0,
        "n_unreadable": 2,
        "split_source": "val (class folders)",
        **means,
    }


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_than_five_classes(tmp_path, count):
    classes, images = ["cat", "dog", "owl"][:count], nets.images(6)
    top = evaluate(lambda x: x.reshape(-1)[:count], images, "x", 1)
    assert top.classes.shape == top.probabilities.shape == (6, count)
    labels = np.arange(6) % count
    whole = accuracy(labels, top.classes, classes)
    assert whole.top5_pct == 100
    assert whole.top1_pct == files.decimals(100 * (top.classes[:, 0] == labels).mean(), 4)
    rows = top.predictions([f"{k}.png" for k in range(6)], labels, classes)
    files.write_text(tmp_path / "p.csv", predictions_csv(rows))
    assert [row.top for row in read_predictions(tmp_path / "p.csv")] == [row.top for row in rows]


def test_predictions_file(tmp_path):
    rows = [
        Prediction("x.png", "a,b", ["a,b", "c", "d"], [0.5, 0.3, 0.2]),
        Prediction("17", "d", ["c", "a,b", "d"], [1, 0, 0]),
    ]
    files.write_text(tmp_path / "p.csv", predictions_csv(rows))
    assert (tmp_path / "p.csv").read_text() == (
        "image,actual,predicted,probability,top5,top5_probability\n"
        'x.png,"a,b","a,b",0.500000,"a,b | c | d",0.500000 | 0.300000 | 0.200000\n'
        '17,d,c,1.000000,"c | a,b | d",1.000000 | 0.000000 | 0.000000\n'
    )
    assert read_predictions(tmp_path / "p.csv") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a table with the columns"),
        (b"x\n1\n", "expected a table with the columns"),
        (b"\xff", "expected a table with the columns"),
        (b"image,actual,predicted,probability,top5,top5_probability\n", "expected a table with the columns"),
        (b"image,actual,predicted,probability,top5,top5_probability\n1,a,a,1,a,x\n", "row 1: expected as many prob"),
        (b"image,actual,predicted,probability,top5,top5_probability\n1,a,a,1,a | b,1\n", "row 1: expected as many"),
        (b"image,actual,predicted,probability,top5,top5_probability\n1,a\n", "row 1: expected as many prob"),
    ],
)
def test_damaged_predictions(tmp_path, content, message):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(OctetError, match=f"p.csv: {message}.*run the stage evaluate again"):
        read_predictions(tmp_path / "p.csv")


def test_classes_of_one_name_are_told_apart():
    assert distinct(["crane", "owl", "crane"]) == ["crane (0)", "owl", "crane (2)"]
    assert distinct(["a", "a", "a (0)"]) == ["a (0)", "a (1)", "a (0) (2)"]
    assert distinct(["a | b", "a", "a / b"]) == ["a | b", "a", "a / b"], "what differs stays as it is"


TEXT = st.text(st.characters(codec="utf-8"))


@given(st.lists(TEXT, min_size=1, max_size=9), st.data())
def test_predictions_read_back_as_written(tmp_path_factory, names, data):
    classes = distinct(names)
    assert len(set(classes)) == len(names)
    top = data.draw(st.permutations(classes))[:5]
    rows = [Prediction(data.draw(TEXT), classes[0], top, [round(1 / (k + 1), 6) for k in range(len(top))])]
    path = tmp_path_factory.mktemp("p") / "p.csv"
    files.write_text(path, predictions_csv(rows))
    assert read_predictions(path) == rows


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


def write_and_fail(folder):
    (folder / "x").write_text("x")
    raise KeyError


def test_files_are_whole_or_absent(tmp_path):
    with pytest.raises(ValueError, match="Out of range float values"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), files.new_folder(tmp_path / "d") as new:
        write_and_fail(new)
    assert list(tmp_path.iterdir()) == []
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    with files.new_folder(tmp_path / "d") as new:
        (new / "x").write_text("new")
    assert (tmp_path / "d" / "x").read_text() == "new"


def test_preprocess_order_and_size():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 50
    args = ([10.0, 20.0, 30.0], [2.0, 4.0, 5.0], [2, 2], ["a"])
    assert Preprocess("RGB", *args)(image)[:, 0, 0].tolist() == [95.0, -5.0, 4.0]
    assert Preprocess("BGR", *args)(image)[:, 0, 0].tolist() == [20.0, -5.0, 34.0]
    with pytest.raises(OctetError, match="an image of 3x2 pixels becomes 3x2; the network's input is 2x2"):
        Preprocess("RGB", *args)(np.zeros((2, 3, 3), np.uint8))
