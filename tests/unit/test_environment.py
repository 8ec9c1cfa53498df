"""What `make env` prints."""

import pytest

from octet.project import environment as module
from octet.project.environment import environment, installed_version

pytestmark = pytest.mark.unit


def test_env_says_what_a_bug_report_needs():
    lines = dict(line.split(maxsplit=1) for line in environment("dotprod").splitlines())
    for name in ("ncnn", "torch", "mmcls", "ppq", "onnx", "dvc"):  # on Python 3.13 ppq is not installed
        assert lines[name] == installed_version(name)
    assert "fits this processor; params.yaml has dotprod" in lines["target"]
    assert lines["threads"]
    assert lines["memory"]


@pytest.mark.parametrize(
    ("flags", "saturates"),
    [({"sse4_1", "avx2"}, True), ({"sse4_1", "avx2", "avx512_vnni"}, False), ({"asimd"}, False), (set(), False)],
)
def test_env_says_where_onnx_runtime_saturates(monkeypatch, flags, saturates):
    monkeypatch.setattr(module, "processor", lambda: ("a processor", flags))
    assert ("saturates without VNNI" in environment(None)) == saturates
