"""An ONNX file: read with its external data, and refused by name where Octet cannot quantize what is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx

from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.onnx_bytes import parse
from octet.core.text import printable
from octet.export.onnx_fake_quantize import is_fake_quantize, without
from octet.export.onnx_header import complete
from octet.export.onnx_opset import Model, readable

_QUANTIZED = (
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
)  # and those of onnx_constants.PAIR, unless they are taken out
_CONTROL = ("If", "Loop", "Scan", "SequenceMap")
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
_DOMAINS = ("", "ai.onnx")
_LOAD = (
    "import sys, onnxruntime; onnxruntime.InferenceSession(sys.stdin.buffer.read(), providers=['CPUExecutionProvider'])"
)

_MOST_BYTES = 2**31 - 1  # of a model that protobuf can write
_MOST_S = 600


def external_files(model: Model) -> list[str]:
    """The names of the files beside it that hold tensors of it."""
    names = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(names)


def read(path: str) -> Model:
    """A model, whole, with all its tensors in it, in an opset and a form of the file that ONNX Runtime reads.

    Args:
        path: The file.

    Raises:
        OctetError: It is missing, no ONNX, cut off, or a file with its tensors is; or it is of another opset.
    """
    model = read_graph(path)
    folder = Path(path).parent
    for name in external_files(model):
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise OctetError(
                f"{path}: its tensors lie in {printable(name)!r}; expected a file beside it. Save the model again, as one file"
            )
        if not (folder / name).is_file():
            raise OctetError(f"{folder / name}: no such file; tensors of {path} lie in it. Put it there, too")
    _check_ends(model, folder, path)
    try:
        onnx.load_external_data_for_model(model, str(folder))
        model = readable(complete(model, path), path)
        known = without(model)
        onnx.checker.check_model(known)
    except (ValueError, OSError, onnx.checker.ValidationError) as error:
        raise OctetError(f"{path}: damaged or cut off: {_first(error)}. Fetch it again") from None
    _check_tensors(model, path)
    _check_in_a_child(known, path)
    return model


def _check_ends(model: Model, folder: Path, path: str) -> None:
    """Raises OctetError where a file with tensors is shorter than the model says."""
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        file = folder / place.get("location", "")
        try:
            end = int(place.get("offset") or 0) + int(place.get("length") or 0)
        except ValueError:
            continue  # which onnx says
        if end > (size := file.stat().st_size):
            raise OctetError(
                f"{file}: cut off ({size:,} bytes): {path} has the tensor {printable(tensor.name)!r} in it up to {end:,}. Fetch it "
                "again"
            )


def _check_tensors(model: Model, path: str) -> None:
    """Raises OctetError where a tensor is not what its shape and type say, which onnx's checker does not see everywhere."""
    for tensor in _tensors(model):
        try:
            onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise OctetError(
                f"{path}: damaged: the tensor {printable(tensor.name)!r} is not what its shape and type say ({_first(error)}). "
                "Fetch it again"
            ) from None


def _check_in_a_child(model: Model, path: str) -> None:
    """Lets ONNX Runtime, which is C++, read the model in a process of its own first: there are files on which it ends its process.

    Raises:
        OctetError: It did, or took too long. What it can say itself, it says later.
    """
    if model.ByteSize() >= _MOST_BYTES:
        return
    try:
        child = subprocess.run(
            [sys.executable, "-c", _LOAD], input=model.SerializeToString(), capture_output=True, timeout=_MOST_S
        )
    except subprocess.TimeoutExpired:
        raise OctetError(f"{path}: ONNX Runtime does not end reading it within {_MOST_S} s. Export it again") from None
    if child.returncode < 0:
        raise OctetError(
            f"{path}: damaged: ONNX Runtime ends with signal {-child.returncode} where it reads it. Fetch or export it again"
        )


def read_graph(path: str) -> Model:
    """A model without what lies in other files. Arguments and errors as for `read`."""
    data = read_bytes(path, "expected the ONNX model")
    model = parse(data, f"{path}: no ONNX model, or cut off ({len(data):,} bytes); fetch it again")
    if not model.graph.node or not model.opset_import:
        lacks = "empty" if not data else "no operators in it" if not model.graph.node else "it does not say its opset"
        raise OctetError(f"{path}: no ONNX model: {lacks}; fetch it again")
    return model


def check_operators(model: Model, path: str) -> None:
    """Refuses what Octet cannot quantize.

    Raises:
        OctetError: The model computes with integers, has control flow, random numbers, or operators that ONNX does not define.
    """
    types = sorted({node.op_type for node in model.graph.node})
    quantized = [kind for kind in types if kind in _QUANTIZED or kind.startswith("QLinear")]
    if "QuantizeLinear" in types and "DequantizeLinear" not in types:
        quantized.append("QuantizeLinear")
    if quantized:
        raise OctetError(
            f"{path}: is quantized already ({', '.join(quantized)}); Octet quantizes fp32 models, and those with "
            f"QuantizeLinear and DequantizeLinear alone. Give it the model from before that"
        )
    control = [kind for kind in types if kind in _CONTROL]
    if control:
        raise OctetError(
            f"{path}: has the operator{'s' * (len(control) > 1)} {', '.join(control)}, which ncnn has not: a network "
            f"has to compute "
            "the same for every image. Export it without"
        )
    random = sorted({node.op_type for node in model.graph.node if node.op_type in _RANDOM or _trains(model, node)})
    if random:
        raise OctetError(
            f"{path}: computes with random numbers, or as in training ({', '.join(random)}): a network has to give the same for "
            "the same image. Export it in evaluation mode, as model.eval() does"
        )
    custom = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in model.graph.node
            if not is_fake_quantize(node) and node.domain not in _DOMAINS
        }
    )
    if custom:
        raise OctetError(
            f"{path}: has operators that ONNX does not define: {', '.join(map(printable, custom))}. Export it without "
            f"optimizations of one engine"
        )


def _trains(model: Model, node: Any) -> bool:
    """Is it a Dropout or a BatchNormalization in training mode?"""
    if node.op_type == "BatchNormalization":
        return any(item.name == "training_mode" and item.i for item in node.attribute)
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    known = {tensor.name: tensor for tensor in model.graph.initializer} | {
        other.output[0]: item.t
        for other in model.graph.node
        if other.op_type == "Constant"
        for item in other.attribute
        if item.name == "value"
    }
    return node.input[2] in known and bool(onnx.numpy_helper.to_array(known[node.input[2]]).any())


def _tensors(model: Model) -> list[Any]:
    constants = [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    return [*model.graph.initializer, *constants]


def _first(error: Exception) -> str:
    return printable((str(error).strip() or type(error).__name__).splitlines()[0].rstrip("."), 200)
