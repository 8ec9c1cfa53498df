"""How hypothesis runs: the same examples every time and on every machine, whatever the machine is busy with."""

import os

# A damaged image may claim to be of any size: OpenCV would make room for 2**30 pixels before it sees that there are none.
# It reads this once, at the first image.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(2**21)

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
