"""python -m octet: what the Makefile asks besides the pipeline's stages."""

from __future__ import annotations

import argparse
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from octet.core import params
from octet.core.errors import OctetError, run
from octet.core.files import require
from octet.core.folder import ModelFolder
from octet.core.params import Params
from octet.project import entries

if TYPE_CHECKING:
    from octet.summary.summary import Summary

REPORTS = Path("reports")  # one folder a model, as in models/ and metrics/; git does not see it
CHART = Path("docs/images/peers.svg")  # the README shows it
MODEL_FILES = "fp32.param", "fp32.bin", "int8.param", "int8.bin"
PREDICTIONS = "fp32.predictions.csv", "int8.predictions.csv"
NEW = "zoo", "config", "checkpoint", "data"  # what `add` takes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m octet", description="Octet's small commands")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__)
        if name in OF_MODELS:
            command.add_argument("--model", help="one model (default: all in params.yaml)")
        if name == "predict":
            command.add_argument("--image", nargs="+", default=[], help="images, or folders with images")
        if name == "zoo":
            command.add_argument("--find", help="part of a name")
        if name == "add":
            command.add_argument("--model", help="its name (default: the zoo's, or the config's)")
            for key in NEW:
                command.add_argument(f"--{key}")
    args = parser.parse_args()
    if args.command not in OF_MODELS:
        return COMMANDS[args.command](args)
    if args.command == "validate":
        entries.fill()
    loaded = params.load("params.yaml")
    names = [args.model] if args.model else list(loaded.models)
    for name in names:
        params.model(loaded, name)
    COMMANDS[args.command](loaded, names, args)


def env(args: Namespace) -> None:
    """Print what a bug report needs"""
    from octet.project.environment import environment

    try:
        target = params.load("params.yaml").target
    except OctetError:
        target = None
    print(environment(target))


def zoo(args: Namespace) -> None:
    """List the models of mmcls's zoo"""
    from octet.zoo.listing import table

    print(table(args.find))


def schema(args: Namespace) -> None:
    """Write configs/params.schema.json and docs/parameters.md"""
    from octet.project.schema import write

    print(*write(), sep="\n")


def add(args: Namespace) -> None:
    """Add a model to params.yaml, print its name"""
    print(entries.add(args.model, {key: value for key in NEW if (value := vars(args)[key])}))


def validate(loaded: Params, names: list[str], args: Namespace) -> None:
    """Fill in what entries of zoo models leave out, and check params.yaml as a whole"""
    for name in names:
        entry = loaded.models[name]
        entries.present(name, entry.config, entry.checkpoint, entry.data)


def summary(loaded: Params, names: list[str], args: Namespace) -> None:
    """Print the result tables"""
    from octet.summary.summary import summary_table

    print(summary_table({name: _summary(name) for name in names}))


def partition(loaded: Params, names: list[str], args: Namespace) -> None:
    """Write the parts of models that are cut"""
    from octet.ncnn.partition import write

    for name in names:
        folder, cut_at = ModelFolder(name), loaded.models[name].partition
        if cut_at:
            _require(name, "models", *MODEL_FILES)
            print(f"{folder.parts}: {write(folder, cut_at)} parts of fp32 and of int8")
        else:
            shutil.rmtree(folder.parts, ignore_errors=True)


def check(loaded: Params, names: list[str], args: Namespace) -> None:
    """Fail where int8 loses more than max_drop_pt"""
    over = []
    for name in names:
        drop, most = _summary(name).top1_drop_pt, loaded.models[name].max_drop_pt
        over += [name] if drop > most else []
        verdict = "too much" if drop > most else "fine"
        print(f"{name}: int8 loses {drop:+.2f} points of top-1, allowed are {most:.2f}: {verdict}", file=sys.stderr)
    if over:
        raise OctetError(
            f"{', '.join(over)}: the drop is over max_drop_pt; try another calibrate.method or more calibrate.images, or list "
            "layers under keep_fp32"
        )


def predict(loaded: Params, names: list[str], args: Namespace) -> None:
    """Ask torch, ncnn fp32 and ncnn int8 on images, side by side"""
    for name in names:
        _require(name, "models", "preprocess.json", *MODEL_FILES)
        if not args.image:
            _require(name, "metrics", *PREDICTIONS)
    from octet.predict.predict import predict as ask

    for name in names:
        out = REPORTS / name / "predict.png"
        print(ask(name, loaded.models[name], loaded.evaluate.split, args.image, out))


def report(loaded: Params, names: list[str], args: Namespace) -> None:
    """Write the report, one HTML page a model"""
    from octet.report.page import write

    for name in names:
        out = REPORTS / name / "report.html"
        write(name, loaded.models[name].data, out)
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def package(loaded: Params, names: list[str], args: Namespace) -> None:
    """Write the int8 model with all that is needed to use it as one zip"""
    from octet.package.bundle import package as write

    for name in names:
        out = Path("dist") / f"{name}-int8.zip"
        files = write(name, loaded.models[name].checkpoint, out)
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {len(files)} files: {', '.join(files)}")


def chart(loaded: Params, names: list[str], args: Namespace) -> None:
    """Draw the models beside other engines' int8 as one SVG, from what make bench-peers measured"""
    from octet.report.chart import write

    write([ModelFolder(name) for name in names], CHART)
    print(f"{CHART}: written")


def dump(loaded: Params, names: list[str], args: Namespace) -> None:
    """Write what fp32 and int8 say of every test image, as JSON lines"""
    from octet.predict.dump import dump as write

    for name in names:
        _require(name, "metrics", *PREDICTIONS)
        out = REPORTS / name / "predictions.jsonl"
        print(f"{out}: {write(ModelFolder(name), out):,} images")


def _summary(name: str) -> Summary:
    from octet.summary.summary import Summary

    return Summary.load(ModelFolder(name).summary, f"'make quantize MODEL={name}' makes it")


def _require(name: str, folder: str, *files: str) -> None:
    require((Path(folder) / name / file for file in files), f"'make quantize MODEL={name}' makes it")


OF_MODELS: dict[str, Callable] = {
    f.__name__: f for f in (validate, summary, partition, check, predict, report, package, chart, dump)
}
COMMANDS: dict[str, Callable] = OF_MODELS | {f.__name__: f for f in (env, zoo, schema, add)}


if __name__ == "__main__":
    run(main)
