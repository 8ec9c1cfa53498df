"""convert: fp32.onnx becomes ncnn's fp32.param and fp32.bin, by pnnx, and is checked on real images."""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ncnn
import numpy as np
import numpy.typing as npt
import onnxruntime

from octet.core.errors import OctetError
from octet.core.files import read_bytes, write_bytes
from octet.core.folder import NcnnFiles
from octet.core.outputs import flat, largest_difference
from octet.ncnn.engine import Engine
from octet.ncnn.net import load_net, save_net

TOLERANCE = 1e-3  # of the logits' spread, between ONNX Runtime and ncnn
LIMIT_S = 3600  # pnnx takes seconds, up to minutes for the largest networks


def convert(onnx: Path, files: NcnnFiles, images: Sequence[npt.NDArray[np.float32]]) -> float:
    """Converts a model, and compares both on images.

    Args:
        onnx: The fp32 model as export wrote it.
        files: Where ncnn's go.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        The largest difference of ncnn's logits from ONNX Runtime's, as a share of their spread; of several outputs that of the
        one where it is largest.

    Raises:
        OctetError: The difference is over 1e-3, pnnx could not convert an operator, or failed.
    """
    model = read_bytes(onnx, "the stage export makes it")
    with tempfile.TemporaryDirectory() as folder:
        converted = _run_pnnx(onnx, model, images[0].shape, Path(folder))
        try:
            net, engine = load_net(*converted), Engine(converted.param, converted.bin)
        except OctetError as error:
            wrong = str(error).replace(f"{folder}/", "")
            raise OctetError(
                f"{onnx}: pnnx has converted something wrongly: {wrong}. Express it by other operators"
            ) from None
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    sizes, reference = [], []
    for x in images:
        outputs = session.run(None, {name: x[None]})
        sizes = [output.size for output in outputs]
        reference.append(flat(outputs))
    actual = [engine(x) for x in images]
    if len(actual[0]) != len(reference[0]):
        raise OctetError(
            f"{onnx}: ncnn gives {len(actual[0]):,} values for an image, ONNX Runtime {len(reference[0]):,}; pnnx has converted "
            "something wrongly"
        )
    difference = largest_difference(np.stack(actual), np.stack(reference), sizes)
    if not difference <= TOLERANCE:
        raise OctetError(
            f"{onnx}: ncnn's logits differ from ONNX Runtime's by {difference:.1e} of their spread on {len(images)} images, "
            f"more than {TOLERANCE:.0e}; pnnx has converted something wrongly"
        )
    save_net(net, files.param, files.bin)
    return difference


def _run_pnnx(onnx: Path, model: bytes, shape: tuple[int, ...], folder: Path) -> NcnnFiles:
    """Runs pnnx in a folder, into which it writes a dozen files, some with paths in them; returns the two that matter."""
    write_bytes(folder / "model.onnx", model)
    try:
        done = subprocess.run(
            [pnnx(), "model.onnx", f"inputshape=[{','.join(map(str, (1, *shape)))}]", "fp16=0"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise OctetError(
            f"{onnx}: pnnx did not end within {LIMIT_S // 60} minutes, as it happens with operators on more than five axes; "
            "express them by others in the model"
        ) from None
    converted = NcnnFiles.named(folder, "model.ncnn")
    if done.returncode != 0 or not converted.param.is_file() or not converted.bin.is_file():
        raise OctetError(
            f"{onnx}: pnnx could not convert it (exit {done.returncode}). Its last words:\n"
            + "\n".join(done.stdout.strip().splitlines()[-10:])
        )
    unknown = unknown_types(converted.param.read_text(encoding="utf-8"))
    if unknown:
        raise OctetError(
            f"{onnx}: pnnx could not convert the operator{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; "
            "ncnn has no such layer. Express it by other operators in the model"
        )
    return converted


def unknown_types(param: str) -> list[str]:
    """The layer types in a .param's text that ncnn does not have, as pnnx leaves them where it cannot convert."""
    types = {line.split()[0] for line in param.splitlines()[2:] if line.split()}
    return sorted(kind for kind in types if ncnn.layer_to_index(kind) < 0)


def pnnx() -> str:
    """Where pnnx's wheel has its program; found without importing the package, which would import torch."""
    package = importlib.util.find_spec("pnnx")
    if package is None or not package.submodule_search_locations:
        raise OctetError("the package 'pnnx' is not installed; install requirements.lock")
    return str(Path(package.submodule_search_locations[0]) / "pnnx")
