"""make runner, make example: programs on ncnn, cross-built as one static binary an architecture, by compilers that pip installs.

zig's C++ compiler brings its own libraries for every system (musl here, so the binary runs on any Linux and on Android);
CMake and Ninja come as packages, too. All of it lies in .venv-runner and .runner, which git does not see.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import write_text
from octet.core.progress import bar
from octet.device.source import VERSION, unpacked

FOLDER = Path(".runner")
ENVIRONMENT = Path(".venv-runner")
ARCHITECTURES = ("aarch64", "x86_64")
_CONFIGURED = "configured.txt"  # beside a binary: with which settings it is built
_SOURCE = Path(__file__).parent / "runner"
# ncnn asks the compiler for -march=armv8.2-a+fp16+dotprod and the like, which zig calls -mcpu=generic+v8_2a+fullfp16+dotprod,
# and zig's clang wants AVX-512's full width named.
_COMPILER = """#!/bin/sh
for argument; do
    shift
    case $argument in
    -march=armv8*-a*)
        argument=-mcpu=generic+$(echo "${argument#-march=arm}" | sed 's/\\./_/; s/-a/a/; s/+fp16\\b/+fullfp16/') ;;
    -mavx512f) set -- "$@" -mevex512 ;;
    esac
    set -- "$@" "$argument"
done
exec ZIG TOOL -target ARCHITECTURE-linux-musl "$@"
"""
_STATIC = "-static -s -Wl,--gc-sections"
_TOOLCHAIN = """set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR {architecture})
set(CMAKE_C_COMPILER {bin}/cc)
set(CMAKE_CXX_COMPILER {bin}/c++)
set(CMAKE_AR {bin}/ar)
set(CMAKE_RANLIB {bin}/ranlib)
set(CMAKE_C_FLAGS_INIT -fno-sanitize=undefined)
set(CMAKE_CXX_FLAGS_INIT -fno-sanitize=undefined)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
"""
# x86-64 has kernels for SSE2, for AVX2 with FMA, and for AVX-512 with VNNI, as far as the processor goes. What few processors
# have besides would more than double the time and the binary.
_SETTINGS = {
    "aarch64": {},
    "x86_64": dict.fromkeys(("FMA", "F16C", "AVX2", "AVX512", "AVX512VNNI"), "ON")
    | dict.fromkeys(("AVX", "FMA4", "XOP", "AVXVNNI", "AVXVNNIINT8", "AVXVNNIINT16", "AVXNECONVERT"), "OFF")
    | dict.fromkeys(("AVX512FP16", "AVX512BF16", "BF16"), "OFF"),
}


def binary(architecture: str, release: str = VERSION) -> Path:
    """Where the runner of an architecture lies once it is built, with the locked ncnn or with another release."""
    return FOLDER / (architecture if release == VERSION else f"{architecture}-{release}") / "runner"


def build(architecture: str, release: str = VERSION) -> Path:
    """Builds the runner, or what of it has changed.

    Args:
        architecture: aarch64 or x86_64.
        release: Of ncnn.

    Returns:
        The binary.

    Raises:
        OctetError: The compilers are not installed, ncnn's source cannot be had, or it does not build.
    """
    zig, source = compiler(), ncnn_source(release)
    folder = binary(architecture, release).parent.resolve()
    toolchain = folder / "toolchain.cmake"
    settings = [f"-DNCNN_SOURCE={source.resolve()}", f"-DNCNN_VERSION={release.rpartition('.')[2]}"]
    settings += (
        ["-DCMAKE_POLICY_VERSION_MINIMUM=3.5"] if release != VERSION else []
    )  # before 2025-04 they ask for CMake 2.8
    settings += [f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib"]
    settings += [f"-DNCNN_{name}={value}" for name, value in _SETTINGS[architecture].items()]
    _remove_of_other_settings(folder, settings)
    _write_tools(folder / "bin", architecture, zig.resolve())
    write_text(toolchain, _TOOLCHAIN.format(architecture=architecture, bin=folder / "bin"))
    if not (folder / "build.ninja").is_file():
        write_text(folder / _CONFIGURED, "\n".join(settings))
        configure = ["cmake", "-G", "Ninja", "-S", str(_SOURCE.resolve()), "-B", str(folder), *settings]
        _run(configure, folder, f"runner, {architecture}: asking the compiler")
    _run(["ninja", "-C", str(folder), "runner"], folder, f"runner, {architecture}")
    return binary(architecture, release)


def build_program(architecture: str, source: Path, name: str) -> Path:
    """Builds a CMake project that finds ncnn, such as the example of a bundle, as one static binary.

    Args:
        architecture: aarch64 or x86_64.
        source: The folder with its CMakeLists.txt. What is built lies below it, in `build-ARCHITECTURE`.
        name: Of its program.

    Returns:
        The binary.

    Raises:
        OctetError: As build.
    """
    build(architecture)  # and with it the ncnn that the runner links
    folder = (FOLDER / architecture).resolve()
    build_folder = (source / f"build-{architecture}").resolve()
    build_folder.mkdir(parents=True, exist_ok=True)
    what = f"{name}, {architecture}"
    _run(["cmake", "--install", str(folder / "ncnn"), "--prefix", str(folder / "sdk")], build_folder, what)
    configure = ["cmake", "-G", "Ninja", "-S", str(source.resolve()), "-B", str(build_folder)]
    configure += [f"-DCMAKE_TOOLCHAIN_FILE={folder / 'toolchain.cmake'}", "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-Dncnn_DIR={folder / 'sdk' / 'lib' / 'cmake' / 'ncnn'}", f"-DCMAKE_EXE_LINKER_FLAGS={_STATIC}"]
    _run(configure, build_folder, what)
    _run(["ninja", "-C", str(build_folder), name], build_folder, what)
    return build_folder / name


def compiler() -> Path:
    """zig, whose folder has its libraries and their licences. Raises OctetError where it is not installed."""
    zig = next(ENVIRONMENT.glob("lib/python*/site-packages/ziglang/zig"), None)
    if zig is None:
        raise OctetError(f"{ENVIRONMENT}: has no compiler; 'make runner' installs it")
    return zig


def ncnn_source(release: str = VERSION) -> Path:
    """The folder of the source of a release of ncnn. Raises OctetError where it is not there and cannot be fetched."""
    return unpacked(FOLDER, ENVIRONMENT / "bin" / "python", release)


def _remove_of_other_settings(folder: Path, settings: list[str]) -> None:
    """Removes what was built with another ncnn, in another place or otherwise: CMake and Ninja would go on with that."""
    configured = folder / _CONFIGURED
    if configured.is_file():
        stale = configured.read_text("utf-8", "replace") != "\n".join(settings)
    else:
        stale = (folder / "build.ninja").is_file()
    if stale:
        shutil.rmtree(folder)


def _write_tools(folder: Path, architecture: str, zig: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for tool in ("cc", "c++", "ar", "ranlib"):
        script = f'#!/bin/sh\nexec ZIG {tool} "$@"\n' if tool in ("ar", "ranlib") else _COMPILER
        script = (
            script.replace("TOOL", tool).replace("ARCHITECTURE", architecture).replace("ZIG", shlex.quote(str(zig)))
        )
        path = folder / tool
        if not path.is_file() or path.read_text("utf-8") != script:
            path.write_text(script, "utf-8")
            path.chmod(0o755)


def _run(command: list[str], folder: Path, what: str) -> None:
    """Runs a tool of the environment; its output goes to a log, and Ninja's steps to the progress bar."""
    path = os.pathsep.join([str((ENVIRONMENT / "bin").resolve()), os.environ.get("PATH", "")])
    if shutil.which(command[0], path=path) is None:
        raise OctetError(f"{ENVIRONMENT}: has no {command[0]}; remove the folder, and 'make runner' installs it")
    environment = os.environ | {
        "PATH": path,
        "NINJA_STATUS": "[%f/%t] ",
        "ZIG_GLOBAL_CACHE_DIR": str((FOLDER / "zig-cache").resolve()),
    }
    log = folder / "build.log"
    with (
        log.open("w", encoding="utf-8") as kept,
        bar(what, None, "step") as shown,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            kept.write(line)
            done, _, total = line.partition("]")[0].removeprefix("[").partition("/")
            if line.startswith("[") and done.isdigit() and total.isdigit():
                shown.total = int(total)
                shown.update(int(done) - shown.n)
    if process.returncode:
        first = next(
            (line for line in log.read_text("utf-8", "replace").splitlines() if "error" in line.lower()), "no word why"
        )
        raise OctetError(f"{what}: does not build: {first.strip()}; all of it is in {log}")
