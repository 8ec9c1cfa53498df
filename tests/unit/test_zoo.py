"""mmcls's zoo by name; what is fetched from a server on this machine; entries that Octet writes into params.yaml."""

import hashlib
import re
import shutil
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.data import cifar, cifar_layouts
from octet.export.mmcls_model import read_config
from octet.project import data_sets as fetch
from octet.project import download as downloading
from octet.project import entries
from octet.project.download import download
from octet.zoo import catalogue

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
CONTENT = np.random.Generator(np.random.PCG64(0)).bytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


def test_models_of_the_zoo():
    """Literals from mmcls 0.25's metafiles."""
    found = catalogue.find("resnet18_8xb16_cifar10")
    assert found == catalogue.ZooModel(
        "resnet18_8xb16_cifar10",
        "ResNet",
        "resnet/resnet18_8xb16_cifar10.py",
        "https://download.openmmlab.com/mmclassification/v0/resnet/resnet18_b16x8_cifar10_20210528-bd6371c8.pth",
        11_170_000,
        94.82,
        "CIFAR-10",
    )
    assert str(found.file) == "models/zoo/resnet18_b16x8_cifar10_20210528-bd6371c8.pth"
    assert found.sha256 == "bd6371c8"
    assert catalogue.by_file("/elsewhere/resnet18_b16x8_cifar10_20210528-bd6371c8.pth") is found
    assert catalogue.by_file("models/resnet18_digits32.pth") is None
    assert len(catalogue.models()) == 196
    assert all(len(model.sha256) == 8 for model in catalogue.models().values())
    assert len({model.file for model in catalogue.models().values()}) == 196


def test_names_of_configs_and_unknown_names():
    assert catalogue.find("mobilenet-v3-small_8xb32_in1k").name == "mobilenet_v3_small_imagenet"
    with pytest.raises(
        OctetError, match="a config of several models; take one of hrnet-w18_3rdparty_8xb32_in1k, hrnet-w18_3"
    ):
        catalogue.find("hrnet-w18_4xb32_in1k")
    with pytest.raises(
        OctetError, match="resnet18_8xb16_cifar: no such model in mmcls's zoo. Did you mean 'resnet18_8xb16_c"
    ):
        catalogue.find("resnet18_8xb16_cifar")


def test_the_published_top_1_beside_the_found_one(capsys):
    file = "x/resnet18_b16x8_cifar10_20210528-bd6371c8.pth"
    assert catalogue.published_top1_pct(file, 94.9) == 94.82
    assert capsys.readouterr().err == ""
    assert catalogue.published_top1_pct(file, 93.0) == 94.82
    said = capsys.readouterr().err
    assert "fp32 top-1 is 93.00 %, published are 94.82 % on CIFAR-10 (-1.82 points)" in said
    for cause in ("channel order", "normalization", "resize"):
        assert cause in said
    assert catalogue.published_top1_pct("models/mine.pth", 1.0) is None
    assert capsys.readouterr().err == ""


class Server:
    """Serves CONTENT at any address. What it is asked for is in `ranges`; `broken`: how many answers end early;
    `ranged`: whether it knows ranges."""

    def __init__(self):
        self.ranges, self.broken, self.ranged, self.content = [], 0, True, CONTENT
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if "missing" in self.path:
                    return self.send_error(404)
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and outer.ranged else 0
                if start >= len(outer.content):
                    return self.send_error(416)
                body = outer.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                outer.broken -= 1
                self.wfile.write(body[:100_000] if outer.broken >= 0 else body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_file_is_fetched_once_and_checked(server, tmp_path):
    path = tmp_path / "zoo" / "x.pth"
    assert download(f"{server.url}/x.pth", path, "sha256", SHA[:8]) is True
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["x.pth"]
    assert download(f"{server.url}/x.pth", path, "sha256", SHA[:8]) is False
    assert len(server.ranges) == 1


def test_a_file_put_there_by_hand_needs_no_network(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(CONTENT)
    assert download("http://nowhere.invalid/x.pth", path, "sha256", SHA[:8]) is False
    path.write_bytes(b"another file")
    with pytest.raises(OctetError, match=f"x.pth: its sha256 begins with .*, the published file's with {SHA[:8]}"):
        download("http://nowhere.invalid/x.pth", path, "sha256", SHA[:8])
    assert path.read_bytes() == b"another file", "what is there stays"


@pytest.mark.parametrize("ranged", [True, False])
def test_a_broken_connection_is_resumed(server, tmp_path, ranged):
    server.broken, server.ranged = 2, ranged
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA[:8])
    assert (tmp_path / "x.pth").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-" if ranged else "bytes=100000-"]


def test_the_next_run_goes_on_where_the_last_was_cut_off(server, tmp_path):
    server.content, server.broken = CONTENT * 3, 4
    with pytest.raises(OctetError, match=r"broke after 400,000 of 900,000 bytes; 400,000 bytes are kept"):
        download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", hashlib.sha256(CONTENT * 3).hexdigest())
    assert not (tmp_path / "x.pth").exists()
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", hashlib.sha256(CONTENT * 3).hexdigest())
    assert server.ranges[-1] == "bytes=400000-"
    assert (tmp_path / "x.pth").read_bytes() == CONTENT * 3


def test_a_whole_partial_file_is_taken(server, tmp_path):
    (tmp_path / ".x.pth.partial").write_bytes(CONTENT)
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA[:8])
    assert server.ranges == ["bytes=300000-"]
    assert (tmp_path / "x.pth").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(OctetError, match=f"what came has a sha256 that begins with {SHA[:8]}, expected was 00000000"):
        download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", "00000000")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["missing", "closed"])
def test_without_a_network_the_error_says_which_file_to_put_where(server, tmp_path, where):
    url = f"{server.url}/missing.pth" if where == "missing" else "http://127.0.0.1:9/x.pth"
    with pytest.raises(OctetError, match=rf"{url}: cannot be fetched .*put it there by hand: .*x\.pth.*OCTET_MIRROR"):
        download(url, tmp_path / "x.pth", "sha256", SHA[:8])


def test_a_mirror(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTET_MIRROR", f"{server.url}/mirror/")
    assert downloading.mirrored("https://a.invalid/b/c.pth") == f"{server.url}/mirror/b/c.pth"
    assert download("https://a.invalid/b/c.pth", tmp_path / "c.pth", "sha256", SHA[:8])


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small CIFAR-10 as an official archive, whose checksum is made the official one."""
    images, labels = np.zeros((10, 3, 32, 32), np.uint8), np.arange(10, dtype=np.uint8)
    cifar.write(tmp_path / "made", (images, labels), (images, labels), [f"class {k}" for k in range(10)])
    path = tmp_path / "made.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(tmp_path / "made", "cifar-10-batches-bin")
        file.add(Path(__file__), "../outside.py")
    official = replace(cifar_layouts.BINARY10, md5=hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(fetch, "FETCHED", {"cifar10": (official,)})
    return path


def test_cifar_is_fetched_unpacked_and_then_accepted(server, archive, tmp_path, monkeypatch):
    server.content = archive.read_bytes()
    monkeypatch.setenv("OCTET_MIRROR", server.url)
    folder = tmp_path / "data" / "cifar10"
    assert fetch.fetch("cifar10", folder).startswith("fetched https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz")
    assert sorted(p.name for p in folder.parent.iterdir()) == ["cifar10"]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in (tmp_path / "made").iterdir())
    assert fetch.fetch("cifar10", folder) == "CIFAR-10's binary version was there: 10 training and 10 test images"
    assert len(server.ranges) == 1


@pytest.mark.parametrize("beside", [True, False])
def test_an_archive_is_found(archive, tmp_path, beside):
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    place = (folder.parent if beside else folder) / "cifar-10-binary.tar.gz"
    archive.rename(place)
    assert fetch.fetch("cifar10", folder) == f"unpacked {place}"
    assert place.exists()
    assert len(cifar.Cifar(folder, "train")) == 10
    place.write_bytes(b"damaged")
    (folder / "test_batch.bin").unlink()
    with pytest.raises(OctetError, match=r"cifar-10-binary\.tar\.gz: its md5 is .*, the official archive's"):
        fetch.fetch("cifar10", folder)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text)
    return text


ZOO = """\
  resnet18_cifar10:
    # Mine
    zoo: resnet18_8xb16_cifar10
    data: data/cifar10

"""


def added(before: str) -> list[str]:
    """The lines that params.yaml has more; none may be gone."""
    there = before.splitlines()
    more = []
    for line in Path("params.yaml").read_text().splitlines():
        if there and line == there[0]:
            there.pop(0)
        else:
            more.append(line)
    assert there == []
    return more


def test_an_entry_with_zoo_is_filled_in(project):
    text = project.replace("models:\n", f"models:\n{ZOO}", 1)
    Path("params.yaml").write_text(text)
    with pytest.raises(
        OctetError, match="models.resnet18_cifar10: lacks the keys config, checkpoint, trusted, keep_fp32, partition"
    ):
        params.load()
    entries.fill()
    assert added(text) == [
        "    config: resnet/resnet18_8xb16_cifar10.py",
        "    checkpoint: models/zoo/resnet18_b16x8_cifar10_20210528-bd6371c8.pth",
        "    trusted: false",
        "    keep_fp32: []",
        "    partition: []",
        "    max_drop_pt: 0.3",
    ]
    entry = params.load().models["resnet18_cifar10"]
    assert (entry.zoo, entry.data) == ("resnet18_8xb16_cifar10", "data/cifar10")
    assert yaml.load("downloads/params.yaml", "") == {
        "weights": {"resnet18_8xb16_cifar10": {"zoo": "resnet18_8xb16_cifar10", "file": entry.checkpoint}},
        "data_sets": {"cifar10": {"folder": "data/cifar10"}},
    }
    again = Path("params.yaml").read_text()
    entries.fill()
    assert Path("params.yaml").read_text() == again


def test_what_is_missing_and_has_a_default_is_filled_in(project):
    text = project.replace("    partition: []\n", "")
    Path("params.yaml").write_text(text)
    entries.fill()
    assert added(text) == ["    partition: []"] * 2


def test_old_names_become_new_ones_and_all_else_stays(project, capsys):
    text = project.replace("    partition: []\n", "    cuts: [conv_1]  # mine\n", 1)
    text = text.replace("    partition: []\n", "    'cuts': []\n").replace(
        "method: nearest", 'method: "learned" # mine too'
    )
    assert text.count("cuts") == 2
    Path("params.yaml").write_text(text)
    entries.fill()
    renamed = (
        text.replace("    cuts:", "    partition:")
        .replace("    'cuts':", "    partition:")
        .replace('"learned"', "gptq")
    )
    assert Path("params.yaml").read_text() == renamed
    assert capsys.readouterr().err.splitlines() == [
        "note: params.yaml: rounding.method: 'learned' is called 'gptq' now, and is written so",
        "note: params.yaml: models.mobilenetv2_digits32.cuts: 'cuts' is called 'partition' now, and is written so",
        "note: params.yaml: models.resnet18_digits32.cuts: 'cuts' is called 'partition' now, and is written so",
    ]
    assert params.load().models["resnet18_digits32"].partition == ("conv_1",)
    entries.fill()
    assert capsys.readouterr().err == ""


def test_an_old_name_behind_an_anchor_becomes_a_new_one_once(project):
    text = project.replace("  resnet18_digits32:\n", "  resnet18_digits32: &net\n").replace(
        "    partition:", "    cuts:", 1
    )
    text = text.replace(
        "  mobilenetv2_digits32:\n", "  other:\n    <<: *net\n    zoo: a\n  alias: *net\n  mobilenetv2_digits32:\n"
    )
    Path("params.yaml").write_text(text.replace("    zoo: a\n", ""))
    entries.fill()
    assert "cuts" not in Path("params.yaml").read_text()
    assert params.load().models["other"].partition == params.load().models["alias"].partition == ()


def test_without_a_zoo_model_there_is_nothing_to_fetch(project):
    entries.fill()
    assert Path("params.yaml").read_text() == project
    assert Path("downloads/params.yaml").read_text() == (ROOT / "downloads/params.yaml").read_text()


def test_an_unknown_zoo_name_and_an_entry_in_braces(project):
    Path("params.yaml").write_text(project.replace("models:\n", "models:\n  x:\n    zoo: resnet18_8xb16_cifar\n", 1))
    with pytest.raises(
        OctetError, match="models.x.zoo: resnet18_8xb16_cifar: no such model.*Did you mean 'resnet18_8xb16_"
    ):
        entries.fill()
    braces = "models:\n  x: {zoo: resnet18_8xb16_cifar10, data: d}\n"
    Path("params.yaml").write_text(project.replace("models:\n", braces, 1))
    with pytest.raises(OctetError, match="models.x: expected one key a line"):
        entries.fill()


def test_a_model_is_added_by_its_paths(project):
    Path("my").mkdir()
    Path("my/base.py").write_text("model = dict(type='Net')\ndata = dict(x=[1])\n")
    entry = {"config": "my/net-v1.5.py", "checkpoint": "else/where.pth", "data": "data/mine #1"}
    for problem in (
        "my/net-v1.5.py: no such config",
        r"models.net-v1_5.checkpoint: else/where.pth: no such file; expected the model's weights",
        r"models.net-v1_5.data: data/mine #1: no such folder; expected the images .* Put it there",
    ):
        with pytest.raises(OctetError, match=problem):
            entries.add(None, entry)
        assert Path("params.yaml").read_text() == project
        assert not Path("configs").exists()
        path = Path(entry[next(key for key in entry if not Path(entry[key]).exists())])
        path.parent.mkdir(exist_ok=True)
        path.write_text("_base_ = ['base.py']\nmodel = dict(neck=(3, -1))\n")
    name = entries.add(None, entry)
    assert name == "net-v1_5" == entries.add(None, entry)
    copy = Path("configs/models/net-v1_5.py")
    assert read_config(str(copy))._cfg_dict == {"model": {"type": "Net", "neck": (3, -1)}, "data": {"x": [1]}}
    entries.present(name, str(copy), entry["checkpoint"], entry["data"])
    with pytest.raises(OctetError, match="models.net-v1_5.config: my/net-v1.5.py: lies outside configs/models"):
        entries.present(name, entry["config"], entry["checkpoint"], entry["data"])
    assert added(project) == [
        "  net-v1_5:",
        "    config: configs/models/net-v1_5.py",
        "    checkpoint: else/where.pth",
        "    trusted: false",
        "    data: 'data/mine #1'",
        "    keep_fp32: []",
        "    partition: []",
        "    max_drop_pt: 0.3",
    ]
    assert params.load().models[name].data == "data/mine #1"
    copy.write_text("model = {}")
    with pytest.raises(OctetError, match="net-v1_5.py: is there already, and is not what my/net-v1.5.py gives"):
        entries.add(None, entry)
    lines = Path("params.yaml").read_text().splitlines()
    assert lines.index("  net-v1_5:") < lines.index("target: dotprod")


def test_what_a_stage_makes_or_fetches_need_not_be_there(project):
    Path("data").mkdir()
    shutil.copy(ROOT / "data/dvc.yaml", "data/dvc.yaml")
    config, fetched = "resnet/resnet18_8xb16_cifar10.py", str(catalogue.find("resnet18_8xb16_cifar10").file)
    Path("mine.pth").touch()
    for checkpoint, data in ((fetched, "data/cifar100"), ("mine.pth", "data/digits32")):
        entries.present("net", config, checkpoint, data)
    with pytest.raises(OctetError, match="models.net.data: data/digits: no such folder"):
        entries.present("net", config, fetched, "data/digits")
    Path("data/digits.dvc").touch()
    entries.present("net", config, fetched, "data/digits")


def test_adding_twice_changes_nothing_and_other_values_are_refused(project):
    entry = {"zoo": "resnet18_8xb16_cifar10", "data": "data/cifar10"}
    assert entries.add("net", entry) == "net"
    text = Path("params.yaml").read_text()
    assert entries.add("net", entry) == "net"
    assert Path("params.yaml").read_text() == text
    with pytest.raises(
        OctetError, match="models.net: data is data/cifar10, not data/other. Change it there, or give another"
    ):
        entries.add("net", {"data": "data/other", "zoo": "resnet18_8xb16_cifar10"})


@pytest.mark.parametrize("entry", [{}, {"config": "a.py"}, {"checkpoint": "a.pth", "data": "d"}])
def test_too_little_to_add(project, entry):
    with pytest.raises(OctetError, match="needs ZOO=name, or CONFIG=file.py and CHECKPOINT=file.pth"):
        entries.add("x", entry)
