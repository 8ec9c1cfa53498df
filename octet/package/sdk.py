"""MMDeploy SDK's three files, as MMDeploy 1.3.1 writes them (mmdeploy/backend/sdk/export_info.py), for Octet's model.

Where they differ from what MMDeploy would write, theirs would be wrong here: net and weights are the int8 files; the
input and output have ncnn's names; the softmax is the SDK's work, since Octet's model ends at the logits; and `to_rgb`
says what the network was evaluated with. For CIFAR, whose images are RGB arrays, the config's own `to_rgb=False` would
make BGR of the SDK's BGR images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import ncnn

from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.package.geometry import Steps

Json = dict[str, Any]
VERSION = "1.3.1"
_META_KEYS = (
    "filename flip flip_direction img_norm_cfg img_shape ori_filename ori_shape pad_shape scale_factor valid_ratio"
)


def deploy(name: str) -> Json:
    """deploy.json: which files, for which backend."""
    model = {
        "name": name,
        "net": "int8.param",
        "weights": "int8.bin",
        "backend": "ncnn",
        "precision": "INT8",
        "batch_size": 1,
        "dynamic_shape": False,
    }
    return {"version": VERSION, "task": "Classifier", "models": [model], "customs": []}


def pipeline(name: str, steps: Steps, blobs: tuple[str, str]) -> Json:
    """pipeline.json: from an image to labels.

    Args:
        name: The model's.
        steps: What preprocess.json holds.
        blobs: The names of the network's input and output.
    """
    prepare = {
        "type": "Task",
        "module": "Transform",
        "name": "Preprocess",
        "input": ["img"],
        "output": ["prep_output"],
        "transforms": _transforms(steps),
    }
    infer = {
        "name": name,
        "type": "Task",
        "module": "Net",
        "is_batched": False,
        "input": ["prep_output"],
        "output": ["infer_output"],
        "input_map": {"img": blobs[0]},
        "output_map": {"output": blobs[1]},
        "use_vulkan": False,
    }
    label = {
        "type": "Task",
        "module": "mmcls",
        "name": "postprocess",
        "component": "LinearClsHead",
        "params": {"num_classes": len(steps["classes"]), "softmax": True, "topk": min(5, len(steps["classes"]))},
        "output": ["post_output"],
        "input": ["infer_output"],
    }
    return {"pipeline": {"input": ["img"], "output": ["post_output"], "tasks": [prepare, infer, label]}}


def detail(codebase: str, version: str, source: str, checkpoint: str, opset: int, calibration: Json) -> Json:
    """detail.json: where the model is from.

    Args:
        codebase: What read the model: 'mmcls', 'onnx', 'timm' or 'torchvision'.
        version: That package's.
        source: The model's mmcls config, or what its entry has in place of one. Its name is told, without folders.
        checkpoint: Its weights; so is theirs.
        opset: The ONNX opset.
        calibration: The section calibrate of params.yaml.
    """
    names = {"pth": PurePath(checkpoint).name, "config": PurePath(source).name}
    onnx = {
        "type": "onnx",
        "export_params": True,
        "keep_initializers_as_inputs": False,
        "opset_version": opset,
        "save_file": "fp32.onnx",
        "input_names": ["input"],
        "output_names": ["output"],
        "input_shape": None,
        "optimize": False,
    }
    return {
        "version": VERSION,
        "codebase": {"task": "Classification", "codebase": codebase, "version": version, **names},
        "codebase_config": {"type": "mmcls", "task": "Classification"},
        "onnx_config": onnx,
        "backend_config": {"type": "ncnn", "precision": "INT8", "use_vulkan": False},
        "calib_config": calibration,
    }


def unfit(steps: Steps, net: Net) -> str:
    """Why MMDeploy's SDK cannot run the model rightly, a sentence; '' where it can.

    Its ncnn backend gives ncnn a Mat in the memory of a tensor (csrc/mmdeploy/net/ncnn/ncnn_net.cpp, NCNNNet::Forward; the same
    from 1.0 to 1.3.1). ncnn looks for each channel at a multiple of 16 bytes, where the tensor has no gaps, and has no count
    of who reads that memory, for which it asks before a layer computes in place (Net::do_forward_layer).

    Args:
        steps: What preprocess.json holds.
        net: The int8 network.
    """
    height, width = steps["size"]
    if steps["channel_order"] != "GREY" and height * width % 4:
        return f"of {height} x {width} pixels, which 4 does not divide, it has ncnn read all channels but the first shifted."
    if any(step.get("edge") == "cover" for step in steps["geometry"]):
        return "it has no resize after which an image just covers a size that is not square."
    first = next((layer for layer in _readers(net, net.input) if _computes_in_place(layer)), None)
    if first:
        return f"ncnn crashes in it, as a layer that computes in place reads the network's input ({first.type})."
    return ""


def exact(steps: Steps) -> bool:
    """Does the SDK resize and crop as the pipeline does? It knows OpenCV's filters alone, and no crop before a resize.

    What CenterCrop leaves over at odd sizes it puts on the other side: it rounds halves up, mmcls to the even number.
    """
    kinds = [(step["step"], step.get("backend", "cv2")) for step in steps["geometry"]]
    return all(kind in (("Resize", "cv2"), ("CenterCrop", "cv2")) for kind in kinds) and not any(
        step.get("edge") not in (None, "short") for step in steps["geometry"]
    )


def _readers(net: Net, blob: str) -> Iterator[Layer]:
    """The layers that read a blob, directly or through layers that share their input's memory."""
    for layer in net.layers:
        if blob in layer.inputs:
            if layer.type in ("Split", "Reshape", "Flatten"):
                for copy in layer.outputs:
                    yield from _readers(net, copy)
            else:
                yield layer


def _computes_in_place(layer: Layer) -> bool:
    """By ncnn's own word; a BinaryOp says so only once it knows that its second input is a number."""
    return (layer.type == "BinaryOp" and len(layer.inputs) == 1) or ncnn.create_layer(layer.type).support_inplace


def _transforms(steps: Steps) -> list[Json]:
    """The SDK's transforms of an image, which it loads as BGR."""
    load: dict[str, Any] = {"type": "LoadImageFromFile"}
    if steps["channel_order"] == "GREY":
        load["color_type"] = "grayscale"
    if steps["to_float32"]:
        load["to_float32"] = True
    transforms = [load]
    for step in steps["geometry"]:
        if step["step"] == "CenterCrop":
            transforms.append({"type": "CenterCrop", "crop_size": [step["height"], step["width"]]})
            continue
        size = step.get("size")  # of CropAndResize, which the SDK has not: the resize alone
        # The SDK's order is width, height; -1 is for the edge that follows the short one.
        both = [size, size] if size else [step["width"], step["height"]]
        resize = {"type": "Resize", "size": [step["height"], -1] if step.get("edge") else both, "keep_ratio": False}
        transforms.append(resize | {"interpolation": _interpolation(step["interpolation"])})
    to_rgb = steps["channel_order"] == "RGB"
    transforms.append({"type": "Normalize", "mean": steps["mean"], "std": steps["std"], "to_rgb": to_rgb})
    transforms.append({"type": "ImageToTensor", "keys": ["img"]})
    return [*transforms, {"type": "Collect", "keys": ["img"], "meta_keys": _META_KEYS.split()}]


def _interpolation(name: str) -> str:
    """Pillow's box and hamming, which the SDK has not, come nearest to area."""
    return {"box": "area", "hamming": "area"}.get(name, name)
