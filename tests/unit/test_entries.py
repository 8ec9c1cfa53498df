"""Entries that Octet writes into params.yaml: what one leaves out, and new ones."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from dvc.utils import serialize

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.export.mmcls_model import build, read_config
from octet.export.mmcls_source import MmclsSource
from octet.project import copies, entries, splice
from octet.project.configs import data_folder
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
        "method: auto", 'method: "learned" # mine too'
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


def test_a_name_that_is_no_text_is_told_as_such(project):
    Path("params.yaml").write_text(project.replace("models:\n", "models:\n  18:\n    zoo: resnet18_8xb16_cifar10\n", 1))
    with pytest.raises(OctetError, match="18 needs quotes"):
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
        if str(path) == entry["data"]:
            path.mkdir()
        else:
            path.write_text("_base_ = ['base.py']\nmodel = dict(neck=(3, -1))\n")
    with pytest.raises(OctetError, match="net-v1_5.data: my/base.py: expected a folder, found a file; name a folder"):
        entries.add(None, entry | {"data": "my/base.py"})
    with pytest.raises(OctetError, match="net-v1_5.checkpoint: my: expected a file, found a folder; name a file"):
        entries.add(None, entry | {"checkpoint": "my"})
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


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"config": "my/net.py"}, "CONFIG and TIMM"),
        ({"onnx": "net.onnx"}, "ONNX and TIMM"),
        ({"torchvision": "resnet18"}, "TIMM and TORCHVISION"),
        ({"zoo": "resnet18_8xb16_cifar10"}, "ZOO and TIMM"),
    ],
)
def test_two_sources_are_refused_before_anything_is_written(project, more, words):
    custom(Path("my"), ["a", "b"])
    Path("net.pth").touch()
    with pytest.raises(OctetError, match=f"^{words}: a model has one source; give one of them$"):
        entries.add("net", {"timm": "resnet18", "checkpoint": "net.pth", "data": "my"} | more)
    assert Path("params.yaml").read_text() == project
    assert not Path("configs").exists()


def custom(folder: Path, classes: str) -> None:
    """A config whose network is the user's own, in a package that imports a module and reads a file beside it."""
    (folder / "my_models").mkdir(parents=True)
    (folder / "my_models/__init__.py").write_text("from my_models import net  # noqa\n")
    (folder / "my_models/net.py").write_text(
        "from pathlib import Path\nimport torch\nfrom mmcls.models import BACKBONES\nimport my_widths\n"
        "@BACKBONES.register_module()\nclass Plain(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.words = (Path(__file__).parent / 'words.txt').read_text()\n"
        "        self.conv = torch.nn.Conv2d(3, my_widths.WIDTH, 3)\n"
        "    def forward(self, x):\n        return (self.conv(x),)\n"
    )
    (folder / "my_models/words.txt").write_text("a\n")
    (folder / "my_widths.py").write_text("WIDTH = 4\n")
    (folder / "net.py").write_text(
        "custom_imports = dict(imports=['my_models'], allow_failed_imports=False)\n"
        "model = dict(type='ImageClassifier', backbone=dict(type='Plain'), neck=dict(type='GlobalAveragePooling'),\n"
        "    head=dict(type='LinearClsHead', num_classes=2, in_channels=4))\n"
        "pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', size=(8, 8)), dict(type='Collect', keys=['img'])]\n"
        f"data = dict(test=dict(type='CustomDataset', classes={classes!r}, data_prefix='d/test', pipeline=pipeline))\n"
    )


def test_modules_and_files_that_a_config_reads_are_copied_with_it(project, capsys):
    for name in ("one", "two"):
        custom(Path(name), f"{name}/../lists/classes.txt")
    Path("lists").mkdir()
    Path("lists/classes.txt").write_text("cat\ndog\n")
    Path("two/my_widths.py").write_text("WIDTH = 4  # mine\n")
    Path("net.pth").touch()
    Path("d/test").mkdir(parents=True)
    entry = {"checkpoint": "net.pth", "data": "d"}
    for name in ("one", "two"):
        assert entries.add(name, {"config": f"{name}/net.py"} | entry) == name
    folder = Path("configs/models/two")
    copied = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    modules = {"my_models/__init__.py", "my_models/net.py", "my_models/words.txt", "my_widths.py"}
    assert copied == {*modules, "classes.txt", "sources.json"}
    shutil.rmtree("lists")
    for name in ("one", "two", "one"):  # modules of one name, classes of one name
        config = read_config(f"configs/models/{name}.py")
        assert config.data.test.classes == f"configs/models/{name}/classes.txt"
        assert Path(sys.modules["my_widths"].__file__) == Path(f"configs/models/{name}/my_widths.py").absolute()
        build(config, name)
    assert not list(Path("configs").rglob("__pycache__"))
    copies.refresh("one")
    assert capsys.readouterr().out == ""
    Path("one/my_widths.py").write_text("WIDTH = 4  # changed\n")
    copies.refresh("one")
    assert capsys.readouterr().out.startswith(
        "one/my_widths.py: changed since it was copied into configs/models; copied"
    )
    assert Path("configs/models/one/my_widths.py").read_text() == "WIDTH = 4  # changed\n"
    Path("configs/models/one/my_widths.py").write_text("WIDTH = 5\n")
    Path("one/my_widths.py").write_text("WIDTH = 6\n")
    copies.refresh("one")
    assert "and so did configs/models/one/my_widths.py, which stays as it is" in capsys.readouterr().out
    assert Path("configs/models/one/my_widths.py").read_text() == "WIDTH = 5\n"


OWN_ERROR = "raise type('Own', (BaseException,), {'__str__': lambda self: 1 / 0})"


@pytest.mark.parametrize(
    "problem", ["raise RuntimeError('boom')", "1 / 0", "[][1]", "raise SystemExit(2)", OWN_ERROR, f"{OWN_ERROR}()"]
)
@pytest.mark.parametrize("place", ["super().__init__()", "return (self.conv(x),)"])
def test_a_network_s_own_code_that_fails_is_told_with_its_line(project, place, problem):
    custom(Path("my"), ["a", "b"])
    module = Path("my/my_models/net.py")
    module.write_text(
        module.read_text().replace(place, problem if place == "super().__init__()" else f"{problem}; {place}")
    )
    source = MmclsSource("my/net.py", "net.pth", False)
    weights = {"backbone.conv.weight": torch.ones(4, 3, 3, 3), "backbone.conv.bias": torch.ones(4)}
    torch.save(weights | {"head.fc.weight": torch.ones(2, 4), "head.fc.bias": torch.ones(2)}, "net.pth")
    what, line = "the network cannot compute an image of 8 x 8 pixels", 12
    if "__init__" in place:
        what, line = "mmcls cannot build the model", 8
    with pytest.raises(OctetError, match=rf"my/net.py: {what}: \w+(: .*)? \(my/my_models/net.py, line {line}\)$"):
        source.export(13)


WRONG = {
    "test=dict(type='CustomDataset'": (
        ("test=dict(type=['a']", "my/net.py: has no data.test with type and pipeline"),
        ("train=5, test=dict(extensions=5, type='CustomDataset'", "data.test.extensions: expected a list of endings"),
        ("test=dict(extensions=[None], type='CustomDataset'", "data.test.extensions: expected a list of endings"),
    ),
    "classes=['a', 'b']": (
        ("classes=5", "my/net.py: data.test.classes: expected a list of names, or a file with one a line, found 5"),
        ("classes=[['a'], 'b']", "my/net.py: data.test.classes: expected a list of names, or a file"),
        (r"classes='a\0b'", "no such file; expected the names that the config's data.test.classes has"),
    ),
    "size=(8, 8)": (
        ("size=10**40", "data.test.pipeline: Resize.*: a value that cannot be, or is too large"),
        ("size=True", "data.test.pipeline: Resize.*: a value that cannot be, or is too large"),
    ),
    "dict(type='LoadImageFromFile')": (
        ("dict(type='LoadImageFromFile', color_type=[1])", r"color_type is \[1\]; expected one of"),
        ("dict(type=[1])", "my/net.py: has no data.test with type and pipeline"),
        ("5", "my/net.py: has no data.test with type and pipeline"),
        ("dict(type='LoadImageFromFile'), dict(type='Normalize', mean=5, std=[1, 2, 3])", "expected a list each"),
        ("dict(type='LoadImageFromFile'), dict(type='Normalize', mean=[[1]], std=[1])", "expected a list each"),
        (
            "dict(type='LoadImageFromFile'), dict(type='Normalize', mean=[1] * 3, std=type('Own', (), {'__array__': 5})())",
            "Normalize|wrong kind",
        ),
    ),
}


@pytest.mark.parametrize(("new", "message", "old"), [(*pair, old) for old, pairs in WRONG.items() for pair in pairs])
def test_values_of_a_wrong_kind_in_a_config(project, new, message, old):
    custom(Path("my"), ["a", "b"])
    config = Path("my/net.py")
    text = config.read_text()
    assert text.count(old) == 1
    config.write_text(text.replace(old, new))
    with pytest.raises(OctetError, match=message):
        MmclsSource("my/net.py", "net.pth", False).look()


@pytest.mark.parametrize("data", ["5", "None", "[1]", "dict(test=5)", "dict(train=[], test=dict(dataset=5))"])
def test_a_data_section_that_is_none(project, data):
    custom(Path("my"), ["a", "b"])
    with Path("my/net.py").open("a") as file:
        file.write(f"data = {data}\n")
    with pytest.raises(OctetError, match="my/net.py: its data section names no folder"):
        data_folder("my/net.py")


def test_a_network_that_fails_only_where_it_is_written_as_onnx(project):
    custom(Path("my"), ["a", "b"])
    module = Path("my/my_models/net.py")
    text = module.read_text().replace("return (", "torch.onnx.is_in_onnx_export() and self.fail(); return (")
    module.write_text(f"{text}    def fail(self):\n        class Own(Exception): ...\n        raise Own('no ONNX')\n")
    weights = {"backbone.conv.weight": torch.ones(4, 3, 3, 3), "backbone.conv.bias": torch.ones(4)}
    torch.save(weights | {"head.fc.weight": torch.ones(2, 4), "head.fc.bias": torch.ones(2)}, "net.pth")
    what = r"torch cannot write the model as ONNX of opset 13: Own: no ONNX \(my/my_models/net\.py, line 15\)"
    with pytest.raises(OctetError, match=rf"my/net\.py: {what}"):
        MmclsSource("my/net.py", "net.pth", False).export(13)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "from mmcls.datasets import PIPELINES\nfrom mmcls.datasets.pipelines import Resize as Theirs\n"
            "@PIPELINES.register_module(force=True)\nclass Resize(Theirs): ...\n",
            r"data\.test\.pipeline: the step 'Resize' is one of your own, in the place of mmcls's",
        ),
        (
            "from mmcls.datasets import DATASETS, CIFAR10 as Theirs\n"
            "@DATASETS.register_module(force=True)\nclass CIFAR10(Theirs): ...\n",
            r"data\.test\.type 'CIFAR10' is one of your own, in the place of mmcls's",
        ),
    ],
)
def test_classes_of_one_s_own_in_the_place_of_mmcls_s(project, code, what):
    """What they do to an image, or read as one, Octet does not know."""
    custom(Path("my"), ["a", "b"])
    Path("my/my_models/net.py").write_text(Path("my/my_models/net.py").read_text() + code)
    if "CIFAR10" in code:
        config = Path("my/net.py").read_text().replace("'CustomDataset'", "'CIFAR10'")
        Path("my/net.py").write_text(config.replace("dict(type='LoadImageFromFile'), ", ""))
    with pytest.raises(OctetError, match=rf"my/net\.py: {what}"):
        MmclsSource("my/net.py", "net.pth", False).look()


def test_a_module_that_is_missing_or_wrong_is_named(project):
    custom(Path("my"), "lists/classes.txt")
    config = Path("my/net.py")
    Path("my/my_widths.py").unlink()
    with pytest.raises(
        OctetError,
        match=r"my/net.py: custom_imports names 'my_models', which imports 'my_widths', which is neither beside the config, as "
        r"my/my_widths.py or in my/my_widths/, nor in the environment; put it there, or install it into .venv",
    ):
        read_config(str(config))
    shutil.rmtree("my/my_models")
    with pytest.raises(
        OctetError, match=r"custom_imports names 'my_models', which is neither beside the config, as my/my_m"
    ):
        read_config(str(config))
    for text, problem in (
        ("x = (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import a.b", "'a'"),
        ("x = 1\nraise SystemExit(2)", r"SystemExit: 2 \(my/my_models.py, line 2\)"),
        (f"x = 1\n{OWN_ERROR}", r"Own: <exception str\(\) failed> \(my/my_models.py, line 2\)"),
        ("class Own(Exception): ...\nraise Own('no')", r"Own: no \(my/my_models.py, line 2\)"),
    ):
        Path("my/my_models.py").write_text(text)
        with pytest.raises(OctetError, match=f"custom_imports names 'my_models', which .*{problem}"):
            read_config(str(config))
    text = config.read_text()
    for code, problem in (
        ("raise RuntimeError('no\\nsuch')", "RuntimeError: no$"),
        ("raise SystemExit", "SystemExit$"),
        ("class Own(Exception): ...\nraise Own('no')", "Own: no$"),
        (OWN_ERROR, r"Own: <exception str\(\) failed>$"),
        ("_base_ = 'net.py'", "it inherits from itself, or is nested too deeply"),
    ):
        config.write_text(code)
        with pytest.raises(OctetError, match=f"my/net.py: cannot be read as an mmcls config: {problem}"):
            read_config(str(config))
    for imports in ("['torch']", "[1]", "{}"):
        config.write_text(text.replace("['my_models']", imports))
        Path("my/torch.py").touch()
        with pytest.raises(OctetError, match=r"module of that name; rename yours|custom_imports: expected a dict like"):
            read_config(str(config))


BEST = {
    "target": "ncnn2int8",
    "equalize": False,
    "calibrate": {"method": "kl", "weights": "absmax"},
    "rounding": {"method": "gptq"},
}


def test_settings_that_count_already_are_not_written(project):
    assert entries.set_settings("resnet18_digits32", {"target": "dotprod", "calibrate": {"method": "mse"}}) is False
    assert Path("params.yaml").read_text() == project


def test_settings_are_added_to_an_entry_and_nothing_else_changes(project):
    assert entries.set_settings("mobilenetv2_digits32", BEST)
    assert added(project) == [
        "    target: ncnn2int8",
        "    calibrate:",
        "      method: kl",
        "    rounding:",
        "      method: gptq",
    ]
    assert params.load().models["mobilenetv2_digits32"].calibrate.method == "kl"
    assert params.load().models["resnet18_digits32"].calibrate.method == "mse"


def test_params_that_are_a_link_stay_one(project):
    Path("shared").mkdir()
    Path("params.yaml").rename("shared/ours.yaml")
    Path("params.yaml").symlink_to("shared/ours.yaml")
    assert entries.set_settings("mobilenetv2_digits32", BEST)
    assert Path("params.yaml").is_symlink()
    assert "target: ncnn2int8" in Path("shared/ours.yaml").read_text()
    assert sorted(path.name for path in Path("shared").iterdir()) == ["ours.yaml"]


@pytest.mark.parametrize(
    "entry",
    [
        "    target: dotprod  # mine\n    calibrate:\n      # why\n      method: minmax  # and this\n",
        "    calibrate: {method: minmax, weights: absmax}\n    rounding: {method: nearest}\n    target: 'dotprod'\n",
    ],
)
def test_settings_take_the_place_of_those_in_an_entry(project, entry):
    before = project.replace(
        "    partition: []\n    max_drop_pt: 0.3\n  # Of", f"    partition: []\n    max_drop_pt: 0.3\n{entry}  # Of"
    )
    assert before != project
    Path("params.yaml").write_text(before)
    assert entries.set_settings("mobilenetv2_digits32", BEST)
    after = params.load().models["mobilenetv2_digits32"]
    assert (after.target, after.calibrate.method, after.rounding.method) == ("ncnn2int8", "kl", "gptq")
    text = Path("params.yaml").read_text()
    assert all(comment in text for comment in ("# mine", "# why", "# and this") if comment in entry)
    assert entries.set_settings("mobilenetv2_digits32", BEST) is False


def test_an_entry_without_a_place_for_settings_is_told_what_to_write(project):
    flow = (
        "  net: {config: configs/models/resnet18_digits32.py, checkpoint: c.pth, trusted: false, data: d, keep_fp32: [], "
        "partition: [], max_drop_pt: 1}\n"
    )
    Path("configs/models").mkdir(parents=True)
    shutil.copy(ROOT / "configs/models/resnet18_digits32.py", "configs/models")
    Path("params.yaml").write_text(text := project.replace("models:\n", f"models:\n{flow}", 1))
    with pytest.raises(OctetError, match="one key a line.*; write it there by hand:\n.*target: ncnn2int8"):
        entries.set_settings("net", BEST)
    assert Path("params.yaml").read_text() == text


def read_by_dvc() -> dict:
    return serialize.load_yaml("params.yaml")


def anchored(project: str, entries_text: str) -> str:
    """The project's file with other models, which Octet takes."""
    Path("configs/models").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "configs/models/resnet18_digits32.py", "configs/models")
    text = f"models:\n{entries_text}{project[project.index('# In which engines') :]}"
    Path("params.yaml").write_text(text)
    return text


FIRST = """\
  a:{anchor}
    config: configs/models/resnet18_digits32.py
    checkpoint: c.pth
    trusted: false
    data: &d data/mine  # where
    keep_fp32: []
    partition: []
    max_drop_pt: 0.3
"""


def test_keys_behind_a_last_value_that_is_an_alias_go_into_their_own_entry(project):
    net = "  b:\n    onnx: m.onnx\n    preprocess: imagenet\n    data: *d  # theirs\n"
    text = anchored(project, FIRST.format(anchor="") + net)
    before = read_by_dvc()
    entries.fill()
    filled = {"checkpoint": "m.onnx", "trusted": False, "keep_fp32": [], "partition": [], "max_drop_pt": 0.3}
    before["models"]["b"] |= filled
    assert read_by_dvc() == before
    lines = "    checkpoint: m.onnx\n    trusted: false\n    keep_fp32: []\n    partition: []\n    max_drop_pt: 0.3\n"
    assert Path("params.yaml").read_text() == text.replace(net, net + lines)


def test_a_new_entry_behind_one_that_is_an_alias(project):
    text = anchored(project, FIRST.format(anchor=" &a") + "  b: *a\n")
    entries.add("net", {"zoo": "resnet18_8xb16_cifar10", "data": "data/cifar10"})
    assert Path("params.yaml").read_text().startswith(text[: text.index("  b: *a\n")] + "  b: *a\n  net:\n    zoo: ")
    assert list(read_by_dvc()["models"]) == ["a", "b", "net"]


CALIBRATE = "    calibrate: &c\n      method: mse\n      images: 64\n"


@pytest.mark.parametrize(
    ("anchor", "more", "second", "name"),
    [
        ("", CALIBRATE, FIRST.format(anchor="").replace("&d ", "") + "    calibrate: *c\n", "b"),
        ("", CALIBRATE, FIRST.format(anchor="").replace("&d ", "") + "    calibrate: *c\n", "a"),
        (" &a", CALIBRATE, "  b: *a\n", "b"),
        (" &a", CALIBRATE, "  b: *a\n", "a"),
        (" &a", CALIBRATE, "  b:\n    <<: *a\n", "a"),
        ("", "    target: &t dotprod\n", FIRST.format(anchor="").replace("&d ", "") + "    target: *t\n", "b"),
        ("", "    target: &t dotprod\n", FIRST.format(anchor="").replace("&d ", "") + "    target: *t\n", "a"),
    ],
)
def test_settings_that_would_count_for_another_model_are_to_be_written_by_hand(project, anchor, more, second, name):
    text = anchored(project, FIRST.format(anchor=anchor) + more + second.replace("  a:", "  b:"))
    wanted = (
        rf"params\.yaml: models\.{name}.*; write it there by hand:\n(.*\n)*target: ncnn2int8\n(.*\n)*.*  method: kl\n"
    )
    with pytest.raises(OctetError, match=wanted):
        entries.set_settings(name, BEST)
    assert Path("params.yaml").read_text() == text


@pytest.mark.parametrize("braces", [False, True])
def test_a_section_behind_a_merge_key_keeps_what_it_has_of_that(project, braces):
    """A section of the entry's own would hide the other whole."""
    more = "    calibrate: {method: minmax, images: 64}\n" if braces else CALIBRATE.replace("mse", "minmax")
    text = anchored(project, FIRST.format(anchor=" &a") + more + "  b:\n    <<: *a\n    max_drop_pt: 1\n")
    before, counted = read_by_dvc(), params.load().models
    assert entries.set_settings("b", {"calibrate": {"method": "kl"}})
    before["models"]["b"] = before["models"]["b"] | {"calibrate": {"method": "kl", "images": 64}}
    assert read_by_dvc() == before
    after = params.load().models
    assert after["a"] == counted["a"]
    calibrate = counted["b"].calibrate.model_copy(update={"method": "kl"})
    assert after["b"] == counted["b"].model_copy(update={"calibrate": calibrate})
    assert added(text) == ["    calibrate:", "      method: kl", "      images: 64"]


def test_an_entry_that_inherits_another_is_filled_in_and_so_is_that_one(project):
    net = "  a: &a\n    zoo: resnet18_8xb16_cifar10\n    data: data/cifar10\n"
    anchored(project, f"{net}  b:\n    <<: *a\n    target: winograd\n")
    entries.fill()
    models = read_by_dvc()["models"]
    assert models["b"] == models["a"] | {"target": "winograd"}
    assert params.load().models["a"].checkpoint.startswith("models/zoo/resnet18")


def test_an_old_name_that_counts_elsewhere_by_an_alias_is_to_be_written_by_hand(project, capsys):
    text = anchored(project, FIRST.format(anchor="").replace("keep_fp32: []", "keep_fp32: [&k learned]"))
    text = text.replace("method: auto", "method: *k")
    Path("params.yaml").write_text(text)
    with pytest.raises(OctetError, match=r"by hand: rounding\.method: 'learned' is called 'gptq' now$"):
        entries.fill()
    assert Path("params.yaml").read_text() == text
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("head", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_stay(project, end, is_whole, head):
    text = project.replace("models:\n", f"models:\n{ZOO}", 1)
    models = text[text.index("models:\n") : text.index("# In which engines")].rstrip()
    rest = text[text.index("# In which engines") :]
    text = (head + rest + models + ("\n" if is_whole else "")).replace("\n", end)
    Path("params.yaml").write_bytes(text.encode())
    entries.fill()
    assert entries.set_settings("mobilenetv2_digits32", BEST)
    entries.add("net", {"zoo": "resnet18_8xb16_cifar10", "data": "data/cifar10"})
    written = Path("params.yaml").read_bytes().decode()
    assert written.startswith(head + "# In which engines")
    assert written.count("\n") == written.count(end)
    assert written.count("\r") == (written.count("\n") if end == "\r\n" else 0)
    new = iter(written.split(end))
    assert all(line in new for line in text.split(end)), "what was there is there in its order"
    assert written.endswith(end) == is_whole
    assert params.load().models["mobilenetv2_digits32"].calibrate.method == "kl"


@pytest.mark.parametrize(
    "last",
    [
        "    splits:\n    target: dotprod\n",
        "    target: dotprod\n    splits:\n",
        "    target: dotprod\n    splits:  # none: so\n",
        "    splits: &none\n",
        "    checkpoint: |-\n      c.pth\n",
        "    checkpoint: |\n      c.pth\n\n\n",
        "    checkpoint: |+\n      c.pth\n\n",
        "    checkpoint: >-\n      c.pth\n    # mine\n",
        '    checkpoint: "c\n      pth"  # mine\n',
        "    checkpoint: c\n      pth\n",
        "    keep_fp32: [conv_1,\n      conv_2]  # two\n",
        "    keep_fp32:\n    - conv_1\n    # of these\n    - conv_2\n",
        "    splits: {test: {folder: a}}  # a ] b: c\u0085# d\n",
        "    ? target\n    : dotprod\n",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_keys_are_added_behind_a_last_value_of_any_form(last, end):
    text = f"models:\n  net:\n    data: d\n{last}  # More\n  other: {{data: e}}\n".replace("\n", end)
    before = serialize.loads_yaml(text)
    new = {"trusted": False, "calibrate": {"method": "kl"}}
    written = splice.set_values(text, ["models", "net"], new, "net")
    before["models"]["net"] |= new
    assert serialize.loads_yaml(written) == before
    lines = end.join(["    trusted: false", "    calibrate:", "      method: kl", ""])
    assert written.replace(lines, "") == text


@pytest.mark.parametrize(
    "form", ["target: |  # mine\n    y\n", "target: >-\n    y\n", "target: [y]\n", "<<: {target: y}\n  ? target\n"]
)
def test_a_value_in_a_form_that_another_cannot_replace_stays(form):
    text = f"net:\n  equalize: true\n  {form}"
    with pytest.raises(OctetError, match="^net.*; write it there by hand:\ntarget: x\nequalize: false\n$"):
        splice.set_values(text, ["net"], {"target": "x", "equalize": False}, "net")
    old = "a: |-\n  old\nb: 'old'\n"
    assert splice.replace(old, ["a"], "new", is_key=False) == old
    with pytest.raises(OctetError, match="^net: the file is no YAML with these values.*; write it there by hand:\na:"):
        splice.set_values("net:\n  a: x\n  b: y\n", ["net"], {"a": ["b"], "b": "c"}, "net")


@pytest.mark.parametrize("line", ["target:", "target:  # mine", "target: &t", "'target':"])
def test_a_setting_takes_the_place_of_an_empty_one(line):
    text = f"net:\n  {line}\n  equalize: true\n"
    written = splice.set_values(text, ["net"], {"target": "x"}, "net")
    assert serialize.loads_yaml(written) == {"net": {"target": "x", "equalize": True}}
    assert "# mine" in written or "#" not in line
    assert "&t x" in written or "&" not in line


def test_a_name_of_digits_and_models_in_braces(project):
    entry = {"zoo": "resnet18_8xb16_cifar10", "data": "data/cifar10"}
    entries.add("18", entry)
    assert "  '18':\n    zoo:" in Path("params.yaml").read_text()
    assert "18" in params.load().models
    text = project[project.index("# In which engines") :] + "models: {x: {data: d}}\n"
    Path("params.yaml").write_text(text)
    with pytest.raises(OctetError, match="models: expected one key a line.*; write it there by hand:\nnet:\n  zoo: "):
        entries.add("net", entry)
    assert Path("params.yaml").read_text() == text
