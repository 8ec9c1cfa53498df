"""Which files in configs/models a config can be made of."""

from pathlib import Path

import pytest

from octet.core import settings
from octet.core.errors import OctetError
from octet.core.params import load
from octet.core.places import config_files
from octet.export.reads import check_tracked
from tests.unit.test_params import VALID

pytestmark = pytest.mark.unit
FILES = {
    "net.py": "_base_ = ['./_base_/resnet.py']\ncustom_imports = dict(imports=['my_models'])\n",
    "net/labels.txt": "cat\ndog\n",
    "_base_/resnet.py": "",
    "_base_/schedule.py": "",
    "my_models/__init__.py": "from .body import Body\nopen('widths.txt')\n",
    "my_models/body.py": "",
    "my_models/__pycache__/body.cpython-311.pyc": "other",
    "widths.txt": "16\n",
    "other.py": "_base_ = 'net.py'\n",
    "other/labels.txt": "",
    "third.yaml": "channel_order: RGB\n",
}


@pytest.fixture
def configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        file = Path("configs/models", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Path("configs/models")


def test_what_other_models_alone_have_is_left_out(configs):
    strange = {"other.py", "other/labels.txt", "third.yaml", "my_models/__pycache__/body.cpython-311.pyc"}
    assert config_files("configs/models/net.py") == sorted(configs / name for name in FILES.keys() - strange)
    left = {"third.yaml", "my_models/__pycache__/body.cpython-311.pyc"}
    assert config_files("configs/models/other.py") == sorted(configs / name for name in FILES.keys() - left)
    assert config_files("resnet/resnet18_8xb16_cifar10.py") == []


def test_export_depends_on_those(configs):
    Path("params.yaml").write_text(VALID)

    def source() -> dict:
        return settings.contents("net", load("params.yaml").models["net"])["source"]

    before = source()
    assert next(iter(before["files_sha256"])) == "configs/models/_base_/resnet.py"
    (configs / "other.py").write_text("_base_ = 'net.py'\nother = 1\n")
    (configs / "fourth.py").write_text("")
    assert source() == before
    (configs / "widths.txt").write_text("32\n")
    assert source() != before


def test_a_file_that_is_read_and_not_named_is_refused(configs):
    check_tracked({(configs / "my_models/body.py").absolute()}, "configs/models/net.py", set())
    message = (
        "configs/models/net.py: reads configs/models/other.py, whose name stands neither in the config nor in what it reads, so "
        "DVC does not see for this model that it changes; write the whole name there"
    )
    with pytest.raises(OctetError) as error:
        check_tracked({(configs / "other.py").absolute()}, "configs/models/net.py", set())
    assert str(error.value) == message
