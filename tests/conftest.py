"""The same in every test on every machine: how hypothesis runs, and what ONNX Runtime computes."""

import os

# A damaged image may claim to be of any size: OpenCV would make room for 2**30 pixels before it sees that there are none.
# It reads this once, at the first image.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(2**21)

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "octet",
    derandomize=True,
    deadline=None,  # a busy machine is no fault
    database=None,  # nothing is left in the folder
    report_multiple_bugs=False,  # one fault is made small, not all at once: that takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("octet")


@pytest.fixture
def exact_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's int8 in 32 bits everywhere: by default it clamps sums of two products to 16 bits on x86 without VNNI.

    Source: `session.x64quantprecision` in its onnxruntime_session_options_config_keys.h.
    """
    import onnxruntime

    default = onnxruntime.SessionOptions

    def options() -> onnxruntime.SessionOptions:
        exact = default()
        exact.add_session_config_entry("session.x64quantprecision", "1")
        return exact

    monkeypatch.setattr(onnxruntime, "SessionOptions", options)
