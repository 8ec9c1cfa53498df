"""The verb: from what a user gives to params.yaml."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from octet.best import experiments, plot
from octet.best.candidates import Budget
from octet.best.front import choose, front_table
from octet.best.process import stopped_as_by_ctrl_c
from octet.best.record import alone
from octet.best.search import Search, Task
from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.params import Model
from octet.data import preprocess
from octet.data.images import Images, split_images
from octet.device import devices
from octet.project import entries

IMAGES = {"kl": 1000, "top1": 5000}  # hold-out images, where a user does not say how many
MOST_MINUTES = 100_000  # more than two months
MOST_LOST = 100  # all points of top-1; int8 that runs loses no such KL either


def find_best(
    name: str,
    drop: float | None,
    kl: float | None,
    minutes: float,
    n_images: int | None,
    device: str | None,
    folder: Path,
) -> None:
    """Searches the fastest int8 of a model that keeps a budget, prints what was measured, and writes it into params.yaml.

    Args:
        name: The model's.
        drop: The budget in points of top-1; None: it is in nats, or max_drop_pt of the model's entry.
        kl: The budget in nats.
        minutes: For how long.
        n_images: On how many hold-out images int8 is judged; None: as IMAGES has it.
        device: Where it is timed; None: on this machine.
        folder: Where the record and the plot lie.

    Raises:
        OctetError: Something that was given does not fit, no candidate was measured in time, or none keeps the budget.
    """
    entry = params.model(params.load(), name)
    budget = check(entry, drop, kl, minutes, n_images, device)
    experiments.check_git(name, entry)
    images = _hold_out(name, entry, budget, IMAGES[budget.metric] if n_images is None else n_images)
    path = folder / "best.json"
    with stopped_as_by_ctrl_c(), alone(path), tempfile.TemporaryDirectory(prefix="octet-best-") as scratch:
        search = Search(Task(name, entry, budget, 60 * minutes, images, device), Path(scratch), path)
        try:
            finished = search.run()
        finally:
            search.close()
    measured = search.measured()
    runs = [one for one, result in measured.items() if result.speedup]
    for one, result in measured.items():
        if result.failure:
            print(f"{one}: {result.failure}")
    if not runs:
        if not finished:
            raise OctetError(
                f"MINUTES={minutes:g}: over before one candidate was measured. Give more: the next run goes on from the "
                "stages that are finished"
            )
        raise OctetError(
            f"{name}: no candidate runs; {path} has why, as above, and none is tried again. Mend it, then remove that file"
        )
    choice = choose(measured, budget)
    print(front_table(measured, budget, choice.candidate))
    plot.write(measured, budget, choice.candidate, name, folder / "best.svg")
    more = "all that there is to try" if finished else "the time was over: the same command goes on"
    print(
        f"\n{len(measured)} candidates, {more}; on {search.place}. {folder / 'best.svg'} shows all, so does dvc exp show."
    )
    if choice.candidate is None:
        raise OctetError(f"{choice.why}. params.yaml stays as it is. Allow more, or give more MINUTES")
    written = entries.set_settings(name, choice.candidate.settings(len(images)))
    engine = choice.candidate.engine
    package = "" if engine == "ncnn" else f", and make package MODEL={name} ENGINE={engine} packs it"
    print(
        f"{choice.why}. params.yaml has it{'' if written else ' already'}; make quantize MODEL={name} makes it{package}."
    )


def check(
    entry: Model, drop: float | None, kl: float | None, minutes: float, n_images: int | None, device: str | None
) -> Budget:
    """What can be said of what a user gives before any work; the budget. Arguments as for find_best.

    Raises:
        OctetError: Something does not fit.
    """
    if not 0 < minutes <= MOST_MINUTES:
        raise OctetError(f"MINUTES={minutes:g}: expected a number of minutes above 0 and up to {MOST_MINUTES:,}")
    if n_images is not None and n_images < 1:
        raise OctetError(f"IMAGES={n_images}: expected 1 at least")
    if device is not None:
        devices.load(device)
    return _budget(drop, kl, entry)


def _budget(drop: float | None, kl: float | None, entry: Model) -> Budget:
    if drop is not None and kl is not None:
        raise OctetError("DROP is a budget in points of top-1, KL one in nats: give one of them")
    for given, value in (("DROP", drop), ("KL", kl)):
        if value is not None and not 0 < value <= MOST_LOST:
            raise OctetError(f"{given}={value:g}: expected a number above 0 and up to {MOST_LOST}")
    if kl is None and drop is None and not entry.max_drop_pt:
        raise OctetError(
            "max_drop_pt of the model's entry is 0, which no hold-out images can show: give DROP=… or KL=…"
        )
    return Budget("kl", kl) if kl is not None else Budget("top1", entry.max_drop_pt if drop is None else drop)


def _as_searched(entry: Model, hold_out: int) -> Model:
    """The entry as candidates have it that learn from the most images: by GPTQ, or by fine-tuning without those that judge."""
    method = "gptq" if entry.rounding.method == "nearest" else entry.rounding.method
    tuning = entry.rounding.finetune.model_copy(update={"hold_out": hold_out})
    return entry.model_copy(
        update={"rounding": entry.rounding.model_copy(update={"method": method, "finetune": tuning})}
    )


def _hold_out(name: str, entry: Model, budget: Budget, wanted: int) -> Images:
    """The hold-out images on which int8 is judged: as many as there are, at most.

    Raises:
        OctetError: They cannot judge it.
    """
    steps = preprocess.load(ModelFolder(name).preprocess)
    steps.needs_classes("make best")
    images = split_images(entry.data, "train", steps, wanted, "IMAGES", _as_searched(entry, wanted))
    if budget.metric == "kl":
        return images
    if images.labels is None:
        raise OctetError(
            f"{entry.data}: the training images have no labels, so there is no drop in top-1: give KL=… instead of DROP"
        )
    if 100 / len(images) > budget.most / 2:
        least, enough = 200 / budget.most, ""
        if least <= len(images.dataset) // 2:
            enough = f"IMAGES={math.ceil(least)} or more, "
        raise OctetError(
            f"a budget of {budget}: one of {len(images):,} hold-out images is {100 / len(images):.2g} points already; give "
            f"{enough}a larger DROP, or KL"
        )
    return images
