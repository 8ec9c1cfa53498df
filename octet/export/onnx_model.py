"""A classifier as an ONNX model: in its deploy form, without its softmax, by operators that pnnx and ncnn have."""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Sequence

import torch

from octet.core.errors import OctetError
from octet.export.rewrites.apply import rewritten


class Logits(torch.nn.Module):
    """The classifier without its softmax or sigmoid: an image (1, C, H, W) -> logits (1, classes)."""

    def __init__(self, classifier: torch.nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        test = self.classifier.head.simple_test
        raw = {name: False for name in ("softmax", "sigmoid") if name in inspect.signature(test).parameters}
        found = test(self.classifier.extract_feat(x), **raw, post_process=False)
        if isinstance(found, list):  # Conformer's two heads
            found = sum(found[1:], found[0])
        return found.reshape(1, -1) if found.dim() == 1 else found  # LeNet squeezes the batch away


def deploy(module: torch.nn.Module) -> None:
    """Puts re-parameterized modules (RepVGG, RepMLP) into their deploy form, in place."""
    if hasattr(module, "switch_to_deploy"):
        for block in module.modules():
            if getattr(block, "se_layer", None) is not None and not block.deploy:
                # mmcls's own deploy form of RepVGG-D2se leaves this layer out.
                block.act = torch.nn.Sequential(block.se_layer, block.act)
        module.switch_to_deploy()
        return
    for child in module.children():
        deploy(child)


def to_onnx(network: torch.nn.Module, shape: Sequence[int], opset: int, where: str) -> bytes:
    """The ONNX model: input 'input' of shape (1, *shape), output 'output'. The network is left in its deploy form.

    Raises OctetError for an operator that torch cannot write; `where` names the model in it.
    """
    deploy(network)
    network.eval()
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), rewritten(network), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros(1, *shape),),
                buffer,
                opset_version=opset,
                dynamo=False,
                input_names=["input"],
                output_names=["output"],
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise OctetError(
            f"{where}: torch cannot write the model as ONNX of opset {opset}: {reason} "
            "Express that operator by others in the model, or see octet/export_rewrites"
        ) from None
    return buffer.getvalue()
