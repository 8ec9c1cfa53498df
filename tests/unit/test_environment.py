"""What `make env` prints."""

from importlib.metadata import version

import pytest

from octet.project.environment import environment

pytestmark = pytest.mark.unit


def test_env_says_what_a_bug_report_needs():
    lines = dict(line.split(maxsplit=1) for line in environment("dotprod").splitlines())
    for name in ("ncnn", "torch", "mmcls", "ppq", "onnx", "dvc"):
        assert lines[name] == version(name)
    assert "fits this processor; params.yaml has dotprod" in lines["target"]
    assert lines["threads"]
    assert lines["memory"]
