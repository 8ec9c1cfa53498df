"""ONNX files as entries that Octet writes into params.yaml."""

from pathlib import Path

import onnx
import pytest

from octet.core import params
from octet.core.errors import OctetError
from octet.project import entries
from tests.onnx_nets import classifier

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
STEPS = "channel_order: BGR\nmean: 127.5\nstd: 127.5\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text)
    for folder in ("mine", "data/lines", "models"):
        Path(folder).mkdir(parents=True)
    onnx.save(classifier(), "mine/net.onnx")
    return text


def test_a_preset_and_the_file_beside_the_model(project):
    assert entries.add(None, {"onnx": "mine/net.onnx", "preprocess": "imagenet", "data": "data/lines"}) == "net"
    entry = params.load().models["net"]
    assert (entry.onnx, entry.checkpoint, entry.config) == ("mine/net.onnx", "mine/net.onnx", None)
    Path("mine/net.yaml").write_text(STEPS)
    assert entries.add("other", {"onnx": "mine/net.onnx", "data": "data/lines"}) == "other"
    assert Path("configs/models/other.yaml").read_text() == STEPS
    assert params.load().models["other"].preprocess.channel_order == "BGR"
    entries.fill()


def test_a_file_of_classes_goes_with_the_file_that_names_it(project):
    steps = Path("mine/net.yaml")
    steps.write_text(STEPS + "classes: 'labels.txt'  # mine\n")
    Path("mine/labels.txt").write_text("a\nb\nc\nd\ne\n")
    entries.add("net", {"onnx": "mine/net.onnx", "data": "data/lines"})
    assert Path("configs/models/net.yaml").read_text() == STEPS + "classes: net.classes.txt  # mine\n"
    assert params.load().models["net"].preprocess.classes == tuple("abcde")
    entries.add("net", {"onnx": "mine/net.onnx", "data": "data/lines"})
    Path("mine/labels.txt").write_text("a\nb\n")
    with pytest.raises(OctetError, match="net.classes.txt: is there already, and is not what mine/labels.txt gives"):
        entries.add("net", {"onnx": "mine/net.onnx", "data": "data/lines"})


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_classes_that_an_alias_names_elsewhere(project, end):
    Path("mine/labels.txt").write_text("a\nb\nc\nd\ne\n")
    steps = f"classes: &c labels.txt\n{STEPS}".replace("\n", end)
    Path("mine/net.yaml").write_bytes(steps.encode())
    for more, problem in (("mine: *c\n", "not an alias"), ("<<: {classes: labels.txt}\n", "or a merge key")):
        first = "" if "<<" in more else "classes: &c labels.txt\n"
        Path("mine/steps.yaml").write_text(first + STEPS + more)
        with pytest.raises(OctetError, match=f"mine/steps.yaml: classes: expected the file's name itself.*{problem}"):
            entries.add("steps", {"onnx": "mine/net.onnx", "preprocess": "mine/steps.yaml", "data": "data/lines"})
    Path("mine/steps.yaml").write_bytes(f"{STEPS}classes: labels.txt\n".encode("utf-16"))
    with pytest.raises(OctetError, match="mine/steps.yaml: byte 1: not UTF-8; save it as UTF-8"):
        entries.add("steps", {"onnx": "mine/net.onnx", "preprocess": "mine/steps.yaml", "data": "data/lines"})
    entries.add("net", {"onnx": "mine/net.onnx", "data": "data/lines"})
    assert Path("configs/models/net.yaml").read_bytes().decode() == steps.replace("labels.txt", "net.classes.txt")
    assert params.load().models["net"].preprocess.classes == tuple("abcde")


def test_an_entry_that_was_written_by_hand_gets_its_files_by_the_same_command(project):
    _, rest = project.split("# In which engines", 1)
    flow = f"models: {{x: {{data: d}}}}\n# In which engines{rest}"
    Path("params.yaml").write_text(flow)
    Path("mine/net.yaml").write_text(STEPS)
    with pytest.raises(OctetError, match="write it there by hand:") as refused:
        entries.add("net", {"onnx": "mine/net.onnx", "data": "data/lines"})
    assert not Path("configs/models/net.yaml").exists()
    lines = str(refused.value).split("by hand:\n")[1].splitlines()
    Path("params.yaml").write_text(project.replace("models:\n", "\n  ".join(["models:", *lines]) + "\n", 1))
    entries.add("net", {"onnx": "mine/net.onnx", "data": "data/lines"})
    assert Path("configs/models/net.yaml").read_text() == STEPS
    assert params.load().models["net"].preprocess.channel_order == "BGR"


def test_tensors_beside_the_model_become_part_of_it(project):
    onnx.save(classifier(), "mine/big.onnx", save_as_external_data=True, location="big.bin", size_threshold=0)
    entries.add("big", {"onnx": "mine/big.onnx", "preprocess": "none", "data": "data/lines"})
    assert params.load().models["big"].onnx == "models/big.onnx"
    assert not Path("models/big.bin").exists()
    onnx.checker.check_model(onnx.load("models/big.onnx", load_external_data=False))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"onnx": "mine/net.onnx", "data": "data/lines"}, "does not say what happens to an image before it"),
        ({"onnx": "mine/net.onnx", "preprocess": "imagenet"}, "lacks the key data, the folder of the data set"),
        ({"onnx": "mine/net.onnx", "preprocess": "imagenat", "data": "d"}, "Did you mean 'imagenet'"),
        (
            {"onnx": "mine/no.onnx", "preprocess": "none", "data": "d"},
            "mine/no.onnx: no such file; expected the ONNX model",
        ),
        ({"onnx": "params.yaml", "preprocess": "none", "data": "d"}, "params.yaml: no ONNX model"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(project, entry, message):
    with pytest.raises(OctetError) as raised:
        entries.add("net", entry)
    assert message in str(raised.value)
    assert Path("params.yaml").read_text() == project
    assert not Path("configs").exists()
