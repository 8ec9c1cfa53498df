"""The bundle's texts: the model card and the examples, filled in for the model's own pre-processing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jinja2

from octet.graph.targets import Fp32Reason
from octet.package import sdk
from octet.project.provenance import Provenance

OLDEST = "20221128"  # ncnn's first release with the layers' feature masks
_CV2 = dict(nearest="NEAREST", bilinear="LINEAR", bicubic="CUBIC", area="AREA", lanczos="LANCZOS4")


def python(steps: dict[str, Any], blobs: tuple[str, str]) -> str:
    """predict.py: the pipeline's own pre-processing, bit for bit, with ncnn, numpy and Pillow.

    Pillow resizes as the pipeline does; of OpenCV's filters for 8 bits the bilinear one is written out in numpy. For
    the others the example imports OpenCV.
    """
    reader = "Image.open(name)"
    turn = "ignore_orientation" not in steps["color_type"] and steps["color_type"] != "unchanged"
    if turn:
        reader = f"ImageOps.exif_transpose({reader})"
    if steps["color_type"] != "unchanged":
        reader += f'.convert("{"L" if _grey(steps) else "RGB"}")'
    return _fill("predict.py.j2", steps, blobs, needs=", ".join(_needs(steps)), read=reader, turn=turn)


def cpp(steps: dict[str, Any], blobs: tuple[str, str]) -> str:
    order = "GRAY" if _grey(steps) else "RGB" if steps["channel_order"] == "RGB" else "RGB2BGR"
    kinds = _resizes(steps)
    return _fill(
        "predict.cpp.j2",
        steps,
        blobs,
        pixel=f"PIXEL_{order}",
        means=[f"{value!r}f" for value in map(float, steps["mean"])],
        factors=[f"{1 / value:.9g}f" for value in steps["std"]],
        plain=all(kind["plain"] for kind in kinds),
        filters=" and ".join(_filter(kind) for kind in kinds),
    )


def cmake() -> str:
    return _ENVIRONMENT.get_template("CMakeLists.txt").render()


def card(
    name: str,
    provenance: Provenance,
    steps: dict[str, Any],
    blobs: tuple[str, str],
    reasons: Mapping[Fp32Reason, list[str]],
    figures: dict[str, Any],
    sums: dict[str, str],
) -> str:
    """README.md: what the model is, what was measured, how it is used.

    provenance: the parameters that it was made with; reasons: why which layers stay in fp32.
    """
    kinds = [kind for kind in _resizes(steps) if not kind["plain"]]
    filters = " and ".join(_filter(kind) for kind in kinds)
    return _fill(
        "README.md.j2",
        steps,
        blobs,
        name=name,
        octet=version("octet"),
        oldest=OLDEST,
        s=figures["summary"],
        int8=figures["int8"],
        split=provenance.split,
        config=provenance.config,
        calibration=provenance.calibration,
        images=provenance.calibration_images,
        target=provenance.target,
        reasons={reason.value: names for reason, names in reasons.items()},
        pip=" ".join({"Pillow": "pillow", "OpenCV (cv2)": "opencv-python-headless"}.get(n, n) for n in _needs(steps)),
        cpp_note=f"It resizes by ncnn's bilinear filter; the figures above were measured with {filters}."
        if filters
        else "",
        sdk_note=_sdk_note(steps),
        geometry=[_words(step) for step in steps["geometry"]],
        sums=sums,
    )


def _fill(template: str, steps: dict[str, Any], blobs: tuple[str, str], **more: Any) -> str:
    kinds = _resizes(steps)
    geometry = [step | {"function": _function(step)} for step in steps["geometry"]]
    grey = _grey(steps)
    return _ENVIRONMENT.get_template(template).render(
        steps=steps | {"geometry": geometry}, blobs=blobs, resizes=kinds, grey=grey, channels=1 if grey else 3, **more
    )


def _grey(steps: dict[str, Any]) -> bool:
    return steps["channel_order"] == "GREY"


def _needs(steps: dict[str, Any]) -> list[str]:
    own = all(kind["plain"] or kind["backend"] == "pillow" for kind in _resizes(steps))
    return ["ncnn", "numpy", "Pillow"] + ([] if own else ["OpenCV (cv2)"])


def _resizes(steps: dict[str, Any]) -> list[dict]:
    """The resize functions that the steps need, each once. plain: can numpy alone do what OpenCV does?"""
    found = {}
    for step in steps["geometry"]:
        if "interpolation" in step:
            backend, interpolation = step["backend"], step["interpolation"]
            plain = (backend, interpolation) == ("cv2", "bilinear") and not steps["to_float32"]
            kind = {"name": _function(step), "backend": backend, "interpolation": interpolation, "plain": plain}
            found[_function(step)] = kind | {"flag": f"INTER_{_CV2[interpolation]}" if backend == "cv2" else None}
    return list(found.values())


def _function(step: dict) -> str:
    return f"resize_{step['backend']}_{step['interpolation']}" if "interpolation" in step else ""


def _filter(kind: dict) -> str:
    return f"{'Pillow' if kind['backend'] == 'pillow' else 'OpenCV'}'s {kind['interpolation']} filter"


def _sdk_note(steps: dict[str, Any]) -> str:
    if not sdk.exact(steps):
        return "Its resizing differs from the pipeline's, so its predictions may, too."
    if any(step["step"] == "CenterCrop" for step in steps["geometry"]):
        return "Its CenterCrop lies one pixel beside the pipeline's where an odd number of pixels is cut off."
    return ""


def _words(step: dict) -> str:
    """A step of the geometry as a sentence."""
    if step["step"] == "CenterCrop":
        return f"Cut to the middle {step['height']} x {step['width']} pixels."
    by = f"by {_filter(step)}"
    if step["step"] == "CropAndResize":
        share = f"{step['size']} / {step['size'] + step['padding']} of its short edge"
        return f"The middle square of {share}, resized to {step['size']} x {step['size']} pixels {by}."
    if step["edge"]:
        edge = f"{step['edge']} edge" if step["edge"] in ("short", "long") else step["edge"]
        return f"Resized so that the {edge} has {step['height']} pixels, {by}."
    return f"Resized to {step['height']} x {step['width']} pixels (height, width) {by}."


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("octet.package"),
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)
