"""The first check says what a calibrator cannot do here, before any stage runs."""

from pathlib import Path

import pytest

from octet.core import params, registry
from octet.core.errors import OctetError
from octet.ncnn.table import Table, save
from octet.project.calibration import check_calibration, check_engines
from tests.unit.test_params import VALID

pytestmark = pytest.mark.unit


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Checks the model `net`, whose entry has these settings."""
    monkeypatch.chdir(tmp_path)
    Path("configs/tables").mkdir(parents=True)

    def run(own: str = "") -> None:
        text = VALID.replace("    max_drop_pt: 0.3\n", f"    max_drop_pt: 0.3\n    {own}\n")
        Path("params.yaml").write_text(text)
        entry = params.load().models["net"]
        check_calibration("net", entry)
        check_engines("net", entry)

    return run


def test_a_table_has_to_be_one_that_dvc_sees(check):
    check()
    with pytest.raises(OctetError, match=r"params\.yaml: models\.net: configs/tables/net\.table: no such file"):
        check("calibrate: {method: file}")
    save(Table({}, {"conv": 2.0}), "configs/tables/net.table")
    check("calibrate: {method: file}")
    save(Table({}, {"conv": 2.0}), "x")
    for file in ("x", "../../x", "configs/tables/../../x"):
        with pytest.raises(OctetError, match=rf"models\.net: calibrate\.file: {file}: lies outside configs/tables"):
            check(f"calibrate: {{method: file, file: {file}}}")
    for file in ('"configs/tables/a\\0b"', f"configs/tables/{'x' * 5000}"):
        with pytest.raises(OctetError, match="no such file; calibrate.method is file"):
            check(f"calibrate: {{method: file, file: {file}}}")
    Path("configs/tables/net.table").write_text("conv two\n")
    with pytest.raises(OctetError, match=r"models\.net: configs/tables/net\.table: line 1"):
        check("calibrate: {method: file}")


def test_a_package_that_a_calibrator_needs(check, tmp_path, monkeypatch):
    """As PPQ's, which is not there on Python 3.13."""
    needs = registry.METHODS / "ppq.py"
    (tmp_path / "methods").mkdir()
    text = needs.read_text().replace('"ppq": "PPQ', '"no_such_package": "PPQ')
    (tmp_path / "methods/ppq.py").write_text(text)
    (tmp_path / "methods/kl.py").write_text('"""As it is."""\n')
    monkeypatch.setattr(registry, "METHODS", tmp_path / "methods")
    check()
    with pytest.raises(OctetError, match=r"models\.net: calibrate\.method: ppq needs the package no_such_package"):
        check("calibrate: {method: ppq}")


def test_an_opset_without_a_scale_for_each_channel_is_for_ncnn_alone(check):
    check("export: {opset: 12}")
    with pytest.raises(OctetError, match=r"params\.yaml: models\.net: opset 12, .* set export\.opset to 13"):
        check("export: {opset: 12}\n    engines: [onnxruntime]")


def test_a_calibrator_without_thresholds_is_for_ncnn_alone(check):
    save(Table({}, {"conv": 2.0}), "net.table")
    Path("net.table").rename("configs/tables/net.table")
    with pytest.raises(OctetError, match=r"calibrate\.method: file works for ncnn alone"):
        check("calibrate: {method: file}\n    engines: [onnxruntime]")
