"""A zoo model by its name, on image files: the real DVC stages, weights from a server on this machine."""

import hashlib
import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from octet.data.cifar import Cifar
from tests.pipeline.project import CONFIG, PARAMS, Project

pytestmark = pytest.mark.pipeline

WEIGHTS = "resnet18_b16x8_cifar10_20210528-bd6371c8.pth"
PIPELINE = """
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", size=(36, -1)),
    dict(type="CenterCrop", crop_size=32),
    dict(type="Normalize", mean=[128.0, 120.0, 110.0], std=[64.0, 60.0, 55.0], to_rgb=True),
    dict(type="ImageToTensor", keys=["img"]),
    dict(type="Collect", keys=["img"]),
]
data = dict(
    train=dict(type="CustomDataset", data_prefix="data/jpeg/train", pipeline=test_pipeline),
    val=dict(type="CustomDataset", data_prefix="data/jpeg/val", pipeline=test_pipeline),
    test=dict(type="CustomDataset", data_prefix="data/jpeg/val", pipeline=test_pipeline),
)
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """digits32's images as JPEG class folders of 40x36; one test image is damaged. The tiny network's weights are a
    zoo model's: no file can be made that has the published checksum, so the project's own copy of zoo.py gets another."""
    result = Project.make(tmp_path_factory.mktemp("zoo"))
    folder = result.folder
    shutil.copytree(finished.folder / "data/digits32", folder / "data/digits32")
    for split, name, count in (("train", "train", 40), ("test", "val", 150)):
        data = Cifar(folder / "data/digits32", split)
        for k in range(count):
            path = folder / "data/jpeg" / name / data.classes[data.labels[k]] / f"{k:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(data.image(k), (40, 36))[..., ::-1])
    path.write_bytes(path.read_bytes()[:200])
    result.damaged = f"{path.parent.name}/{path.name}"
    (folder / "configs/models/tiny.py").write_text(CONFIG[: CONFIG.index("test_pipeline")] + PIPELINE)
    (folder / "served/mmclassification/v0/resnet").mkdir(parents=True)
    weights = Path(shutil.copy(folder / "models/tiny.pth", folder / "served/mmclassification/v0/resnet" / WEIGHTS))
    entry = PARAMS[: PARAMS.index("target")].replace("  tiny:", "  own:")
    entry += "  tiny:\n    zoo: resnet18_8xb16_cifar10  # by name\n    config: configs/models/tiny.py\n"
    (folder / "params.yaml").write_text(entry + PARAMS[PARAMS.index("target") :].replace("warmup: 1", "warmup: 0"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    result.env |= {"OCTET_MIRROR": f"http://127.0.0.1:{server.server_port}", "no_proxy": "127.0.0.1"}
    result.sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    result.filled_in = result.python("-m", "octet", "validate").stdout
    yield result
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(project, tmp_path_factory):
    """A copy in which the weights' checksum is right, after `dvc repro`; `done` is what that said."""
    copy = project.copy(tmp_path_factory.mktemp("zoo run") / "p")
    copy.env |= {key: project.env[key] for key in ("OCTET_MIRROR", "no_proxy")}
    copy.edit(
        "octet/zoo/catalogue.py",
        'return self.file.stem.rsplit("-", 1)[1]',
        f'return "{project.sha256}"',
    )
    copy.damaged, copy.sha256 = project.damaged, project.sha256
    copy.done = copy.python("-m", "dvc", "repro", "summary@tiny", "analyze@tiny")
    return copy


def test_the_entry_is_filled_in(project):
    assert project.filled_in.splitlines() == [
        "params.yaml: models.tiny: filled in checkpoint, trusted, data, keep_fp32, partition, max_drop_pt",
        "tiny: test split: val (class folders in sorted order, 10), 150 images",
        "tiny: train split: train (class folders in sorted order, 10), 40 images",
    ]
    text = (project.folder / "params.yaml").read_text()
    assert f"checkpoint: models/zoo/{WEIGHTS}" in text
    assert "data: data/jpeg\n" in text
    assert "# by name" in text
    assert WEIGHTS in (project.folder / "downloads/params.yaml").read_text()


def test_a_wrong_checksum_stops_the_run(project):
    done = project.python("-m", "dvc", "repro", "summary@tiny", ok=False)
    assert done.returncode != 0
    assert "expected was bd6371c8; it was thrown away" in done.stderr
    assert not list((project.folder / "models/zoo").glob("*.pth"))


def test_the_pipeline_on_image_files(run):
    project, done = run, run.done
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    weights = ran.index("downloads/dvc.yaml:weights@resnet18_8xb16_cifar10")
    assert weights < ran.index("export@tiny")
    # DVC ran settings@tiny before, where it came to it before the download that failed.
    assert len(set(ran) - {"settings@tiny"}) == 13
    metrics = project.folder / "metrics/tiny"
    fp32 = json.loads((metrics / "fp32.json").read_text())
    assert (fp32["n_images"], fp32["n_unreadable"]) == (149, 1)
    assert fp32["split_source"] == "val (class folders in sorted order, 10)"
    for output in (
        "1 of 150 images cannot be read and were left out",
        project.damaged,
        "published are 94.82 % on CIFAR-10",
    ):
        assert output in done.stderr
    rows = [line.split(",")[:2] for line in (metrics / "int8.predictions.csv").read_text().splitlines()[1:]]
    assert len(rows) == 149
    assert all(name.split("/")[0] == label for name, label in rows)
    assert project.damaged not in {name for name, _ in rows}
    summary = json.loads((metrics / "summary.json").read_text())
    assert summary["published_top1_pct"] == 94.82
    assert summary["agreement_pct"] > 80
    assert "zoo publishes 94.82 %" in project.python("-m", "octet", "summary", "--model", "tiny").stdout
    steps = json.loads((project.folder / "models/tiny/preprocess.json").read_text())
    assert [step["step"] for step in steps["geometry"]] == ["Resize", "CenterCrop"]
    assert steps["size"] == [32, 32]


def test_what_was_fetched_stays_and_no_other_model_needs_it(run, tmp_path):
    project = run.copy(tmp_path / "p")
    weights = project.folder / "models/zoo" / WEIGHTS
    project.env |= {"OCTET_MIRROR": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    project.dvc("repro", "settings@own")
    assert "weights" not in project.dvc("repro", "--dry", "export@own")
    assert "didn't change" in project.dvc("repro", "export@tiny")
    again = "repro", "--single-item", "--force", "downloads/dvc.yaml:weights@resnet18_8xb16_cifar10"
    assert f"{WEIGHTS}: was there, sha256 {run.sha256}" in project.dvc(*again)
    weights.unlink()
    project.python("-c", "import shutil; shutil.rmtree('.dvc/cache')")
    done = project.python("-m", "dvc", *again, ok=False)
    assert done.returncode != 0
    assert f"put it there by hand: models/zoo/{WEIGHTS}" in done.stderr


def test_the_mean_of_what_is_read_is_what_the_file_holds(run):
    """The images as files and as arrays through the same preprocess.json: not equal, as JPEG loses, but close."""
    from octet.data import preprocess
    from octet.data.dataset import open_split
    from octet.data.images import Images

    steps = preprocess.load(run.folder / "models/tiny/preprocess.json")
    files = open_split(run.folder / "data/jpeg", "train", steps.classes)
    arrays = open_split(run.folder / "data/digits32", "train", steps.classes)
    k = int(Path(files.name(0)).stem)
    array = cv2.resize(arrays.image(k), (40, 36))
    assert np.abs(Images(files, steps, np.array([0]))[0] - steps(array)).mean() < 0.1


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ("resnet/resnet34_8xb32_in1k.py", 21_797_672),  # torchvision's documentation; the metafile has 2.2 M
        ("resnet/resnet50_8xb16_cifar100.py", 23_500_352 + 2048 * 100 + 100),
        ("repvgg/deploy/repvgg-A0_deploy_4xb64-coslr-120e_in1k.py", 8_309_384),  # RepVGG's paper, table 2: 8.30 M
    ],
)
def test_parameters_are_counted_by_config(config, count):
    from tests.bench.zoo.networks import count_parameters

    assert count_parameters(config) == count


def test_the_list_says_what_converts(tmp_path, monkeypatch):
    from octet.zoo import listing as zoo_table

    monkeypatch.setattr(zoo_table, "CONVERTED", tmp_path / "zoo.json")
    known = {"resnet/resnet18_8xb16_cifar10.py": {"octet": "int8, 20 of 21 layers", "parameters": 11_173_962}}
    zoo_table.CONVERTED.write_text(json.dumps(known))
    heading, _, cifar, imagenet, count = zoo_table.table("resnet18").splitlines()
    assert heading.split() == ["name", "family", "input", "parameters", "top-1", "Octet"]
    assert cifar.startswith("resnet18_8xb16_cifar10 ")
    assert cifar.endswith(" 32x32      11.2 M  94.82 %  int8, 20 of 21 layers")
    assert imagenet.endswith(" 224x224      11.7 M  69.90 %  not tried yet")
    assert count == "2 models"


def test_the_list_says_why_a_config_is_refused_in_the_error_s_own_words(tmp_path, monkeypatch):
    from octet.zoo import catalogue, listing

    assert listing.table("csra").splitlines()[2].endswith("  -  refused: data.train: VOC gives an image several labels")
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "configs/models/net.py"
    config.parent.mkdir(parents=True)
    config.write_text("model = dict(type='ImageClassifier')\n")
    net = catalogue.ZooModel("net", "family", "configs/models/net.py", "https://x.invalid/net.pth", 1_000_000, None, "")
    monkeypatch.setattr(catalogue, "models", lambda: {"net": net})
    line = listing.table().splitlines()[2]
    assert line.endswith("  -  refused: has no data.test with type and pipeline")
