"""What a processor's features mean for ncnn's int8."""

import pytest

from octet.ncnn.machine import fitting_target, int8_kernel

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("flags", "kernel", "target"),
    [
        ("sse4_1 avx2 avx512f avx512_vnni", "avx512_vnni", "dotprod"),  # Ice Lake, Zen 4
        ("avx2 avx_vnni", "avx_vnni", "dotprod"),  # Alder Lake
        ("avx2 f16c", "avx2", "winograd"),  # Haswell, Zen
        ("asimd asimdhp asimddp", "asimddp", "dotprod"),  # Cortex-A76
        ("asimd crc32", "asimd", "winograd"),  # Cortex-A72
        ("", None, "winograd"),
    ],
)
def test_what_fits_a_processor(flags, kernel, target):
    assert (int8_kernel(set(flags.split())), fitting_target(set(flags.split()))) == (kernel, target)
