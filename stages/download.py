"""Fetches a zoo model's weights, or a data set, or accepts what is there; either way it is checked."""

import argparse
from pathlib import Path

from octet.core.errors import OctetError, run
from octet.core.stage import dvc_stage
from octet.project import downloads
from octet.project.data_sets import FETCHED, fetch
from octet.project.download import download
from octet.zoo import catalogue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--weights", metavar="NAME", help="a model of mmcls's zoo")
    what.add_argument("--data", choices=FETCHED, help="a data set, into its folder in data/")
    parser.epilog = f"Without either: what the stage that DVC runs fetches, by {downloads.FILE}."
    args = parser.parse_args()
    running = dvc_stage()
    if args.data or (running and running.stage == "data_set" and not args.weights):
        name = args.data or downloads.data_set(running.key)
        print(f"{name}: {fetch(name, Path('data') / name)}")
        return
    if not args.weights and not running:
        raise OctetError(f"expected --weights NAME or --data {'|'.join(FETCHED)}")
    model = catalogue.find(args.weights) if args.weights else downloads.weights(running.key)
    fetched = download(model.url, model.file, "sha256", model.sha256)
    print(f"{model.file}: {'fetched' if fetched else 'was there'}, sha256 {model.sha256}…")


if __name__ == "__main__":
    run(main)
