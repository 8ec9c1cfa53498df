"""metrics/<model>/devices/<name>.json: a model's figures on one device, written by make device; and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from octet.core.errors import OctetError
from octet.core.files import checksum, decimals, read_json, require, write_json, write_text
from octet.core.folder import ModelFolder
from octet.core.machine import is_machine
from octet.device.figures import RunFigures, whole_number

# name, precision of the files, options: fp16 is ncnn's default.
RUNS = (("fp32", "fp32", "fp32"), ("fp16", "fp32", "fp16"), ("int8", "int8", "fp32"), ("int8_fp16", "int8", "fp16"))
INT8_RUNS = ("int8", "int8_fp16")  # the two ways in which an app may run the int8 files
_WORDS = {"fp32": "fp32", "fp16": "default float", "int8": "int8", "int8_fp16": "int8, default"}
Rows = list[list[str]]
LEAST_AGREEMENT_PCT = 95.0  # less is no rounding: something else is computed


@dataclass(frozen=True)
class DeviceFigures:
    """A model on a device.

    Args:
        name: The device's.
        device: What it is: its cpu, cores, features, ncnn, whether it is emulated, and by what.
        n_images: On how many test images.
        sha256: Of the files that were run, as fingerprints gives it.
        runs: By the name of each of RUNS.
    """

    name: str
    device: Mapping[str, Any]
    n_images: int
    sha256: Mapping[str, str]
    runs: Mapping[str, RunFigures]

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        content = {"device": dict(self.device), "n_images": self.n_images, "sha256": dict(self.sha256)}
        content |= {run: self.runs[run].to_json(precision) for run, precision, _ in RUNS}
        for threads in self.threads:
            content[f"speedup_over_fp32_threads_{threads}"] = self.speedup("int8", "fp32", threads)
            for run in INT8_RUNS:
                content[f"{run}_speedup_over_default_threads_{threads}"] = self.speedup(run, "fp16", threads)
        return content

    @classmethod
    def load(cls, path: Path, made_by: str) -> DeviceFigures:
        """Reads a file of figures.

        Args:
            path: The file, whose name is the device's.
            made_by: What makes it, for the error.

        Raises:
            OctetError: It is not what make device writes.
        """
        content = read_json(path, made_by)
        try:
            runs = {run: RunFigures.from_json(content[run], precision) for run, precision, _ in RUNS}
            sha256 = TypeAdapter(dict[str, str]).validate_python(content.get("sha256", {}), strict=True)
            figures = cls(path.stem, content["device"], whole_number(content["n_images"]), sha256, runs)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise OctetError(f"{path}: not what 'make device' writes; {made_by}") from None
        if not is_machine(figures.device, "cpu", "features", "ncnn") or len({*figures.all_threads()}) > 1:
            raise OctetError(f"{path}: not what 'make device' writes; {made_by}")
        return figures

    def all_threads(self) -> list[tuple[int, ...]]:
        """Of each run, at how many threads it was timed."""
        return [tuple(sorted(run.speeds)) for run in self.runs.values()]

    @property
    def threads(self) -> tuple[int, ...]:
        """At how many threads the runs were timed; none on an emulator."""
        return self.all_threads()[0]

    def speedup(self, run: str, beside: str, threads: int) -> float:
        """How many times as fast as another run one is, at that number of threads. Both: names of RUNS."""
        fast, slow = (self.runs[name].speeds[threads].speed.median_ms for name in (run, beside))
        return decimals(slow / fast, 3)

    def warnings(self) -> list[str]:
        """What a user has to know before this model is shipped to this device, a sentence each."""
        lines = []
        for run, of in self.runs.items():
            if of.n_not_finite:
                lines.append(
                    f"{run}: on {of.n_not_finite:,} of {self.n_images:,} images its outputs are not finite: numbers there are "
                    "beyond what ncnn's options let it hold (fp16: 65,504). They count as wrong"
                )
            if of.host_same.agreement_pct < LEAST_AGREEMENT_PCT:
                lines.append(
                    f"{run}: predicts what this machine does on {of.host_same.agreement_pct:.2f} % of images alone: with these "
                    "options its answers there are not those that were evaluated here"
                )
        for threads in self.threads:
            for run in INT8_RUNS:
                speedup = self.speedup(run, "fp16", threads)
                if speedup < 1:
                    lines.append(
                        f"{run}: is slower than the device's default float: {speedup:.2f} times as fast at {_threads(threads)}"
                    )
        return lines

    @property
    def processor(self) -> str:
        """The device's processor, and by what it is emulated where it is no real one."""
        cpu, emulator = str(self.device["cpu"]), str(self.device.get("emulator", ""))
        if not self.device.get("emulated"):
            return cpu
        return f"{cpu} (emulated)" if emulator in ("", cpu) else f"{cpu} (emulated: {emulator})"

    def drop_pt(self, run: str) -> float | None:
        """How many points of top-1 one of INT8_RUNS loses on the device; None where the images have no labels."""
        fp32, int8 = self.runs["fp32"].top1_pct, self.runs[run].top1_pct
        return None if fp32 is None or int8 is None else decimals(fp32 - int8, 4)

    def is_of(self, folder: ModelFolder) -> bool:
        """Were these very files measured?"""
        return dict(self.sha256) == fingerprints(folder)


def fingerprints(folder: ModelFolder) -> dict[str, str]:
    """Of each file that decides what a model answers and how fast, by its name: the first 16 digits of its sha256.

    Raises:
        OctetError: One is missing.
    """
    files = [*folder.fp32, *folder.int8, folder.preprocess]
    require(files, f"'make quantize MODEL={folder.name}' makes it")
    return {path.name: checksum(path, "sha256")[:16] for path in files}


def check_unchanged(folder: ModelFolder, before: Mapping[str, str]) -> None:
    """Raises OctetError where a model's files are others than before a run, whose figures are then of neither.

    Args:
        folder: The model's.
        before: What fingerprints gave.
    """
    now = fingerprints(folder)
    changed = [name for name in now if now[name] != before.get(name)]
    if changed:
        raise OctetError(
            f"{folder.models / changed[0]}: changed while it was measured, so there are no figures; measure anew"
        )


def load_all(folder: ModelFolder) -> list[DeviceFigures]:
    """Of all devices on which a model was run, by name.

    Raises:
        OctetError: A file of them is damaged.
    """
    return [
        DeviceFigures.load(path, f"'make device DEVICE={path.stem} MODEL={folder.name}' makes it")
        for path in sorted(folder.devices.glob("*.json"))
    ]


def write(folder: ModelFolder, figures: DeviceFigures) -> Path:
    """Writes the file, and beside it the dvc.yaml that shows all of them to dvc metrics show and diff."""
    path = folder.devices / f"{figures.name}.json"
    write_json(path, figures.to_json())
    names = sorted(other.name for other in folder.devices.glob("*.json"))
    write_text(
        folder.devices / "dvc.yaml",
        "# So that dvc metrics show and diff read these. 'make device' writes it.\nmetrics:\n"
        + "".join(f"- {name}\n" for name in names),
    )
    return path


def columns(devices: Sequence[DeviceFigures]) -> tuple[list[str], Rows]:
    """A table with one column a device: headers and rows. A row that no device fills is left out."""
    rows = [
        ["processor", *(of.processor for of in devices)],
        ["features", *(" ".join(of.device["features"]) or "none" for of in devices)],
        ["big cores", *(str(of.threads[-1]) if of.threads else "" for of in devices)],
        ["images", *(f"{of.n_images:,}" for of in devices)],
    ]
    for run, words in _WORDS.items():
        rows.append([f"top-1, {words}", *(_unless_none("{:.2f} %", of.runs[run].top1_pct) for of in devices)])
    for run in INT8_RUNS:
        against = [of.runs[run].host_same for of in devices]
        rows.append([f"{_WORDS[run]}: agrees with this machine's", *(f"{a.agreement_pct:.2f} %" for a in against)])
        rows.append([f"{_WORDS[run]}: SQNR to it", *(a.sqnr for a in against)])
    rows.append(["default float: SQNR to this machine's fp32", *(of.runs["fp16"].host_fp32.sqnr for of in devices)])
    for run in ("fp16", "int8", "int8_fp16"):
        kl = [of.runs[run].host_fp32 for of in devices]
        cells = (f"{a.kl_nats:.1e} ± {a.kl_se_nats:.0e}" if a.kl_nats or a.kl_se_nats else "0" for a in kl)
        rows.append([f"{_WORDS[run]}: KL from this machine's fp32", *cells])
    for run in ("fp16", "int8", "int8_fp16"):
        counts = [of.runs[run].n_not_finite for of in devices]
        cells = (f"{count:,}" if count else "" for count in counts)
        rows.append([f"{_WORDS[run]}: images with outputs that are not finite", *cells])
    rows += _speed_rows(devices, "1 thread", [1 if 1 in of.threads else 0 for of in devices])
    most = [max(of.threads, default=0) for of in devices]
    rows += _speed_rows(devices, "all big cores", [count if count > 1 else 0 for count in most])
    for run in ("fp16", "int8"):
        rows.append(
            [f"time to load, {_WORDS[run]}", *(_unless_none("{:.1f} ms", of.runs[run].load_ms) for of in devices)]
        )
    for run in ("fp16", "int8"):
        peaks = [of.runs[run].peak_kib for of in devices]
        rows.append([f"peak memory, {_WORDS[run]}", *(_unless_none("{:.1f} MiB", kib and kib / 1024) for kib in peaks)])
    return ["", *(of.name for of in devices)], [row for row in rows if any(row[1:])]


def _speed_rows(devices: Sequence[DeviceFigures], at: str, threads: Sequence[int]) -> Rows:
    """The rows of speed. threads: how many, of each device; 0 where it was not timed."""
    timed, rows = list(zip(devices, threads, strict=True)), Rows()
    for run, words in _WORDS.items():
        medians = (f"{of.runs[run].speeds[count].speed.median_ms:.2f} ms" if count else "" for of, count in timed)
        rows.append([f"median, {words}, {at}", *medians])
    for run, beside in (("int8", "fp32"), *((run, "fp16") for run in INT8_RUNS)):
        gains = (_gain(of.speedup(run, beside, count)) if count else "" for of, count in timed)
        rows.append([f"{_WORDS[run]}: speed beside {_WORDS[beside]}, {at}", *gains])
    drifts = (
        _drift(max(run.speeds[count].drift_pct for run in of.runs.values())) if count else "" for of, count in timed
    )
    rows.append([f"slower at the end, at most, {at}", *drifts])
    return rows


def _drift(percent: float) -> str:
    return f"{decimals(percent, 0):+.0f} %"


def _gain(gain: float) -> str:
    return f"{gain:.2f} times as fast" + ": slower" * (gain < 1)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _unless_none(form: str, value: float | None) -> str:
    return "" if value is None else form.format(value)
