"""Entries that Octet writes into params.yaml: what one leaves out, and new ones."""

import shutil
from pathlib import Path

import pytest

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.export.mmcls_model import read_config
from octet.project import entries
from octet.zoo import catalogue

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


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
