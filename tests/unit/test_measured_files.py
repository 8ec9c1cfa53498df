"""Files of figures that are damaged: the report and the summary name them."""

import json
from pathlib import Path

import pytest

from octet.core.errors import OctetError
from octet.report import collect
from octet.summary.summary import latency

pytestmark = pytest.mark.unit

SPEED = {"median_ms": 1.0, "p90_ms": 2.0, "fps": 3, "n_runs": 4}
MACHINE = {"cpu": "x", "cores": 2, "features": [], "ncnn": "1"}
VALID = {"machine": MACHINE, "threads_1": {"fp32": SPEED, "int8": SPEED}}
DAMAGED = [
    *(None, [], {}, 3, {"threads_1": VALID["threads_1"]}),
    *(VALID | {"threads_1": value} for value in (None, {}, 3, {"fp32": SPEED}, {"fp32": SPEED, "int8": {}})),
    *(VALID | {"threads_1": {"fp32": SPEED, "int8": SPEED | {"fps": value}}} for value in ("x", None, [], {})),
    VALID | {"threads_": VALID["threads_1"]},
]


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "latency.json"
    path.write_text(json.dumps(content))
    return path


def test_valid_latencies(tmp_path):
    path = written(tmp_path, VALID)
    assert collect._speeds(path, "x")[1]["int8"].fps == 3
    assert latency(path)[1] == {1: {"fp32": 3, "int8": 3}}


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_latencies_of_the_report_and_the_summary(tmp_path, content):
    path = written(tmp_path, content)
    with pytest.raises(OctetError, match=r"latency.json: expected the keys"):
        latency(path)
    if isinstance(content, dict) and "threads_1" in content and "machine" in content:
        with pytest.raises(OctetError, match=r"latency.json: not what the stage benchmark writes"):
            collect._speeds(path, "x")


@pytest.mark.parametrize("machine", [None, {}, MACHINE | {"cores": "2"}])
def test_a_damaged_machine(tmp_path, machine):
    with pytest.raises(OctetError, match=r"latency.json: expected the keys machine"):
        latency(written(tmp_path, VALID | {"machine": machine}))


@pytest.mark.parametrize(
    "content", [None, [], {}, {"layers": [], "model": {}}, {"layers": [{"layer": 3}], "model": {}}]
)
def test_a_damaged_analysis(tmp_path, content):
    path = written(tmp_path, content)
    with pytest.raises(OctetError, match=r"latency.json: not what the stage analyze writes"):
        collect._analysis(path)
