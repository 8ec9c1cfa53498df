"""Choices that follow from what lies where: each is a name with one sentence on it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path

METHODS = Path(__file__).parents[1] / "calibrate" / "methods"
PROFILES = Path("configs/targets")  # beside params.yaml
BUILT_IN_TARGETS = {  # octet.graph.targets has what each means
    "dotprod": "for x86 with VNNI and Arm with dot product or i8mm",
    "winograd": "for older processors: as dotprod, but 3x3 convolutions may run as Winograd, with weights of 6 bits",
    "ncnn2int8": "the files are byte for byte those of ncnn2int8",
}
ENGINES = {
    "ncnn": "int8.param and int8.bin, for phones, boards and servers",
    "onnxruntime": "engines/onnxruntime.onnx, for ONNX Runtime on the CPU",
    "openvino": "engines/openvino.onnx, for OpenVINO; 'make openvino' installs it",
    "tensorrt": "engines/tensorrt.onnx, for TensorRT, which is not run here",
}


@dataclass(frozen=True)
class CalibratorNeeds:
    """What a calibrator asks of the other parameters. Its file says so in constants of these names in capitals.

    Args:
        title: What messages call it; empty: its name.
        least_images: The fewest calibration images that it works with.
        not_with: Parameters at the top of params.yaml that must be off with it, and why.
        packages: What it imports that not every Python has, and what to do where that is missing.
        computes: Does it find scales itself?
    """

    title: str = ""
    least_images: int = 1
    not_with: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    computes: bool = True

    @property
    def missing(self) -> dict[str, str]:
        """Those of `packages` that are not installed here; none is imported."""
        return {package: advice for package, advice in self.packages.items() if find_spec(package) is None}


def calibrators(_: Path | None = None) -> dict[str, str]:
    """The name of every calibrator, a file in octet/calibrate/methods, and its docstring's first line; imports none.

    >>> calibrators()["minmax"]
    'The largest magnitude seen: nothing is clipped.'
    """
    files = sorted(path for path in METHODS.glob("*.py") if not path.name.startswith("_"))
    return {path.stem: (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0] for path in files}


def computing_calibrators() -> dict[str, str]:
    """The calibrators that find scales themselves: all but `file`, which reads a table. Those are compared and timed.

    >>> "mse" in computing_calibrators(), "file" in computing_calibrators()
    (True, False)
    """
    return {name: line for name, line in calibrators().items() if calibrator_needs(name).computes}


def calibrator_needs(name: str) -> CalibratorNeeds:
    """What the calibrator of that name asks of the other parameters; read from its file, which is not imported.

    >>> calibrator_needs("ppq").least_images, calibrator_needs("mse").least_images
    (8, 1)
    """
    keys = {attribute.name.upper(): attribute.name for attribute in fields(CalibratorNeeds)}
    constants = {
        keys[target.id]: ast.literal_eval(node.value)
        for node in ast.parse((METHODS / f"{name}.py").read_bytes()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in keys
    }
    return CalibratorNeeds(**({"title": name} | constants))


def targets(folder: Path) -> dict[str, str]:
    """The target profiles: those built in, and the files in configs/targets.

    Args:
        folder: Where params.yaml lies.
    """
    files = sorted(path.stem for path in (folder / PROFILES).glob("*.yaml"))
    return BUILT_IN_TARGETS | {name: f"the profile in {PROFILES / name}.yaml" for name in files}
