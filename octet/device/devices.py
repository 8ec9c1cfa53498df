"""configs/devices/NAME.yaml: how to reach a device.

    kind: ssh                      # or adb, local, command
    host: board.local              # ssh: a name or address, as ssh knows it
    user: pi                       # ssh
    folder: /home/pi/octet         # on the device; all that is pushed lies below it

Each kind is a class below: its fields are the file's keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from octet.core import yaml
from octet.core.check import checked
from octet.core.errors import OctetError, nearest
from octet.core.fields import Form, Section, ask
from octet.core.names import usable
from octet.core.params import Texts

FOLDER = Path("configs") / "devices"
_SHOWN = 60  # characters of a value
_HOST = r"^[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*$"  # no - in front: ssh would take it for an option
Architecture = Literal["aarch64", "x86_64"]


class Device(Section):
    """What all kinds have."""

    folder: str = ask("The folder on the device for what is pushed?", "/home/pi/octet", min_length=1)
    silence_s: int = ask("After how many seconds without an answer is the device given up?", 300, ge=1, default=300)
    emulated: bool = ask("Is it an emulator, whose times are no speeds?", False, default=False)
    cpu: str = ask("What is its processor called? (empty: as the device says)", "Cortex-A53", default="")
    """An emulator's system tells this machine's. Empty there: the emulator's command."""


class Local(Device):
    """This machine itself."""

    kind: Literal["local"]


class Command(Device):
    """This machine, through a command that runs a binary of another architecture, such as an emulator."""

    kind: Literal["command"]
    command: Texts = ask("Which command runs a binary?", ["qemu-aarch64", "-cpu", "cortex-a53"])
    architecture: Architecture = ask("Whose binaries does it run?", "aarch64")


class Ssh(Device):
    """A Linux board that is reached by ssh, with its keys and known hosts; no password is ever asked for."""

    kind: Literal["ssh"]
    host: Annotated[str, Form("a host's name or address")] = ask("Which host?", "board.local", pattern=_HOST)
    user: Annotated[str, Form("a user's name")] = ask(
        "Which user?", "pi", pattern=r"^([A-Za-z0-9_.][A-Za-z0-9_.-]*)?$", default=""
    )
    """Empty: as ssh's own settings say."""

    port: int = ask("Which port?", 22, ge=1, le=65535, default=22)
    options: Texts = ask("More options of ssh's, as -o takes them?", ["ConnectTimeout=5"], default=())


class Adb(Device):
    """An Android phone that adb reaches."""

    kind: Literal["adb"]
    serial: str = ask(
        "Which serial number, as `adb devices` prints it? (empty: the only one)", "0123456789", default=""
    )


KINDS: dict[str, type[Device]] = {"local": Local, "command": Command, "ssh": Ssh, "adb": Adb}


def load(name: str) -> Device:
    """A device by its name.

    Raises:
        OctetError: There is no such file in configs/devices, or it holds what no device has.
    """
    if not name:
        raise OctetError(
            f"DEVICE: which? There are {', '.join(names())} in {FOLDER}; docs/devices.md shows how one is added"
        )
    path = FOLDER / f"{usable(name, 'DEVICE')}.yaml"
    if not path.is_file():
        raise OctetError(f"DEVICE: '{name}' is no device: there is no {path}. {nearest(name, names())}")
    return read(path)


def read(path: Path) -> Device:
    """A device's file.

    Raises:
        OctetError: It holds what no device has.
    """
    document = yaml.read(path, "write it; docs/devices.md shows examples")
    kind = document.values.get("kind") if isinstance(document.values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise OctetError(
            f"{path}: kind: '{str(kind)[:_SHOWN]}' is no way to reach a device. {nearest(str(kind), KINDS)}"
        )
    device = checked(KINDS[kind], path, document.values, document.duplicates)
    for key, value in device.model_dump().items():
        if any(
            "\0" in text
            for text in ((value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ())
        ):
            raise OctetError(f"{path}: {key}: has a character of no text (U+0000)")
    if device.folder.startswith("~"):
        raise OctetError(
            f"{path}: folder: {device.folder} would be a folder of that very name. Write the whole path; by ssh one without / "
            "in front begins in the user's home"
        )
    if isinstance(device, Command) and not device.command:
        raise OctetError(
            f"{path}: command: expected the words of a command. For example [qemu-aarch64, -cpu, cortex-a53]"
        )
    return device


def names() -> list[str]:
    """All devices that have a file, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
