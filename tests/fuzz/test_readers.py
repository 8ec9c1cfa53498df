"""Each reader on its valid files, on every case that was ever found, and on mutations from a fixed seed."""

import os
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from octet.core.errors import OctetError
from tests.fuzz import limits
from tests.fuzz.mutate import mutations
from tests.fuzz.readers import READERS, FuzzReader

pytestmark = pytest.mark.unit

CASES = Path(__file__).parent / "cases"
MORE = int(os.environ.get("OCTET_FUZZ", "1"))
MUTATIONS, MOST_S = 300 * MORE, 2 * MORE
TAKEN = [(name, path) for name in READERS for path in sorted((CASES / name).glob("*"))]


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(name, tmp_path):
    reader, read = READERS[name], 0
    for seed in reader.seeds(tmp_path):
        limits.clear(tmp_path)
        try:
            reader.read(seed, tmp_path)
            read += 1
        except OctetError:
            continue
    assert read or name in ("checkpoint",), "at least one is valid"


@pytest.mark.parametrize(("name", "path"), TAKEN, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_cases_that_were_found(name, path, tmp_path):
    limits.run(READERS[name], path.read_bytes(), tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_mutations(name, tmp_path):
    reader = READERS[name]
    seeds = [*reader.seeds(tmp_path), *(path.read_bytes() for path in sorted((CASES / name).glob("*")))]
    began = time.monotonic()
    for data in islice(mutations(seeds, reader.words, seed=0), MUTATIONS):
        limits.clear(tmp_path)
        limits.run(reader, data, tmp_path)
        if time.monotonic() - began > MOST_S:
            break


def busy(data, folder):
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass


def test_what_takes_too_much_is_found(tmp_path, monkeypatch):
    """The limits themselves: of memory that is used, of memory that is only asked for, and of time."""
    monkeypatch.setattr(limits, "MOST_S", 0.2)
    megabyte, many = 1 << 20, limits.MOST_MIB + 50
    for name, read in {
        "at once": lambda data, folder: bytearray(many * megabyte),
        "by and by": lambda data, folder: [b" " * megabyte for _ in range(many)],
        "slow": busy,
    }.items():
        with pytest.raises((AssertionError, MemoryError)):
            limits.run(FuzzReader(name, read, lambda folder: []), b"", tmp_path)
    modest = FuzzReader("modest", lambda data, folder: bytearray(b"x") * (100 * megabyte), lambda folder: [])
    assert 95 <= limits.run(modest, b"", tmp_path) <= 105 or sys.platform != "linux"


def test_every_folder_of_cases_is_a_reader_s():
    assert {path.name for path in CASES.iterdir()} <= set(READERS)
    assert all(path.stat().st_size < 1 << 16 for _, path in TAKEN), "cases are small"
