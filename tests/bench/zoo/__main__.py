"""make zoo-table: which networks of mmcls's model zoo Octet brings to ncnn int8, as docs/zoo.md and docs/zoo.json.

Every network runs in a process of its own: first the smallest of each family, then the others, the small ones first. What
was measured stays in .zoo/, one file a network, and is not measured again; what failed is. docs/ is written anew after
each network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from octet.core.errors import run
from octet.core.files import read_json, write_json, write_text
from octet.core.progress import progress
from octet.zoo import catalogue
from tests.bench.zoo.apart import is_measured, measure_apart
from tests.bench.zoo.networks import Network, count_parameters, networks
from tests.bench.zoo.report import by_config, markdown

SCRATCH = Path(".zoo")
COUNTS = SCRATCH / "parameters.json"
LIMIT_S = 4 * 3600


def measured(network: Network) -> dict | None:
    path = SCRATCH / f"{network.name}.json"
    return read_json(path, "make zoo-table writes it") if path.is_file() else None


def done(network: Network) -> bool:
    return is_measured(SCRATCH / f"{network.name}.json")


def measure(network: Network) -> None:
    result = SCRATCH / f"{network.name}.json"
    measure_apart("tests.bench.zoo.measure", [network.configs[0], str(result)], result, LIMIT_S)


def write(every: list[Network]) -> None:
    results = [(network, measured(network)) for network in every]
    write_text("docs/zoo.md", markdown(results))
    write_json("docs/zoo.json", by_config(results, counted()))


def counted() -> dict[str, int]:
    """Parameters by config, of the published models; from .zoo/, or counted now."""
    if COUNTS.is_file():
        return read_json(COUNTS, "make zoo-table writes it")
    configs = sorted({model.config for model in catalogue.models().values()})
    result = {config: count_parameters(config) for config in progress(configs, "counting parameters", unit="config")}
    write_json(COUNTS, result)
    return result


def in_turn(every: list[Network]) -> list[Network]:
    """The smallest of each family, then the others; by what they cost."""
    by_cost = sorted(every, key=lambda network: network.cost)
    smallest = {network.family: network.name for network in reversed(by_cost)}
    return sorted(by_cost, key=lambda network: smallest[network.family] != network.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--find", default="", help="only networks with this in their family or name")
    word = parser.parse_args().find.lower()
    every = networks()
    chosen = [n for n in in_turn(every) if word in f"{n.family} {n.name}".lower()]
    for network in progress([n for n in chosen if not done(n)], "measuring", unit="network"):
        if not done(network):  # another run beside this one may have measured it
            measure(network)
            write(every)
    write(every)


if __name__ == "__main__":
    run(main)
