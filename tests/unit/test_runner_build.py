"""What `make runner` builds anew. The compilers themselves run in tests/slow."""

import pytest

from octet.device import build as module
from octet.device.build import build

pytestmark = pytest.mark.unit


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands that a build runs; in the place of CMake and Ninja stands what they leave."""
    monkeypatch.chdir(tmp_path)
    ran = []

    def run(command, folder, what):
        ran.append(command[0])
        if command[0] == "cmake":
            (folder / "build.ninja").write_text("")
            (folder / "runner.o").touch()

    monkeypatch.setattr(module, "_run", run)
    monkeypatch.setattr(module, "compiler", lambda: tmp_path / "zig")
    monkeypatch.setattr(module, "ncnn_source", lambda release: tmp_path / f"ncnn-{release}")
    return ran


def test_the_compiler_is_asked_once(commands):
    for _ in range(3):
        build("aarch64")
    assert commands == ["cmake", "ninja", "ninja", "ninja"]


def test_after_an_interruption_it_goes_on(commands):
    build("aarch64")
    folder = module.binary("aarch64").parent
    (folder / "build.ninja").unlink()  # CMake writes it at its end
    build("aarch64")
    assert commands == ["cmake", "ninja"] * 2
    assert (folder / "runner.o").exists()


def release(monkeypatch):
    monkeypatch.setattr(module, "VERSION", "1.0.20991231")
    build("aarch64", "1.0.20991231")


def place(monkeypatch):
    module.FOLDER.rename("elsewhere")
    monkeypatch.setattr(module, "FOLDER", module.FOLDER.with_name("elsewhere"))
    build("aarch64")


def settings(monkeypatch):
    monkeypatch.setitem(module._SETTINGS, "aarch64", {"BF16": "OFF"})
    build("aarch64")


def before_it_was_noted(monkeypatch):
    (module.binary("aarch64").parent / "configured.txt").unlink()
    build("aarch64")


@pytest.mark.parametrize("change", [release, place, settings, before_it_was_noted])
def test_what_was_built_otherwise_is_not_kept(commands, monkeypatch, change):
    """Ninja would go on with the former ncnn, and what lies in the folder would say that it is the new one."""
    build("aarch64")
    module.binary("aarch64").parent.joinpath("runner.o").write_text("old")
    change(monkeypatch)
    assert commands == ["cmake", "ninja"] * 2
    folder = module.FOLDER / "aarch64"
    assert (folder / "runner.o").read_text() == ""
