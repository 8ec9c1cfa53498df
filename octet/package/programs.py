"""What of the bundle is compiled: the runner that it may carry, and its C++ example, for each architecture."""

from __future__ import annotations

from pathlib import Path

from octet.core.files import write_bytes
from octet.core.folder import ModelFolder
from octet.device.build import ARCHITECTURES, FOLDER, build, build_program, compiler, ncnn_source
from octet.package.bundle import cpp_example

LICENCES = "runner-licenses.txt"
# What is linked into the runner, and where its licence lies: below ncnn's source, or below the compiler's folder.
_OF_ZIG = {
    "musl, the C library": "lib/libc/musl/COPYRIGHT",
    "libc++, the C++ library": "lib/libcxx/LICENSE.TXT",
    "libc++abi": "lib/libcxxabi/LICENSE.TXT",
    "libunwind": "lib/libunwind/LICENSE.TXT",
    "zig's compiler-rt": "LICENSE",
}


def runner_files() -> dict[str, bytes]:
    """The runner of each architecture and the licences of what is in it, by their names in the bundle.

    Raises:
        OctetError: The runner cannot be built.
    """
    files = {f"runner-{architecture}": build(architecture).read_bytes() for architecture in ARCHITECTURES}
    licences = {"ncnn": ncnn_source() / "LICENSE.txt"}
    licences |= {what: compiler().parent / path for what, path in _OF_ZIG.items()}
    texts = [f"{what}\n{'=' * len(what)}\n\n{path.read_text('utf-8').strip()}\n" for what, path in licences.items()]
    head = "The runner is part of Octet (Apache License 2.0). These are linked into it, each with its own licence:\n"
    head += "".join(f"- {what}\n" for what in licences)
    return files | {LICENCES: "\n\n".join([head, *texts]).encode()}


def build_examples(name: str, out: Path) -> list[Path]:
    """Builds the bundle's C++ example for each architecture, with ncnn inside: a static program of its own.

    Args:
        name: The model's.
        out: The folder that they go to.

    Returns:
        The programs.

    Raises:
        OctetError: The model is not made yet, or the example does not build.
    """
    source, programs = FOLDER / "example" / name, []
    for file, content in cpp_example(ModelFolder(name)).items():
        write_bytes(source / file, content)
    for architecture in ARCHITECTURES:
        program = build_program(architecture, source, "predict")
        programs.append(out / f"{name}-predict-{architecture}")
        write_bytes(programs[-1], program.read_bytes())
        programs[-1].chmod(0o755)
    return programs
