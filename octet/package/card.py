"""The bundle's model card: what the model is, what was measured, how it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from octet.device import runtimes_record
from octet.device.record import DeviceFigures, columns
from octet.device.runtimes_record import Runtimes
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.fidelity import Fidelity
from octet.graph.targets import Fp32Reason
from octet.package import sdk
from octet.package.examples import Blobs, fill
from octet.package.geometry import Steps, needs, resizes, sentence
from octet.project.provenance import Provenance
from octet.quantize.fp32_layers import by_reason
from octet.summary.summary import Summary

OLDEST = "20221128"  # ncnn's first release with the layers' feature masks
_PIP = {"Pillow": "pillow", "OpenCV (cv2)": "opencv-python-headless"}  # where the package has another name


def card(
    name: str,
    provenance: Provenance,
    steps: Steps,
    blobs: Blobs,
    fp32_layers: Mapping[str, Fp32Reason],
    summary: Summary,
    int8: Accuracy | Fidelity,
    sums: Mapping[str, str],
    devices: Sequence[DeviceFigures],
    runtimes: Sequence[Runtimes],
    without_sdk: str,
) -> str:
    """README.md.

    Args:
        name: The model's.
        provenance: The parameters that it was made with.
        steps: What preprocess.json holds.
        blobs: The names of the network's input and output.
        fp32_layers: The layers that stay in fp32, and why.
        summary: fp32 beside int8.
        int8: The accuracy of int8, or its outputs.
        sums: The sha256 of each file of the bundle.
        devices: Figures of these files on devices.
        runtimes: Figures of these files on releases of ncnn.
        without_sdk: Why the bundle has no files for MMDeploy's SDK; '' where it has them.
    """
    filters = " and ".join(way.words for way in resizes(steps) if not way.plain)
    return fill(
        "README.md.j2",
        steps,
        blobs,
        name=name,
        octet=version("octet"),
        oldest=OLDEST,
        summary=summary,
        machine=summary.machine,
        int8=int8,
        split=provenance.split,
        source=provenance.source,
        calibration=provenance.calibration,
        images=provenance.calibration_images,
        target=provenance.target,
        rounded=provenance.rounded(),
        equalized=provenance.equalize,
        reasons=by_reason(fp32_layers),
        pip=" ".join(pip_names(needs(steps))),
        cpp_note=f"It resizes by ncnn's bilinear filter; the figures above were measured with {filters}."
        if filters
        else "",
        without_sdk=without_sdk,
        sdk_notes=_sdk_notes(steps),
        geometry=[sentence(step, steps) for step in steps["geometry"]],
        sums=sums,
        devices=columns(devices) if devices else None,
        runtimes=[(of, runtimes_record.columns(of)) for of in runtimes],
    )


def pip_names(packages: Sequence[str]) -> list[str]:
    """What pip calls the packages."""
    return [_PIP.get(package, package) for package in packages]


def _sdk_notes(steps: Steps) -> list[str]:
    notes = []
    if not sdk.exact(steps):
        notes.append("Its resizing differs from the pipeline's, so its predictions may, too.")
    elif any(step["step"] == "CenterCrop" for step in steps["geometry"]):
        notes.append("Its CenterCrop lies one pixel beside the pipeline's where an odd number of pixels is cut off.")
    if steps["to_half"]:
        notes.append("It does not round its input to fp16 (ToHalf), as the pipeline does.")
    return notes
