"""A network in a module of the user's own, and a class list: copied with the config, and seen when they change."""

import json
import shutil

import pytest
import torch

from tests.pipeline.project import CONFIG

pytestmark = pytest.mark.pipeline

MODULE = """
from mmcls.models import BACKBONES, ResNet_CIFAR
@BACKBONES.register_module()
class Mine(ResNet_CIFAR):
    def forward(self, x):
        return super().forward(1.0 * x)
"""


@pytest.mark.slow
def test_a_changed_module_or_class_list_reruns_export_and_what_follows(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    mine = project.folder / "mine"
    mine.mkdir()
    text = CONFIG.replace('"ResNet_CIFAR"', '"Mine"').replace('"CIFAR10",', '"CIFAR10", classes="mine/classes.txt",')
    (mine / "net.py").write_text("custom_imports = dict(imports=['my_net'])\n" + text)
    (mine / "my_net.py").write_text(MODULE)
    (mine / "classes.txt").write_text("".join(f"{name}\n" for name in "abcdefghij"))
    content = torch.load(project.folder / "models/tiny.pth")
    torch.save(content | {"meta": {}}, mine / "net.pth")
    given = ("--config=mine/net.py", "--checkpoint=mine/net.pth", "--data=data/digits32")
    project.python("-m", "octet", "add", "--model=mine", *given)

    def ran() -> list[str]:
        project.python("-m", "octet", "validate", "--model=mine")
        lines = project.dvc("repro", "convert@mine").splitlines()
        return [line.split("'")[1].partition("@")[0] for line in lines if line.startswith("Running stage")]

    assert ran() == ["settings", "export", "convert"]
    assert ran() == []
    (mine / "classes.txt").write_text("".join(f"{name}\n" for name in "abcdefghiz"))
    assert ran() == ["settings", "export", "convert"]
    assert json.loads((project.folder / "models/mine/preprocess.json").read_text())["classes"][-1] == "z"
    before = project.files("models/mine/fp32.onnx")
    project.edit("configs/models/mine/my_net.py", "1.0 * x", "2.0 * x")
    shutil.rmtree(mine / "__pycache__", ignore_errors=True)
    assert ran() == ["settings", "export", "convert"]
    assert project.files("models/mine/fp32.onnx") != before
    project.edit("configs/models/mine.py", "configs/models/mine/classes.txt", "mine/classes.txt")
    done = project.python("-m", "dvc", "repro", "export@mine", ok=False)
    assert (
        "error: configs/models/mine.py: reads mine/classes.txt, outside configs/models, where DVC does not see that it changes; "
        "move it to configs/models/mine/ and name it there"
    ) in done.stderr
