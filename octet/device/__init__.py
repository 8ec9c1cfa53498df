"""The device itself: a runner that is built from pip alone, how to reach a phone or board, and its figures.

source.py           ncnn's source; build.py: the runner and the bundle's C++ example from it; runner/: the runner itself
devices.py          configs/devices; connections.py: how each is reached; overview.py: make devices, make device-clean
claims.py           who works on a device
session.py          the runner and a run's files on a device; inputs.py: what it is given; answers.py: what comes back
run.py              make device; figures.py: what is measured; record.py: its file and table; check.py: what make check asks of it
tuning.py           make tune on a device or with another release of ncnn
releases.py         other releases of ncnn; on_release.py: one of them; runtimes.py: make runtimes; runtimes_record.py: its file
"""
