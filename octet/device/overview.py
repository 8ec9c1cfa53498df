"""make devices: what each device of configs/devices is, or why it cannot be used; make device-clean."""

from __future__ import annotations

from octet.core.errors import OctetError
from octet.core.text import table
from octet.device import devices, session
from octet.device.connections import connect
from octet.ncnn.machine import fitting_target


def overview() -> str:
    """One line a device: its processor, cores, features and the built-in target that fits these; or why it cannot be used."""
    rows = []
    for name in devices.names():
        try:
            info = session.Session(connect(name, devices.load(name))).info
        except OctetError as error:
            rows.append([name, str(error), "", "", ""])
            continue
        rows.append(
            [
                name,
                str(info["cpu"]) + " (emulated)" * info["emulated"],
                str(info.get("cores", "")),
                " ".join(map(str, info["features"])),
                fitting_target(set(map(str, info["features"]))),
            ]
        )
    return table(rows, ["device", "processor", "cores", "features", "target"], "llrll")


def clean(name: str) -> None:
    """Removes all that was put on a device. Raises OctetError where it cannot be reached."""
    session.clean(connect(name, devices.load(name)))
