"""The command line, `octet` or `python -m octet`: what a user asks for besides the pipeline's stages.

A command is a function below: its name, its docstring's first line as the help, its parameters as the options.
"""

from __future__ import annotations

# isort: split
import argparse
import inspect
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from octet.core import params
from octet.core.errors import OctetError, run
from octet.core.files import require
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.names import usable
from octet.core.params import Params

REPORTS = Path("reports")  # one folder a model, as in models/ and metrics/; git does not see it
DIST = Path("dist")  # what is handed over; git does not see it
CHART = Path("docs/images/peers.svg")  # the README shows it
OPTIONS: dict[str, dict[str, Any]] = {
    "model": {"help": "a model of params.yaml (default: all; of `add`: the name of the zoo's model, or of the config)"},
    "image": {
        "nargs": "+",
        "default": [],
        "help": "images, folders with images, patterns as 'a*.png', or several with a space or a line break between them "
        "(default: some of the test split)",
    },
    "profile": {"help": "the name of a target profile that is to be written"},
    "find": {"help": "part of a name or family (default: all)"},
    "zoo": {"help": "a model of mmcls's zoo"},
    "config": {"help": "an mmcls config"},
    "checkpoint": {"help": "its weights"},
    "onnx": {"help": "an ONNX model, in place of config and checkpoint"},
    "timm": {"help": "a network of timm's, in place of the config"},
    "torchvision": {"help": "a network of torchvision's, in place of the config"},
    "preprocess": {
        "help": "what happens to an image before it: a preset or a YAML file (default: the YAML file beside it)"
    },
    "data": {"help": "the folder of its data set (default: the config's)"},
    "runner": {"help": "put the runner of `make runner` into the zip", "action": "store_true"},
    "engine": {"help": "an engine that the model's `engines` name (default: ncnn)", "default": "ncnn"},
    "device": {"help": "a device of configs/devices"},
    "runtime": {"help": "a release of ncnn, such as 1.0.20221128"},
    "runtimes": {
        "help": "releases of ncnn (default: the last one of each year that has a wheel for this Python)",
        "nargs": "+",
        "default": [],
    },
    "images": {
        "help": "on how many test images (default: 200; all where there are fewer)",
        "type": int,
        "default": 200,
    },
    "drop": {
        "help": "how many points of top-1 int8 may lose (default: max_drop_pt of the model's entry)",
        "type": float,
    },
    "kl": {"help": "how many nats int8 may lose, in place of --drop", "type": float},
    "minutes": {"help": "for how long to search (default: 10)", "type": float, "default": 10.0},
    "check": {"help": "check what is given, and end", "action": "store_true"},
    "holdout": {"help": "on how many hold-out images int8 is judged (default: 1000 with --kl, else 5000)", "type": int},
}

REQUIRED = {
    key: {"required": True}
    for key in (("device", "device"), ("device-clean", "device"), ("tune", "model"), ("best", "model"))
}


def main() -> None:
    """Reads the arguments and runs the command."""
    parser = argparse.ArgumentParser(prog="octet", description="Octet's commands besides the pipeline's stages")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        options = commands.add_parser(name, help=inspect.getdoc(command), description=inspect.getdoc(command))
        for option in inspect.signature(command).parameters:
            options.add_argument(f"--{option}", **OPTIONS[option] | REQUIRED.get((name, option), {}))
    arguments = vars(parser.parse_args())
    COMMANDS[arguments.pop("command")](**arguments)


def entry_point() -> None:
    """The command `octet` of pyproject.toml: `main`, with a user's mistake as a line of red."""
    run(main)


def add(
    model: str | None,
    zoo: str | None,
    config: str | None,
    checkpoint: str | None,
    onnx: str | None,
    timm: str | None,
    torchvision: str | None,
    preprocess: str | None,
    data: str | None,
) -> None:
    """Add a model to params.yaml, and print its name."""
    from octet.project import entries
    from octet.project.track import untracked_files

    given = {
        "zoo": zoo,
        "config": config,
        "checkpoint": checkpoint,
        "onnx": onnx,
        "timm": timm,
        "torchvision": torchvision,
        "preprocess": preprocess,
        "data": data,
    }
    name = entries.add(model, {key: value for key, value in given.items() if value})
    print(name)
    if untracked := untracked_files(params.load().models[name]):
        print(
            f"{name}: neither git nor DVC tracks {' and '.join(map(str, untracked))}. Before experiments with --temp or in "
            f"the queue: make track MODEL={name}",
            file=sys.stderr,
        )


def validate(model: str | None, profile: str | None) -> None:
    """Fill in what entries of params.yaml leave out, and check it as a whole."""
    from octet.graph import profiles
    from octet.project import copies, entries, killed_dvc
    from octet.project.calibration import check_calibration, check_engines
    from octet.project.splits import check_splits

    for line in killed_dvc.remove_damaged():
        print(line, file=sys.stderr)
    if profile is not None:
        usable(profile, "NAME")
    entries.fill()
    loaded, names = _models(model)
    for name in names:
        entry = loaded.models[name]
        copies.refresh(name)
        entries.present(name, entry.config, entry.checkpoint, entry.data, entry.onnx is not None)
        if profile is None:  # make tune may be about to write it anew
            profiles.target(entry.target)
        check_calibration(name, entry)
        check_engines(name, entry)
        check_splits(name, entry, entry.evaluate.split)


def track(model: str | None) -> None:
    """Give models' checkpoints and data to DVC, and what is small to git's index, as experiments with --temp need it."""
    from octet.project.track import track as give

    loaded, names = _models(model)
    for name in names:
        print("\n".join(f"{name}: {line}" for line in give(name, loaded.models[name])))
    print("git has the small files in its index; 'git commit' keeps them")


def partition(model: str | None) -> None:
    """Write the parts of models that are cut into several."""
    from octet.ncnn.partition import write

    loaded, names = _models(model)
    for name in names:
        folder, cut_at = ModelFolder(name), loaded.models[name].partition
        if cut_at:
            _require(name, _ncnn_files(folder))
            print(f"{folder.parts}: {write(folder, cut_at)} parts of fp32 and of int8")
        else:
            shutil.rmtree(folder.parts, ignore_errors=True)


def summary(model: str | None) -> None:
    """Print the result tables."""
    from octet.report.tables import tables

    for k, paragraph in enumerate(tables(*_models(model), model)):
        print(f"\n{paragraph}" if k else paragraph)


def check(model: str | None) -> None:
    """Fail where int8 loses more than max_drop_pt, has less SQNR than min_sqnr_db, or falls short on a device."""
    from octet.check.verdicts import Verdict, problems, verdicts

    loaded, names = _models(model)
    given: list[Verdict] = []
    for name in names:
        for verdict in verdicts(name, loaded.models[name], loaded.check):
            print("".join(f"{line}\n" for line in verdict.lines), end="", file=sys.stderr)
            given.append(verdict)
    if what := problems(given):
        raise OctetError(what)


def predict(model: str | None, image: list[str]) -> None:
    """Ask torch, ncnn fp32 and ncnn int8 on images, side by side."""
    loaded, names = _models(model)
    for name in names:
        folder = ModelFolder(name)
        _require(name, [folder.preprocess, *_ncnn_files(folder), *([] if image else _predictions(folder))])
    from octet.predict.predict import predict as ask
    from octet.project.provenance import check_unchanged

    for name in names:
        folder = ModelFolder(name)
        check_unchanged(name, [folder.onnx, folder.preprocess, *_ncnn_files(folder)])
        print(ask(name, loaded.models[name], loaded.models[name].evaluate.split, image, REPORTS / name / "predict.png"))


def report(model: str | None) -> None:
    """Write the report, one HTML page a model."""
    from octet.report.page import write

    loaded, names = _models(model)
    for name in names:
        out = REPORTS / name / "report.html"
        write(name, loaded.models[name], out)
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def package(model: str | None, engine: str, runner: bool) -> None:
    """Write the int8 model with all that is needed to use it as one zip, for ncnn or another engine that it names."""
    from octet.package import bundle, engine_bundle
    from octet.package.programs import runner_files

    if runner and engine != "ncnn":
        raise OctetError(f"the runner runs ncnn's files, not {engine}'s: leave RUNNER or ENGINE out")

    loaded, names = _models(model)
    programs = runner_files() if runner else {}
    for name in names:
        entry, other = loaded.models[name], engine != "ncnn"
        if other and engine not in entry.onnx_engines:
            names_them = ", ".join(["ncnn", *entry.onnx_engines])
            raise OctetError(
                f"{name}: has no int8 for {engine!r}, only for {names_them}: params.yaml's 'engines' names them"
            )
        out = DIST / (f"{name}-int8-{engine}.zip" if other else f"{name}-int8.zip")
        files = (
            engine_bundle.package(name, engine, out) if other else bundle.package(name, entry.checkpoint, out, programs)
        )
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {len(files)} files: {', '.join(files)}")


def example(model: str | None) -> None:
    """Build the C++ example of the zip as static programs, for aarch64 and x86-64."""
    from octet.package.programs import build_examples

    for name in _models(model)[1]:
        for program in build_examples(name, DIST):
            print(f"{program}: {program.stat().st_size:,} bytes")


def dump(model: str | None) -> None:
    """Write what fp32 and int8 say of every test image, as JSON lines."""
    from octet.data import preprocess
    from octet.predict.dump import dump as write
    from octet.project.provenance import check_current

    for name in _models(model)[1]:
        folder, out = ModelFolder(name), REPORTS / name / "predictions.jsonl"
        _require(name, [folder.preprocess, *_predictions(folder)])
        preprocess.load(folder.preprocess).needs_classes("make dump")
        check_current(name, _predictions(folder))
        print(f"{out}: {write(folder, out):,} images")


def chart(model: str | None) -> None:
    """Draw the models beside other engines' int8 as one SVG, from what make bench-peers measured."""
    from octet.report.chart import write

    write([ModelFolder(name) for name in _models(model)[1]], CHART)
    print(f"{CHART}: written")


def runner() -> None:
    """Build the program that runs models on devices, for aarch64 and x86-64."""
    from octet.device.build import ARCHITECTURES, build

    for architecture in ARCHITECTURES:
        binary = build(architecture)
        print(f"{binary}: {binary.stat().st_size:,} bytes")


def devices() -> None:
    """Try each device of configs/devices, and print what it is."""
    from octet.device.overview import overview

    print(overview())


def device(device: str, model: str | None, images: int) -> None:
    """Run models on a device: what they answer there, and how fast."""
    from octet.device.run import measure

    loaded, names = _models(model)
    for name in names:
        print(f"{measure(device, name, loaded, images)}: written")


def tune(model: str, profile: str | None = None, device: str | None = None, runtime: str | None = None) -> None:
    """Find the fastest kernel for each layer on a device, or with another release of ncnn."""
    from octet.device.tuning import tune_elsewhere

    _models(model)
    tune_elsewhere(model, profile and usable(profile, "NAME"), device, runtime)


def best(
    model: str,
    drop: float | None,
    kl: float | None,
    minutes: float,
    holdout: int | None,
    device: str | None,
    check: bool,
) -> None:
    """Find the fastest int8 that loses no more than a budget, by DVC experiments, and write it into params.yaml."""
    from octet.best.command import check as check_arguments
    from octet.best.command import find_best

    if check:
        loaded, _ = _models(model)
        check_arguments(params.model(loaded, model), drop, kl, minutes, holdout, device)
        return
    find_best(model, drop, kl, minutes, holdout, device, REPORTS / model)


def runtimes(model: str | None, images: int, runtimes: list[str], device: str | None) -> None:
    """Run models on other releases of ncnn, here or on a device: what they answer there, and what int8 wins."""
    from octet.device.runtimes import measure

    loaded, names = _models(model)
    for name in names:
        print(f"{measure(name, loaded, images, ' '.join(runtimes).split(), device or '')}: written")


def device_clean(device: str) -> None:
    """Remove what was put on a device."""
    from octet.device.overview import clean

    clean(device)


def zoo(find: str | None) -> None:
    """List the models of mmcls's zoo."""
    from octet.zoo.listing import table

    print(table(find))


def env() -> None:
    """Print what a bug report needs."""
    from octet.project.environment import environment

    try:
        target = ", ".join(dict.fromkeys(entry.target for entry in params.load().models.values()))
    except OctetError:
        target = None
    print(environment(target))


def schema() -> None:
    """Write configs/params.schema.json and docs/parameters.md."""
    from octet.project.schema import write

    print(*write(), sep="\n")


def _models(model: str | None) -> tuple[Params, list[str]]:
    """All parameters, and the names of the models that are asked for, each of which is listed."""
    loaded = params.load()
    names = [model] if model else list(loaded.models)
    for name in names:
        params.model(loaded, name)
    return loaded, names


def _ncnn_files(folder: ModelFolder) -> list[Path]:
    return [file for precision in PRECISIONS for file in folder.ncnn(precision)]


def _predictions(folder: ModelFolder) -> list[Path]:
    return [folder.predictions(precision) for precision in PRECISIONS]


def _require(name: str, files: Iterable[Path]) -> None:
    require(files, f"'make quantize MODEL={name}' makes it")


COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__.replace("_", "-"): command
    for command in (
        *(add, validate, track, partition, summary, check, predict, report, package, example, dump, chart),
        *(zoo, env, schema, runner, devices, device, device_clean, tune, best, runtimes),
    )
}


if __name__ == "__main__":
    entry_point()
