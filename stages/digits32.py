"""Draws the data set digits32: data/digits32/, in the layout of CIFAR-10's binary version."""

import argparse

from octet.core import errors
from octet.data import cifar
from octet.reference import digits32, params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, help="number of training images, a multiple of 500")
    parser.add_argument("--test", type=int, help="number of test images, a multiple of 500")
    parser.add_argument("--seed", type=int, help="another seed draws other images")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.epilog = f"What is not given is as {params.DRAWN} says."
    args = parser.parse_args()
    if None in (args.train, args.test, args.seed):
        settings = params.drawn()
        for key, value in vars(args).items():
            if value is None:
                setattr(args, key, getattr(settings, key))
    for name in ("train", "test"):
        if getattr(args, name) < digits32.CHUNK or getattr(args, name) % digits32.CHUNK:
            raise errors.OctetError(f"digits32.{name}: expected a multiple of 500, found {getattr(args, name)}")
    train = digits32.draw(args.train, args.seed, split=0)
    test = digits32.draw(args.test, args.seed, split=1)
    cifar.write(args.out, train, test, digits32.CLASSES)


if __name__ == "__main__":
    errors.run(main)
