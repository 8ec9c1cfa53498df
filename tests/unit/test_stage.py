"""Which model a stage runs for: given by hand, or by DVC's own name of the stage."""

import pytest

from octet.core import stage
from octet.core.errors import OctetError
from octet.core.stage import DvcStage
from tests.documents import ROOT

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("export@net", DvcStage("export", "net")),
        ("evaluate_fp32@a-b_1", DvcStage("evaluate_fp32", "a-b_1")),
        ("../dvc.yaml:export@net", DvcStage("export", "net")),
        ("downloads/dvc.yaml:weights@x", DvcStage("weights", "x")),
        ("dvc.yaml:weights@x", DvcStage("weights", "x")),
        ("export@x; touch p", DvcStage("export", "x; touch p")),
        ("export@a@b", DvcStage("export", "a@b")),
        ("export@x@dvc.yaml:weights@y", DvcStage("export", "x@dvc.yaml:weights@y")),
        ("export@two\nlines", DvcStage("export", "two\nlines")),
        ("data/dvc.yaml:digits32", None),
        ("digits32", None),
        ("", None),
    ],
)
def test_dvc_s_name_of_a_stage(monkeypatch, address, expected):
    monkeypatch.setenv("DVC_STAGE", address)
    assert stage.dvc_stage() == expected


def test_the_model_is_dvc_s_where_none_is_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DVC_STAGE", "export@mobilenetv2_digits32")
    assert stage.begin(None).name == "mobilenetv2_digits32"
    assert stage.begin("resnet18_digits32").name == "resnet18_digits32"
    monkeypatch.setenv("DVC_STAGE", "export@x; touch p")
    with pytest.raises(OctetError, match=r"models\.x; touch p: no such model"):
        stage.begin(None)
    monkeypatch.delenv("DVC_STAGE")
    with pytest.raises(OctetError, match="which model. Give --model NAME, a name under 'models' in params.yaml"):
        stage.begin(None)


def test_parameters_are_parsed_by_the_scripts_as_without_dvc():
    assert stage.arguments("x").parse_args([]).model is None
    assert stage.arguments("x").parse_args(["--model", "net"]).model == "net"
