"""One reader under atheris, in a process of its own: python -m tests.fuzz.guided READER [options of libFuzzer] CORPUS …

Atheris, libFuzzer for Python, tells which code an input reached and changes those that reached something new. It ends the
process at the first input that raises something else than OctetError, crashes, or takes too long or too much memory, and
leaves that input behind.
"""

from __future__ import annotations

import os
import sys

import atheris

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(1 << 21)  # before anything loads OpenCV
with atheris.instrument_imports(include=["octet"]):
    from tests.fuzz.readers import READERS

from tests.fuzz import limits


def main() -> None:
    reader = READERS[sys.argv.pop(1)]
    with limits.work_folder() as folder:
        most_mib = 0

        def one(data: bytes) -> None:
            nonlocal most_mib
            limits.clear(folder)
            took_mib = limits.run(reader, data, folder)
            if took_mib > most_mib:
                most_mib = took_mib
                print(f"most of one input: {most_mib} MiB", file=sys.stderr)

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
