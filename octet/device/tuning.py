"""make tune DEVICE=name and RUNTIME=release: the tuner's search on a device, by the runner, or with another release of ncnn.

On a device, what is timed is what an app runs: ncnn with its default options, so that what is not int8 is fp16 where the
processor has it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.folder import ModelFolder, NcnnFiles
from octet.core.text import printable
from octet.device import devices
from octet.device.connections import connect
from octet.device.inputs import write_inputs
from octet.device.releases import environment, release, unpacked
from octet.device.session import Job, Session
from octet.graph.targets import FOLDER, Target
from octet.ncnn.engine import Floats
from octet.ncnn.net import Net
from octet.tune.bench import Bench
from octet.tune.command import tune_model
from octet.tune.compare import PAIRS, Round

WARM_UP = 2


class DeviceBench(Bench):
    """Times networks on a device.

    Args:
        session: The device.
        net, inputs, image, folder, fp16: As Bench's.
    """

    def __init__(
        self,
        session: Session,
        net: Net,
        inputs: dict[str, np.float32],
        image: Floats,
        folder: Path,
        fp16: bool,
    ):
        super().__init__(net, inputs, image, folder, fp16)
        self.session, self._pushed = session, dict[NcnnFiles, list[str]]()
        channels, height, width = image.shape
        write_inputs(folder / "inputs", 1, (channels, height, width), [image])
        self._inputs = session.names([folder / "inputs"])
        session.__enter__()  # until clean()
        try:
            session.put([folder / "inputs"])
        except BaseException:
            self.clean()
            raise

    def write(self, target: Target, name: str) -> NcnnFiles:
        """See Bench. What had the name before leaves the device, so that no more than three networks lie there."""
        files = super().write(target, name)
        self.forget(files)
        return files

    def forget(self, files: NcnnFiles) -> None:
        """See Bench. Its files leave the device."""
        before = self._pushed.pop(files, [])
        self.session.forget([there for there in before if not any(there in names for names in self._pushed.values())])

    def rounds(self, base: NcnnFiles, other: NcnnFiles) -> Round:
        """See Bench. Each round is a run of the runner, which loads both anew and lets them take turns."""
        for files in (base, other):
            if files not in self._pushed:
                self._pushed[files] = self.session.names([*files])  # first: of two files one may fail
                self.session.put([*files])

        def times(base_first: bool) -> npt.NDArray[np.float64]:
            order = (base, other) if base_first else (other, base)
            jobs = [Job(files.param.stem, "fp16", files, self.net.input, self.net.output) for files in order]
            names = [*self._inputs, *(name for files in order for name in self._pushed[files])]
            taken = self.session.time(jobs, names, threads=1, cores="big", warm_up=WARM_UP, runs=PAIRS)
            if any(len(latencies) != PAIRS for latencies in taken):
                raise OctetError(
                    f"{self.session.connection.name}: its report has not the {PAIRS} times that were asked for"
                )
            return 1000 * np.array(taken if base_first else taken[::-1], np.float64).T

        return times

    def clean(self) -> None:
        """Removes the networks from the device, as far as it still answers, and lets other commands in. Raises no error."""
        names = {*self._inputs, *(there for names in self._pushed.values() for there in names)}
        self.session.connection.remove(sorted(names))
        self.session.__exit__()


def tune_elsewhere(name: str, profile: str | None, device: str | None, runtime: str | None) -> None:
    """Tunes a model on a device, or on this machine with another release of ncnn, and writes the profile.

    Args:
        name: The model's, in params.yaml.
        profile: The profile's name; None: the model's with the device's or the release's behind it.
        device: A device of configs/devices.
        runtime: A release of ncnn.

    Raises:
        OctetError: Both are given, or none; or tuning fails.
    """
    if bool(device) == bool(runtime):
        raise OctetError(
            "make tune: DEVICE names a device and RUNTIME a release of ncnn for this machine; give one of them"
        )
    if device:
        tune_on_device(device, name, FOLDER / f"{profile or f'{name}_{device}'}.yaml")
    elif runtime:
        whole = release(runtime)
        day = whole.rpartition(".")[2]
        tune_on_release(whole, name, FOLDER / f"{profile or f'{name}_ncnn{day}'}.yaml")


def tune_on_release(name: str, model: str, out: Path) -> None:
    """Tunes a model with a release of ncnn, in a process of its own, and writes the profile.

    Args:
        name: The release.
        model: The model's, in params.yaml.
        out: The profile, configs/targets/NAME.yaml.

    Raises:
        OctetError: The release cannot be had, or does not run the model.
    """
    command = [sys.executable, "-m", "octet.tune", str(ModelFolder(model).models), "--out", str(out)]
    if subprocess.run(command, env=environment(unpacked(name)), check=False).returncode:
        raise OctetError(f"ncnn {name}: tuning ended without a profile, see above")


def tune_on_device(device_name: str, name: str, out: Path) -> None:
    """Tunes a model on a device and writes the profile.

    Args:
        device_name: A device of configs/devices.
        name: The model's, in params.yaml.
        out: The profile, configs/targets/NAME.yaml.

    Raises:
        OctetError: The device is an emulator or fails, or the model is not calibrated yet.
    """
    device = devices.load(device_name)
    if device.emulated:
        raise OctetError(
            f"make tune DEVICE={device_name}: {devices.FOLDER / device_name}.yaml says that it is an "
            "emulator, whose times are no speeds: a profile from it would choose what the emulator does fast. Tune on the device "
            "itself, or take a built-in target: docs/devices.md says which fits which processor"
        )
    session = Session(connect(device_name, device))
    benches = list[DeviceBench]()

    def bench(net: Net, inputs: dict[str, np.float32], image: Floats, folder: Path, fp16: bool) -> DeviceBench:
        benches.append(DeviceBench(session, net, inputs, image, folder, fp16))
        return benches[-1]

    fp16 = "asimdhp" in session.info["features"]
    try:
        tune_model(ModelFolder(name).models, out, words(device_name, session), bench, fp16=fp16)
    finally:
        for each in benches:
            each.clean()


def words(device_name: str, session: Session) -> str:
    """On what a profile was measured, for its head."""
    info = session.info
    about = [
        info["cpu"],
        *info["features"],
        f"{info['cores']} cores",
        info.get("architecture", ""),
        f"ncnn {info['ncnn']}",
    ]
    what = ", ".join(printable(str(word)) for word in about if word != "")
    return f"the device {device_name} ({what}), by the runner {session.runner_checksum}, with ncnn's default options"
