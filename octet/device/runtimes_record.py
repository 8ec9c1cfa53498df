"""metrics/<model>/runtimes.json: a model's figures on releases of ncnn, written by make runtimes; and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import decimals, read_json, write_json
from octet.core.folder import ModelFolder
from octet.core.machine import is_machine
from octet.device.figures import Against, milliseconds, number, whole_number
from octet.device.record import Rows, fingerprints


@dataclass(frozen=True)
class OnRelease:
    """A model on one release of ncnn.

    Args:
        problem: Why it does not run there; empty where it does, and only then there are figures.
        against_int8: Its int8 beside that of the installed release.
        against_fp32: Its int8 beside its own fp32.
        fp32_ms: The median of the runs of fp32, one thread, in milliseconds; 0 where they were not timed, on an emulator.
        int8_ms: Of int8, in turn with it.
    """

    problem: str
    against_int8: Against | None = None
    against_fp32: Against | None = None
    fp32_ms: float = 0.0
    int8_ms: float = 0.0

    @property
    def timed(self) -> bool:
        """Were its runs timed?"""
        return self.fp32_ms > 0 and self.int8_ms > 0

    @property
    def speedup(self) -> float:
        """How many times as fast as the same release's fp32 int8 is."""
        return decimals(self.fp32_ms / self.int8_ms, 3)

    def to_json(self) -> dict[str, Any]:
        """Its entry in the file."""
        if not self.against_int8 or not self.against_fp32:
            return {"problem": self.problem}
        answers = {"int8_vs_installed": asdict(self.against_int8), "int8_vs_fp32": asdict(self.against_fp32)}
        times = (
            {"fp32_ms": self.fp32_ms, "int8_ms": self.int8_ms, "speedup_1_thread": self.speedup} if self.timed else {}
        )
        return {**answers, **times}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> OnRelease:
        """What to_json wrote. Raises KeyError, TypeError or ValueError for anything else."""
        if "problem" in content:
            return cls(str(content["problem"]))
        installed, fp32 = (
            Against(**{field.name: number(content[key][field.name]) for field in fields(Against)})
            for key in ("int8_vs_installed", "int8_vs_fp32")
        )
        if "fp32_ms" not in content:
            return cls("", installed, fp32)
        fp32_ms, int8_ms = milliseconds(content["fp32_ms"]), milliseconds(content["int8_ms"])
        return cls("", installed, fp32, fp32_ms, int8_ms)


@dataclass(frozen=True)
class Runtimes:
    """A model on releases of ncnn.

    Args:
        device: On which device; empty: on this machine.
        machine: What it is; its `ncnn` is the installed release, with which the others are compared, on this machine.
        n_images: On how many test images.
        n_runs: How many timed runs of each precision.
        sha256: Of the files that were run, as fingerprints gives it.
        releases: By the release's name, the oldest first.
    """

    device: str
    machine: Mapping[str, Any]
    n_images: int
    n_runs: int
    sha256: Mapping[str, str]
    releases: Mapping[str, OnRelease]

    def write(self, folder: ModelFolder) -> Path:
        """Writes the file."""
        content = {
            "machine": dict(self.machine),
            "n_images": self.n_images,
            "n_runs": self.n_runs,
            "sha256": dict(self.sha256),
            "releases": {name: of.to_json() for name, of in self.releases.items()},
        }
        write_json(path(folder, self.device), content)
        return path(folder, self.device)

    @property
    def emulated(self) -> bool:
        """Is it an emulator, whose runs are not timed?"""
        return bool(self.machine.get("emulated"))

    def is_of(self, folder: ModelFolder) -> bool:
        """Were these very files run?"""
        return dict(self.sha256) == fingerprints(folder)

    def checked_on(self) -> list[str]:
        """The releases on which int8 predicts what it does with the installed one, on every image."""
        return [name for name, of in self.releases.items() if of.against_int8 and of.against_int8.agreement_pct == 100]


def path(folder: ModelFolder, device: str = "") -> Path:
    """Where a model's figures on releases of ncnn lie: those of a device, or of this machine."""
    return folder.metrics / (f"runtimes-{device}.json" if device else "runtimes.json")


def load_all(folder: ModelFolder) -> list[Runtimes]:
    """A model's figures on releases of ncnn, of the very files that it has: this machine's, then each device's.

    Raises:
        OctetError: A file is not what make runtimes writes.
    """
    devices = sorted(file.stem.removeprefix("runtimes-") for file in folder.metrics.glob("runtimes-*.json"))
    loaded = [load(folder, device) for device in ("", *devices)]
    return [of for of in loaded if of and of.is_of(folder)]


def load(folder: ModelFolder, device: str = "") -> Runtimes | None:
    """A model's figures on releases of ncnn, on a device or on this machine; None where there are none.

    Raises:
        OctetError: The file is not what make runtimes writes.
    """
    on = f" DEVICE={device}" if device else ""
    file, made_by = path(folder, device), f"'make runtimes MODEL={folder.name}{on}' makes it"
    if not file.exists():
        return None
    content = read_json(file, made_by)
    try:
        releases = {str(name): OnRelease.from_json(of) for name, of in sorted(content["releases"].items())}
        n_images, n_runs = whole_number(content["n_images"]), whole_number(content["n_runs"])
        figures = Runtimes(device, content["machine"], n_images, n_runs, dict(content["sha256"]), releases)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise OctetError(f"{file}: not what 'make runtimes' writes; {made_by}") from None
    if not is_machine(figures.machine, "cpu", "features", "ncnn"):
        raise OctetError(f"{file}: not what 'make runtimes' writes; {made_by}")
    return figures


def columns(figures: Runtimes) -> tuple[list[str], Rows]:
    """A table with one row a release: headers and rows."""
    rows = []
    for name, of in figures.releases.items():
        if not of.against_int8 or not of.against_fp32:
            rows.append([name, of.problem, "", "", "", "", ""])
            continue
        same, own = of.against_int8, of.against_fp32
        row = [name, f"{same.agreement_pct:.2f} %", same.sqnr, f"{own.agreement_pct:.2f} %"]
        times = [f"{of.fp32_ms:.2f} ms", f"{of.int8_ms:.2f} ms", f"{of.speedup:.2f}"] if of.timed else ["", "", ""]
        rows.append([*row, *times])
    heads = ["ncnn", "int8 agrees with the installed one's", "SQNR to it", "with its own fp32"]
    return [*heads, "fp32", "int8", "times as fast"], rows
