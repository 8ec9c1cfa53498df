"""What `make env` prints."""

import pytest

from octet.project.environment import environment, installed_version

pytestmark = pytest.mark.unit


def test_env_says_what_a_bug_report_needs():
    lines = dict(line.split(maxsplit=1) for line in environment("dotprod").splitlines())
    for name in ("ncnn", "torch", "mmcls", "ppq", "onnx", "dvc"):  # on Python 3.13 ppq is not installed
        assert lines[name] == installed_version(name)
    assert "fits this processor; params.yaml has dotprod" in lines["target"]
    assert lines["threads"]
    assert lines["memory"]
