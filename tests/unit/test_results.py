"""Evaluation, figures, predictions, the paired drop, and files that are whole or absent."""

import math

import numpy as np
import pytest

from octet.core import files
from octet.core.errors import OctetError, Unreadable
from octet.core.folder import ModelFolder
from octet.data.preprocess import Preprocess
from octet.evaluate.evaluate import Prediction, by_class, distinct, evaluate, figures, predictions_csv, read_predictions
from octet.ncnn.engine import Engine
from octet.ncnn.net import save_net
from octet.summary.summary import paired_drop, summarize, table
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
    for found in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found, results[0], strict=True))
    kept, order, probability = results[0]
    logits = np.stack([engine(x) for x in images])
    assert kept.tolist() == list(range(40))
    assert np.array_equal(order[:, 0], logits.argmax(axis=1))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(probability, -np.sort(-softmax, axis=1)[:, :5])


@pytest.mark.parametrize("workers", [1, 3])
def test_images_that_cannot_be_read_are_left_out(engine, capsys, workers):
    images = nets.images(200)

    def image(k: int) -> np.ndarray:
        if k in bad:
            raise Unreadable(f"{k}.jpg: damaged")
        return images[k]

    bad = {199, 7}
    kept, order, _ = evaluate(engine, nets.Computed(200, image), "evaluate int8", workers)
    assert kept.tolist() == [k for k in range(200) if k not in bad]
    assert order[:, 0].tolist() == [int(engine(images[k]).argmax()) for k in kept]
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
    found = figures(labels, order, classes)
    assert (found["n_images"], found["top1_pct"], found["top5_pct"]) == (4, 25.0, 100.0)
    rows = by_class(labels, order[:, 0], classes)
    assert rows[0] == {"class": "a", "precision_pct": 100, "recall_pct": 100 / 3, "f1_pct": 50, "support": 3}
    assert [list(row.values())[1:] for row in rows[1:]] == [[0, 0, 0, 1]] + [[0, 0, 0, 0]] * 4
    # Unweighted means over all six classes, those without an image among them, as in mmcls.
    assert (found["precision_pct"], found["recall_pct"], found["f1_pct"]) == (16.6667, 5.5556, 8.3333)


def test_predictions_file(tmp_path):
    order, shares = np.array([[0, 1, 2], [1, 0, 2]]), np.array([[0.5, 0.3, 0.2], [1, 0, 0]])
    text = predictions_csv(["x.png", "17"], np.array([0, 2]), order, shares, ["a,b", "c", "d"])
    files.write_text(tmp_path / "p.csv", text)
    assert (tmp_path / "p.csv").read_text() == (
        "image,actual,predicted,probability,top5,top5_probability\n"
        'x.png,"a,b","a,b",0.500000,"a,b | c | d",0.500000 | 0.300000 | 0.200000\n'
        '17,d,c,1.000000,"c | a,b | d",1.000000 | 0.000000 | 0.000000\n'
    )
    assert read_predictions(tmp_path / "p.csv") == [
        Prediction("x.png", "a,b", ["a,b", "c", "d"], [0.5, 0.3, 0.2]),
        Prediction("17", "d", ["c", "a,b", "d"], [1, 0, 0]),
    ]
    (tmp_path / "p.csv").write_text("x\n1\n")
    with pytest.raises(OctetError, match="expected a table with the columns"):
        read_predictions(tmp_path / "p.csv")


def test_classes_of_one_name_are_told_apart():
    assert distinct(["crane", "owl", "crane"]) == ["crane (0)", "owl", "crane (2)"]


def said(actual, *top):
    return Prediction("0", actual, list(top), [1.0] + [0.0] * (len(top) - 1))


def test_paired_drop_by_hand():
    # Of ten images int8 loses two and wins one: a drop of 10 points; the differences are 1, 1, -1 and seven zeros.
    fp32, int8 = "xxxxxxxxxo", "ooxxxxxxxx"
    drop, error = paired_drop([(said("x", a), said("x", b)) for a, b in zip(fp32, int8, strict=True)])
    variance = (3 - 10 * 0.1**2) / 9
    assert drop == pytest.approx(10)
    assert error == pytest.approx(100 * math.sqrt(variance / 10))
    assert paired_drop([(said("x", a), said("x", a)) for a in fp32]) == (0, 0)


def test_summary(tmp_path):
    folder = ModelFolder("m", tmp_path)
    for p, size, top1 in (("fp32", 400, 90.0), ("int8", 100, 80.0)):
        files.write_bytes(folder.ncnn(p).bin, bytes(size))
        files.write_bytes(folder.ncnn(p).param, b"")
        files.write_json(folder.figures(p), {"top1_pct": top1, "n_images": 10})

    def write(precision, label, predicted, shares):
        labels, order = np.full(len(predicted), label), np.array([[k, 1 - k] for k in predicted])
        shares = np.array([[share, 1 - share] for share in shares])
        text = predictions_csv([str(k) for k in range(10)], labels, order, shares, ["x", "o"])
        files.write_text(folder.predictions(precision), text)

    write("fp32", 0, [0] * 9 + [1], [1] * 10)
    write("int8", 0, [0] * 8 + [1] * 2, [0.5] * 8 + [1] * 2)
    machine = {"cpu": "c", "cores": 2, "features": ["avx2"], "ncnn": "1"}
    fps = {"fp32": {"fps": 100.0}, "int8": {"fps": 310.0}}
    files.write_json(folder.latency, {"threads_1": fps, "threads_2": fps, "machine": machine})
    found = summarize(folder)
    assert (found["top1_drop_pt"], found["agreement_pct"], found["size_ratio"]) == (10.0, 90.0, 4.0)
    assert found["probability_shift_pct"] == 40.0
    assert found["speedup_1_thread"] == 3.1
    assert found["n_images"] == 10
    text = table({"m": found})
    assert "90.00 %" in text
    assert "3.10 times as fast" in text
    assert "4.00 times smaller" in text
    write("int8", 1, [0] * 10, [1] * 10)
    with pytest.raises(OctetError, match="not evaluated on the same images"):
        summarize(folder)


def test_files_are_whole_or_absent(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), files.new_folder(tmp_path / "d") as new:
        (new / "x").write_text("x")
        raise KeyError
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
