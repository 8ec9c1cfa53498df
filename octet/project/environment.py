"""make env: what a bug report needs. Imports nothing heavy: versions are read from the packages' metadata."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ncnn

from octet.benchmark.benchmark import thread_counts
from octet.core.parallel import cores
from octet.core.text import table
from octet.ncnn.machine import fitting_target, int8_kernel, processor
from octet.project.git import git

PACKAGES = [
    "ncnn",
    "pnnx",
    "torch",
    "mmcls",
    "mmcv",
    "ppq",
    "onnx",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "matplotlib",
    "dvc",
]
SHOWN = (
    "sse4_1",
    "avx",
    "fma",
    "f16c",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "avx_vnni_int8",
    "avx512_vnni",
    "asimd",
    "asimdhp",
    "asimddp",
    "asimdfhm",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "svei8mm",
)


def environment(target: str | None) -> str:
    """The lines to paste into a report of a bug.

    Args:
        target: What params.yaml says; None where it cannot be read.
    """
    model, flags = processor()
    kernel, fits = int8_kernel(flags), fitting_target(flags)
    rows = [
        ("octet", f"{version('octet')}{_commit()}"),
        ("python", f"{platform.python_version()}, {sys.executable}"),
        ("system", f"{platform.platform()}"),
        ("memory", _memory()),
        ("processor", model),
        ("features", " ".join(name for name in SHOWN if name in flags) or "not known"),
        ("ncnn's int8", f"kernels for {kernel}" if kernel else "plain C++: no kernels for this processor are known"),
        *((("onnxruntime's int8", "saturates without VNNI, docs/engines.md"),) if _saturates(flags) else ()),
        ("cores", f"{cores()} for this process, {os.cpu_count()} in all; {_clusters()} as ncnn counts them"),
        ("threads", f"benchmark times {' and '.join(map(str, thread_counts()))}; the other stages use all cores"),
        ("target", f"{fits} fits this processor" + (f"; params.yaml has {target}" if target else "")),
        *((name, installed_version(name)) for name in PACKAGES),
    ]
    return table(rows, align="ll")


def _saturates(flags: set[str]) -> bool:
    """Whether ONNX Runtime's int8 kernels may add two products in 16 bits here: x86 without VNNI."""
    return "sse4_1" in flags and not flags & {"avx_vnni", "avx512_vnni"}


def installed_version(name: str) -> str:
    """A package's version, or that it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit of the project's folder, if it is one, and whether something in it is changed."""
    answer = git("describe", "--always", "--dirty")
    return f", {answer.problem}" if answer.problem else f", commit {answer.text.strip()}"


def _clusters() -> str:
    return f"{ncnn.get_big_cpu_count()} big and {ncnn.get_little_cpu_count()} little"


def _memory() -> str:
    info = Path("/proc/meminfo")
    if not info.is_file():
        return "not known"
    fields = dict(line.split(":", 1) for line in info.read_text(encoding="utf-8").splitlines())
    total, free = (int(fields[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    return f"{total:.1f} GiB, {free:.1f} GiB available"
