"""make fuzz: each reader in turn under atheris, for so many minutes in all; what is found becomes a case.

    python -m tests.fuzz --minutes 60 [--reader image]

Atheris comes as a wheel for Linux on x86-64, Python 3.11 to 3.13; where it is not installed, unguided mutations take its place.
A case lies in tests/fuzz/cases/READER/, where `make test` tries it from then on. The corpus, what reached new code, stays in
.fuzz/. Every reader has a turn, however few the minutes are.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from octet.core.errors import OctetError, run
from octet.core.text import table
from tests.fuzz import limits
from tests.fuzz.mutate import mutations
from tests.fuzz.readers import READERS, ROOT, FuzzReader

CASES, WORK = Path(__file__).parent / "cases", ROOT / ".fuzz"
ATHERIS = Path(sys.prefix) / "fuzz"  # where `make fuzz` installs it, by requirements-fuzz.lock
LONGEST_BYTES = 1 << 16  # of an input
_ROUND_S = 60  # of one reader at a time, at most
_HANGS_S = 30  # by the clock


@dataclass
class Tally:
    """What became of a reader: how many inputs it was given, the seconds, the most that one took, the cases that were found."""

    inputs: int = 0
    seconds: float = 0.0
    most_mib: int = 0
    found: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--reader", choices=READERS, help="one of them (default: all)")
    args = parser.parse_args()
    guided = (ATHERIS / "atheris").is_dir()
    if not guided:
        print(
            "atheris, which has wheels for Linux on x86-64 and Python 3.11 to 3.13, is not installed: mutations without a guide",
            file=sys.stderr,
        )
    readers = [READERS[args.reader]] if args.reader else list(READERS.values())
    tallies, end = {reader.name: Tally() for reader in readers}, time.monotonic() + 60 * args.minutes
    share_s = 60 * args.minutes / len(readers)
    each, start_s = share_s / math.ceil(share_s / _ROUND_S), 0.0
    for reader, number in ((reader, number) for number in itertools.count() for reader in readers):
        if number and time.monotonic() >= end:
            break
        tally, given_s, before_s = tallies[reader.name], max(1.0, each - start_s), tallies[reader.name].seconds
        (_guided if guided else _unguided)(reader, given_s, number, tally)
        start_s = max(0.0, tally.seconds - before_s - given_s)  # a process begins, in seconds that are no fuzzing
        print(
            f"{reader.name}: {tally.inputs:,} inputs in {tally.seconds:.0f} s, {tally.found} found",
            file=sys.stderr,
            flush=True,
        )
    rows = [
        [name, f"{t.inputs:,}", f"{t.seconds:.0f}", f"{t.most_mib}", f"{t.found}"]
        for name, t in sorted(tallies.items())
    ]
    total = [f"{sum(t.inputs for t in tallies.values()):,}", f"{sum(t.seconds for t in tallies.values()):.0f}"]
    rows.append(
        ["all", *total, f"{max(t.most_mib for t in tallies.values())}", f"{sum(t.found for t in tallies.values())}"]
    )
    print(table(rows, ["reader", "inputs", "s", "MiB of one", "found"]))
    if any(tally.found for tally in tallies.values()):
        raise OctetError(f"what was found lies in {CASES.relative_to(ROOT)}/: mend it, and keep it there")


def _guided(reader: FuzzReader, seconds: float, number: int, tally: Tally) -> None:
    corpus, words = WORK / reader.name / "corpus", WORK / reader.name / "words"
    result = WORK / reader.name / "found"
    for folder in (corpus, result):
        folder.mkdir(parents=True, exist_ok=True)
    with limits.work_folder() as folder:
        seeds = reader.seeds(folder)
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words.write_text(
        "".join(
            f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word[:60])}"\n' for word in (*reader.words, b"-1", b"1e400")
        )
    )
    cases = CASES / reader.name
    options = [
        *(f"-max_total_time={max(1, int(seconds))}", f"-max_len={LONGEST_BYTES}", f"-artifact_prefix={result}/"),
        *(
            f"-timeout={_HANGS_S}",  # limits.run counts seconds of the processor, whatever else the machine does
            "-rss_limit_mb=4096",
            f"-seed={number + 1}",
        ),
        *("-print_final_stats=1", f"-dict={words}"),
    ]
    command = [sys.executable, "-m", "tests.fuzz.guided", reader.name, *options, str(corpus)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, *([str(cases)] if cases.is_dir() else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ATHERIS}"},
    )
    tally.seconds += time.monotonic() - began
    tally.inputs += sum(map(int, re.findall(r"number_of_executed_units: (\d+)", done.stderr)))
    tally.most_mib = max([tally.most_mib, *map(int, re.findall(r"most of one input: (\d+) MiB", done.stderr))])
    kept = [path for path in result.iterdir() if not path.name.startswith("slow-unit-")]
    for path in kept:
        _keep(reader, path.read_bytes(), path.name.split("-")[0], tally)
        path.unlink()
    if done.returncode and not kept:
        raise OctetError(f"{reader.name}: the fuzzer was ended, or failed ({done.returncode}): {done.stderr[-500:]}")
    if kept:
        print(f"{reader.name}: {_last_words(done.stderr)}", file=sys.stderr)


def _last_words(text: str) -> str:
    lines = [
        line
        for line in text.splitlines()
        if re.match(r"\s*(\w+(\.\w+)*(Error|Exception|Warning)\b|==\d+==|  File .*octet)", line)
    ]
    return "\n  ".join(lines[-6:])


def _unguided(reader: FuzzReader, seconds: float, number: int, tally: Tally) -> None:
    began = time.monotonic()
    with limits.work_folder() as folder:
        seeds = [*reader.seeds(folder), *(path.read_bytes() for path in sorted((CASES / reader.name).glob("*")))]
        for data in mutations(seeds, reader.words, seed=number + 1):
            limits.clear(folder)
            try:
                tally.most_mib = max(tally.most_mib, limits.run(reader, data[:LONGEST_BYTES], folder))
            except Exception as error:  # whatever it is, it is kept
                print(f"{reader.name}: {type(error).__name__}: {error}", file=sys.stderr)
                _keep(reader, data, "crash", tally)
            tally.inputs += 1
            if time.monotonic() - began > seconds:
                break
    tally.seconds += time.monotonic() - began


def _keep(reader: FuzzReader, data: bytes, kind: str, tally: Tally) -> None:
    path = CASES / reader.name / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    tally.found += 1


if __name__ == "__main__":
    run(main)
