"""Every document: its links lead somewhere, and the commands, files and parameters that it names are there."""

import re
import subprocess
from pathlib import Path

import pytest

from octet.core import yaml
from octet.graph.targets import Fp32Reason
from tests.documents import ROOT, Document, documents, problems, read

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_all_that_a_document_names_is_there(path):
    assert problems(read(path)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](nothing.md)", "nothing.md: no such file"),
        ("![x](images/nothing.svg)", "images/nothing.svg: no such file"),
        ('<img src="images/nothing.png" width="300">', "images/nothing.png: no such file"),
        ('<source srcset="images/nothing.png">', "images/nothing.png: no such file"),
        ("[x](pipeline.md#nothing)", "pipeline.md#nothing: no heading of that name"),
        ("# A heading\n[x](#another)", "#another: no heading of that name"),
        ("[x](../../elsewhere.md)", "neither https nor a file of the project"),
        ("[x](http://example.com/)", "neither https nor a file of the project"),
        ("`make nothing`", "no target 'nothing'"),
        ("`make env MODEL=x`", "the target does not read MODEL"),
        ("`make check MODLE=x`", "the target does not read MODLE"),
        ("`dvc nothing`", "not in DVC's command line"),
        ("`dvc repro --nothing`", "not in DVC's command line"),
        ("`dvc repro nothing@resnet18_digits32`", "no stage 'nothing@resnet18_digits32'"),
        ("`dvc unfreeze models/dvc.yaml:nothing`", "no stage 'models/dvc.yaml:nothing'"),
        ("`dvc exp run -S calibrate.nothing=1`", "calibrate.nothing: no parameter"),
        ("`dvc exp run -S calibrate.method=kl,nothing`", 'unknown value "nothing"'),
        ("`dvc exp run -S calibrate.images=-1`", "calibrate.images: expected a whole number"),
        ("`calibrate.nothing`", "calibrate.nothing: no parameter"),
        ("`models.<name>.nothing`", "models.<name>.nothing: no parameter"),
        ("`calibrate.method=nothing`", 'unknown value "nothing"'),
        ("`octet nothing`", "invalid choice: 'nothing'"),
        ("`octet check --nothing`", "unrecognized arguments: --nothing"),
        ("`python -m octet.nothing`", "no module that runs"),
        ("`python -m octet.tune --out x.yaml`", "octet.tune does not take it"),
        ("`pip install -e '.[nothing]'`", "no extra 'nothing'"),
        ("`dask nothing`", "not one of Dask's commands"),
        ("`pre-commit run nothing`", "expected install, or run and one of"),
        ("`octet/nothing.py`", "octet/nothing.py: no such file"),
        ("`tests/nothing/`", "tests/nothing/: no such file"),
        ("`metrics/<model>/nothing.json`", "nothing.json: no such file, and nothing makes it"),
        ("`nothing.yaml`", "nothing.yaml: no such file"),
        ("`top1_of_nothing`", "top1_of_nothing: no such name in the project"),
        ("```sh\nmake quantize && make nothing\n```", "no target 'nothing'"),
        ("```sh\nfrobnicate\n```", "frobnicate: a command that"),
        ("```sh\nmake test  # then make check\n```", "a command in a comment"),
        ("```\nx\n```", "a block of language ''"),
        ("```python\nx =\n```", "no Python"),
        ("```yaml\nmodels:\n  x:\n    nothing: 1\n```", "nothing: no key of a model's entry"),
        ("    make quantize", "a command in an indented block"),
        ("an `open span", "a code span goes over the end of the line"),
    ],
)
def test_what_is_not_there_is_found(text, problem):
    result = problems(Document.parse(text, ROOT / "docs/test.md"))
    assert len(result) == 1
    assert problem in result[0]
    assert re.match(r"docs/test\.md:\d+: ", result[0])


def test_what_is_there_is_no_problem():
    text = """
# The heading, `with code`

[heading](#the-heading-with-code) [file](pipeline.md#the-flow) [address](https://example.com/x) ![chart](../LICENSE)
`make quantize ZOO=x MODEL=y`, `make PYTHON=python3.11`, `dvc repro summary@resnet18_digits32`, `octet check --model x`,
`metrics/<model>/summary.json`, `models/<model>/int8.bin`, `octet/core/`, `calibrate.method`, `calibrate.method=kl`,
`models.<name>.keep_fp32`, `top1_drop_se_pt`, `params.yaml`, `dvc exp run --queue -S calibrate.images=64,256`
"""
    assert problems(Document.parse(text, ROOT / "docs/test.md")) == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


def test_every_document_can_be_reached_from_the_readme():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        if path.suffix == ".md" and path not in reached:
            reached.add(path)
            names = [link.partition("#")[0] for _, link in read(path).links if not link.startswith("https:")]
            todo += [(path.parent / name).resolve() for name in names if name]
    assert {path for path in documents() if path.parent == ROOT / "docs"} <= reached


def test_every_target_of_make_help_is_in_a_document():
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env={"PATH": "/usr/bin:/bin", "CI": "1"}, capture_output=True, text=True
    )
    targets = {line.split()[0] for line in shown.stdout.splitlines()}
    assert {"quantize", "test"} <= targets
    text = "\n".join(path.read_text() for path in documents())
    assert targets - set(re.findall(r"\bmake ([a-z0-9-]+)", text)) == set()


def test_accuracy_md_has_every_reason_why_a_layer_stays_in_fp32():
    text = (ROOT / "docs/accuracy.md").read_text()
    assert [reason.value for reason in Fp32Reason if f"| {reason.value} |" not in text] == []


def test_architecture_md_has_every_room():
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = {path.parent.name for path in (ROOT / "octet").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `octet/(\w+)/` \|", text, re.MULTILINE)) == rooms


def test_architecture_md_says_of_each_file_who_writes_it_and_who_reads_it():
    """Its table names the same stages as dvc.yaml; besides them it may name verbs outside the pipeline."""
    stages = {name: stage["do"] for name, stage in yaml.load(ROOT / "dvc.yaml", "git has it")["stages"].items()}
    section = (ROOT / "docs/architecture.md").read_text().split("## Which file goes where")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) > 10
    for what, writer, readers in rows:
        paths = re.findall("`([^`]+)`", what)
        for path in [paths[0], *(str(Path(paths[0]).with_name(name)) for name in paths[1:])]:
            real = path.replace("<model>", "${key}")
            wrote = {
                name
                for name, do in stages.items()
                if f"'{real}'" in str([do.get("outs"), do.get("plots"), do.get("metrics")])
            }
            read_by = {name.partition("_")[0] for name, do in stages.items() if real in do["deps"]}
            everyone = {name.partition("_")[0] for name in stages}
            later = {name.partition("_")[0] for name in list(stages)[list(stages).index(min(wrote)) + 1 :]}
            listed = later - {writer} if readers.startswith("all later stages") else set(readers.split(", "))
            assert {name.partition("_")[0] for name in wrote} == {writer}, path
            assert listed & everyone == read_by, path


def test_the_version_is_in_the_changelog():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"## [{version}]" in Path(ROOT, "CHANGELOG.md").read_text()
