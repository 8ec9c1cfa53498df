"""One finished run of the tiny project, which the tests of this folder share as copies."""

import pytest

from tests.pipeline.project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The project after its first `dvc repro`, committed; `ran` names the stages. Tests copy it, and change nothing."""
    result = Project.make(tmp_path_factory.mktemp("finished"))
    result.ran = result.repro()
    result.commit("run")
    return result
