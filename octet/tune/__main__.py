"""python -m octet.tune: the tuner by itself, as it runs on a board."""

from octet.core.errors import run
from octet.tune.command import main

if __name__ == "__main__":
    run(main)
