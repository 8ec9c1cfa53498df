"""make check, of devices: does int8 keep there what params.yaml asks for?"""

from __future__ import annotations

from dataclasses import dataclass

from octet.core.files import require
from octet.core.folder import ModelFolder
from octet.core.params import Check
from octet.device.record import INT8_RUNS, DeviceFigures, load_all


@dataclass(frozen=True)
class Verdicts:
    """What make check says of the devices.

    Args:
        lines: One a device, run and question.
        short: The devices that fall short, by name.
    """

    lines: list[str]
    short: list[str]


def shortfalls(folder: ModelFolder, check: Check) -> Verdicts:
    """Sets the figures of each device on which a model was run beside what is asked.

    A device falls short where neither way to run int8 there (INT8_RUNS) has all that is asked: an app runs one of them, which has
    to be fast and right at once. Of a device that does not, the lines are those of the way that has it; else of both.

    Figures of files that the model no longer has are named, and not judged.

    Raises:
        OctetError: A file of figures is damaged, or the model's files are not there to tell whether the figures are theirs.
    """
    lines, short = list[str](), list[str]()
    asked = any(value is not None for value in check.model_dump().values())
    devices = load_all(folder) if asked else []
    if devices:
        require([folder.fp32.bin, folder.int8.bin], f"'make quantize MODEL={folder.name}' makes it")
    for figures in devices:
        if not figures.is_of(folder):
            lines.append(
                f"{figures.name}: its figures are of other files of this model; make device DEVICE={figures.name} "
                f"MODEL={folder.name} measures anew"
            )
            continue
        judged = _judge(figures, check)
        lines += [f"{figures.name}: {line}: {'fine' if good else 'not enough'}" for line, good in judged]
        short += [figures.name] if not all(good for _, good in judged) else []
    return Verdicts(lines, short)


def _judge(figures: DeviceFigures, check: Check) -> list[tuple[str, bool]]:
    ways = [_judge_run(figures, run, check) for run in INT8_RUNS]
    good = next((way for way in ways if all(fine for _, fine in way)), None)
    return [line for way in ways for line in way] if good is None else good


def _judge_run(figures: DeviceFigures, run: str, check: Check) -> list[tuple[str, bool]]:
    """What is said of one way to run int8, and whether it is what is asked."""
    judged = []
    most, least, drop = check.device_max_drop_pt, check.device_min_agreement_pct, figures.drop_pt(run)
    if most is not None and drop is not None:
        judged.append((f"{run} loses {drop:+.2f} points of top-1 there, allowed are {most:.2f}", drop <= most))
    if least is not None:
        agreement = figures.runs[run].host_same.agreement_pct
        words = f"{run} predicts what int8 does on this machine on {agreement:.2f} % of images, asked are {least:.2f}"
        judged.append((words, agreement >= least))
    if check.device_min_speedup is not None and 1 in figures.threads:
        speedup = figures.speedup(run, "fp16", 1)
        words = f"{run} is {speedup:.2f} times as fast as the default float, asked is {check.device_min_speedup:.2f}"
        judged.append((words, speedup >= check.device_min_speedup))
    return judged
