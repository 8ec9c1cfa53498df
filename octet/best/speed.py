"""How fast int8 is: timed in turn with fp32, both loaded anew in each round, here or on a device, as the tuner times."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octet.core.engines.engine import load
from octet.core.errors import OctetError
from octet.core.files import figure
from octet.core.folder import ModelFolder, NcnnFiles
from octet.core.text import printable
from octet.ncnn.engine import Engine, Floats
from octet.ncnn.layer import Layer
from octet.ncnn.machine import machine, processor
from octet.ncnn.net import load_net
from octet.tune.bench import Bench
from octet.tune.command import input_shape
from octet.tune.compare import Round, Timer, in_turn

if TYPE_CHECKING:
    from octet.device.session import Session

ROUNDS, LEAST_ROUNDS = 12, 4
_SECONDS = 8.0  # for the rounds of one candidate, as long as there are LEAST_ROUNDS


def kernels(layers: Sequence[Layer]) -> str:
    """What a network's speed depends on, as a checksum: its layers and their whole-number parameters.

    Two int8 networks that differ in weights and in parameters with a point alone, as those of two calibrators do, run the same
    kernels.

    Args:
        layers: The network's.
    """
    lines = []
    for layer in layers:
        numbers = [f"{key}={value}" for key, value in layer.params.items() if not {".", "e"} & set(value)]
        lines.append(" ".join([layer.type, layer.name, *layer.inputs, *layer.outputs, *numbers]))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class Stopwatch:
    """Times a model's int8 beside its fp32, one image on one thread.

    Args:
        folder: The model's, with fp32's files and preprocess.json.
        device: A device of configs/devices; None: this machine.
        scratch: A folder for networks while they are timed.

    Raises:
        OctetError: The device cannot be reached or is an emulator.
    """

    def __init__(self, folder: ModelFolder, device: str | None, scratch: Path):
        self.fp32, self._device, self._scratch = folder.fp32, device, scratch
        self._preprocess = folder.preprocess
        self.net = load_net(*folder.fp32)
        if device is None:
            about = machine()
            self.place = f"{about['cpu']}, {about['cores']} cores, ncnn {about['ncnn']}"
            self._bench = self.bench({})
            return
        self._session = _session(device)
        info = self._session.info
        self.place = f"{device}: {printable(str(info['cpu']))}, ncnn {printable(str(info['ncnn']))}"
        self._bench = self.bench({})

    def bench(self, inputs: dict[str, np.float32]) -> Bench:
        """What times networks of this model there.

        Args:
            inputs: The layers' input scales, for what makes networks, too.
        """
        shape = input_shape(self.net, self._preprocess, None)
        image = np.random.Generator(np.random.PCG64(0)).normal(0, 1, shape).astype(np.float32)
        if self._device is None:
            return Bench(self.net, inputs, image, self._scratch, "asimdhp" in processor()[1])
        from octet.device.tuning import DeviceBench

        fp16 = "asimdhp" in self._session.info["features"]
        return DeviceBench(self._session, self.net, inputs, image, self._scratch, fp16)

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

        return _ratio(in_turn(lambda: timer(Engine(*self.fp32)), lambda: timer(load(engine, model))))

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
