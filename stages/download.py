"""Fetches a zoo model's weights, or a data set, or accepts what is there; either way it is checked."""

import argparse
from pathlib import Path

from octet import zoo
from octet.data.fetch import FETCHED, fetch
from octet.download import download
from octet.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", metavar="NAME", help="a model of mmcls's zoo")
    what.add_argument("--data", choices=FETCHED, help="a data set, into its folder in data/")
    args = parser.parse_args()
    if args.data:
        print(f"{args.data}: {fetch(args.data, Path('data') / args.data)}")
        return
    model = zoo.find(args.weights)
    fetched = download(model.url, model.file, "sha256", model.sha256)
    print(f"{model.file}: {'fetched' if fetched else 'was there'}, sha256 {model.sha256}…")


if __name__ == "__main__":
    run(main)
