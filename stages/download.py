"""Fetches a zoo model's weights, or a data set, or accepts what is there; either way it is checked."""

import argparse
from pathlib import Path

from octet.core.errors import run
from octet.project.data_sets import FETCHED, fetch
from octet.project.download import download
from octet.zoo import catalogue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", metavar="NAME", help="a model of mmcls's zoo")
    what.add_argument("--data", choices=FETCHED, help="a data set, into its folder in data/")
    args = parser.parse_args()
    if args.data:
        print(f"{args.data}: {fetch(args.data, Path('data') / args.data)}")
        return
    model = catalogue.find(args.weights)
    fetched = download(model.url, model.file, "sha256", model.sha256)
    print(f"{model.file}: {'fetched' if fetched else 'was there'}, sha256 {model.sha256}…")


if __name__ == "__main__":
    run(main)
