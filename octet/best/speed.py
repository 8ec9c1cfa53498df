"""How fast int8 is: timed in turn with fp32, both loaded anew in each round, here or on a device, as the tuner times."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octet.best.kernels import kernels
from octet.core.engines.engine import load
from octet.core.errors import OctetError
from octet.core.files import figure
from octet.core.folder import ModelFolder, NcnnFiles
from octet.core.text import printable
from octet.ncnn.engine import Floats
from octet.ncnn.machine import processor
from octet.ncnn.net import load_net
from octet.tune.bench import Bench
from octet.tune.command import input_shape
from octet.tune.compare import Round, Timer, in_turn
from octet.tune.text import named_machine

if TYPE_CHECKING:
    from octet.device.session import Session

ROUNDS, LEAST_ROUNDS = 12, 4
_SECONDS = 8.0  # for the rounds of one candidate, as long as there are LEAST_ROUNDS


class Stopwatch:
    """Times a model's int8 beside its fp32, one image on one thread.

    Attributes:
        place: Where.
        key: What its speeds are true of: the place, the kernels of the fp32 network beside which it times, and the shape of the
            input, of which no network's files say anything.

    Args:
        folder: The model's, with fp32's files and preprocess.json.
        device: A device of configs/devices; None: this machine.
        scratch: A folder for networks while they are timed.

    Raises:
        OctetError: The device cannot be reached or is an emulator.
    """

    def __init__(self, folder: ModelFolder, device: str | None, scratch: Path):
        self.fp32, self.net = folder.fp32, load_net(*folder.fp32)
        shape = input_shape(self.net, folder.preprocess, None)
        image = np.random.Generator(np.random.PCG64(0)).normal(0, 1, shape).astype(np.float32)
        if device is None:
            about = named_machine()
            self.place = f"{about['cpu']}, {about['cores']} cores, ncnn {about['ncnn']}"
            self._bench = Bench(self.net, {}, image, scratch, "asimdhp" in processor()[1])
        else:
            from octet.device.tuning import DeviceBench

            session = _session(device)
            info = session.info
            self.place = f"{device}: {printable(str(info['cpu']))}, ncnn {printable(str(info['ncnn']))}"
            self._bench = DeviceBench(session, self.net, {}, image, scratch, "asimdhp" in info["features"])
        self.key = f"{self.place}; network {kernels(self.net.layers)}, input {'x'.join(map(str, shape))}"

    def bench(self, inputs: dict[str, np.float32]) -> Bench:
        """What times networks of this model there; there is one, which close() cleans.

        Args:
            inputs: The layers' input scales, for what makes networks, too.
        """
        self._bench.inputs = inputs
        return self._bench

    def speedup(self, int8: NcnnFiles) -> float:
        """How many times as fast as fp32 it is.

        Args:
            int8: The model.
        """
        ratio = _ratio(self._bench.rounds(self.fp32, int8))
        self._bench.forget(int8)
        return ratio

    def engine_speedup(self, engine: str, model: Path) -> float:
        """The same of another engine's int8, on this machine, by the clock: its threads are its own.

        Args:
            engine: Its name.
            model: Its ONNX file.
        """

        def timer(run: Callable[[Floats], Floats]) -> Timer:
            def once() -> float:
                start = time.perf_counter_ns()
                run(self._bench.image)
                return (time.perf_counter_ns() - start) / 1000

            for _ in range(2):
                once()
            return once

        return _ratio(in_turn(lambda: timer(self._bench.engine(self.fp32)), lambda: timer(load(engine, model))))

    def close(self) -> None:
        """Removes the networks from a device."""
        self._bench.clean()


def _ratio(rounds: Round) -> float:
    """How many times as fast as the first the second is: the median of the rounds."""
    start = time.monotonic()
    pairs: list[npt.NDArray[np.float64]] = []
    while len(pairs) < LEAST_ROUNDS or (len(pairs) < ROUNDS and time.monotonic() - start < _SECONDS):
        pairs.append(rounds(len(pairs) % 2 == 1))
    return figure(float(np.median([np.median(times[:, 0]) / np.median(times[:, 1]) for times in pairs])))


def _session(name: str) -> Session:
    """The device, which has to be a real one."""
    from octet.device import devices
    from octet.device.connections import connect
    from octet.device.session import Session

    device = devices.load(name)
    if device.emulated:
        raise OctetError(
            f"make best DEVICE={name}: {devices.FOLDER / name}.yaml says that it is an emulator, whose times are no speeds; give "
            "a device, or leave DEVICE out for this machine"
        )
    return Session(connect(name, device))
