"""python -m octet: what the Makefile asks besides the pipeline's stages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from octet import entries, params
from octet.errors import OctetError, run
from octet.files import read_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m octet", description="Octet's small commands")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("validate", "fill in what entries of zoo models leave out, and check params.yaml as a whole"),
        ("summary", "print the result tables"),
        ("check", "fail where int8 loses more than max_drop_pt"),
    ):
        commands.add_parser(name, help=what).add_argument("--model", help="one model (default: all in params.yaml)")
    commands.add_parser("zoo", help="list the models of mmcls's zoo").add_argument("--find", help="part of a name")
    adding = commands.add_parser("add", help="add a model to params.yaml, print its name")
    adding.add_argument("--model", help="its name (default: the zoo's, or the config's)")
    for key in ("zoo", "config", "checkpoint", "data"):
        adding.add_argument(f"--{key}")
    args = parser.parse_args()
    if args.command == "add":
        given = {key: value for key in ("zoo", "config", "checkpoint", "data") if (value := vars(args)[key])}
        print(entries.add(args.model, given))
        return
    if args.command == "zoo":
        from octet.zoo_table import table

        print(table(args.find))
        return
    if args.command == "validate":
        entries.fill()
    loaded = params.load("params.yaml")
    names = [args.model] if args.model else list(loaded.models)
    listed = {name: params.model(loaded, name) for name in names}
    if args.command == "validate":
        return
    found = {
        name: read_json(Path("metrics") / name / "summary.json", f"'make quantize MODEL={name}' makes it")
        for name in names
    }
    if args.command == "summary":
        from octet.summary import table

        print(table(found))
        return
    over = [name for name in names if found[name]["top1_drop_pt"] > listed[name].max_drop_pt]
    for name in names:
        verdict = "too much" if name in over else "fine"
        drop, most = found[name]["top1_drop_pt"], listed[name].max_drop_pt
        print(f"{name}: int8 loses {drop:+.2f} points of top-1, allowed are {most:.2f}: {verdict}", file=sys.stderr)
    if over:
        raise OctetError(
            f"{', '.join(over)}: the drop is over max_drop_pt; try another calibrate.method or more calibrate.images, or list "
            "layers under keep_fp32"
        )


if __name__ == "__main__":
    run(main)
