"""The bundle's examples in Python and in C++, filled in for the model's own pre-processing."""

from __future__ import annotations

from typing import Any

import jinja2
import numpy as np

from octet.package.geometry import Steps, is_grey, needs, resize, resizes

Blobs = tuple[str, str]  # the names of the network's input and output
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}


def python(steps: Steps, blobs: Blobs, engine: str = "ncnn") -> str:
    """predict.py: the pipeline's own pre-processing, bit for bit, with the engine, numpy and Pillow.

    Pillow resizes as the pipeline does; of OpenCV's filters for 8 bits the bilinear one is written out in numpy. For
    the others the example imports OpenCV, and to read images in grey: how OpenCV makes grey of colours differs from
    one format to another.

    Args:
        steps: What preprocess.json holds.
        blobs: The names of the network's input and output.
        engine: The engine's package: ncnn, onnxruntime or openvino.
    """
    turn = steps["color_type"] == "color" and not is_grey(steps)
    packages = ", ".join(needs(steps, engine))
    return fill("predict.py.j2", steps, blobs, engine=engine, needs=packages, turn=turn, flag=_flag(steps))


def cpp(steps: Steps, blobs: Blobs, engine: str = "ncnn") -> str:
    """predict.cpp: the same on the engine alone, with a bilinear filter as the only one. Arguments as above."""
    ways = resizes(steps)
    return fill(
        "predict.cpp.j2",
        steps,
        blobs,
        engine=engine,
        title=TITLES.get(engine, engine),
        means=[f"{float(value)!r}f" for value in steps["mean"]],
        factors=[repr(1 / float(np.float32(value))) for value in steps["std"]],
        plain=all(way.plain for way in ways),
        filters=" and ".join(way.words for way in ways),
    )


def _flag(steps: Steps) -> str:
    """How OpenCV reads an image in grey, for a network that takes it so."""
    if not is_grey(steps):
        return ""
    return f"cv2.IMREAD_GRAYSCALE{' | cv2.IMREAD_IGNORE_ORIENTATION' if 'ignore' in steps['color_type'] else ''}"


def cmake() -> str:
    """CMakeLists.txt: builds predict.cpp."""
    return _ENVIRONMENT.get_template("CMakeLists.txt").render()


def fill(template: str, steps: Steps, blobs: Blobs, **more: Any) -> str:
    """A template of this room with what all of them use, and with more."""
    geometry = [step | {"function": way.name if (way := resize(step, steps)) else ""} for step in steps["geometry"]]
    grey = is_grey(steps)
    return _ENVIRONMENT.get_template(template).render(
        steps=steps | {"geometry": geometry},
        blobs=blobs,
        resizes=resizes(steps),
        grey=grey,
        channels=1 if grey else 3,
        files_note="" if grey else " Of TIFF and PNM files that holds for 8 bits a channel without transparency.",
        blob_shapes={output["blob"]: output["shape"] for output in steps.get("outputs", [])},
        **more,
    )


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("octet.package"),
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)
