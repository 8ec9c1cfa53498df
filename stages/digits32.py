"""Draws the data set digits32: data/digits32/, in the layout of CIFAR-10's binary version."""

import argparse

from octet.core import errors
from octet.data import cifar
from octet.reference import digits32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, required=True, help="number of training images, a multiple of 500")
    parser.add_argument("--test", type=int, required=True, help="number of test images, a multiple of 500")
    parser.add_argument("--seed", type=int, required=True, help="another seed draws other images")
    parser.add_argument("--out", required=True, help="folder to write")
    args = parser.parse_args()
    for name in ("train", "test"):
        if getattr(args, name) < digits32.CHUNK or getattr(args, name) % digits32.CHUNK:
            raise errors.OctetError(f"digits32.{name}: expected a multiple of 500, found {getattr(args, name)}")
    train = digits32.draw(args.train, args.seed, split=0)
    test = digits32.draw(args.test, args.seed, split=1)
    cifar.write(args.out, train, test, digits32.CLASSES)


if __name__ == "__main__":
    errors.run(main)
