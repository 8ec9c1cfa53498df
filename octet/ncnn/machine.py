"""Which machine this is: processor, cores, and what of it ncnn's int8 uses."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import ncnn

from octet.core.parallel import cores

# The instructions for which ncnn has int8 kernels of their own, the fastest first, as /proc/cpuinfo names them
# (src/layer/x86/convolution_im2col_gemm_int8.h and src/layer/arm/convolution_im2col_gemm_int8.h).
INT8_KERNELS = ("avx512_vnni", "avx_vnni_int8", "avx_vnni", "avx2", "i8mm", "asimddp", "asimd")
DOT_PRODUCT = ("avx512_vnni", "avx_vnni_int8", "avx_vnni", "i8mm", "asimddp")


def machine() -> dict[str, Any]:
    """Processor, cores, what its int8 can use, and ncnn's version, for a figure's JSON."""
    wanted = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "asimddp", "i8mm")
    model, flags = processor()
    return {
        "cpu": model,
        "cores": cores(),
        "features": [name for name in wanted if name in flags],
        "ncnn": ncnn.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor() -> tuple[str, set[str]]:
    """The processor's name, and the features that the operating system names."""
    model, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if not info.is_file():
        return model, set()
    lines = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
    fields = {key.strip().lower(): value.strip() for key, _, value in lines if key.strip()}
    return fields.get("model name", model), set((fields.get("flags") or fields.get("features") or "").split())


def int8_kernel(flags: set[str]) -> str | None:
    """The instructions that ncnn's int8 convolutions use on a processor with these features; None: plain C++."""
    return next((name for name in INT8_KERNELS if name in flags), None)


def fitting_target(flags: set[str]) -> str:
    """The built-in target profile for a processor with these features."""
    return "dotprod" if flags & set(DOT_PRODUCT) else "winograd"
