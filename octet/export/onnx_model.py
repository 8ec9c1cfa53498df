"""A classifier as an ONNX model: in its deploy form, without its softmax, by operators that pnnx and ncnn have."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from octet.core.errors import OctetError
from octet.export.apply_rewrites import rewritten


class LogitsModel(torch.nn.Module):
    """The classifier without its softmax: an image of shape (1, C, H, W) gives logits of shape (1, classes).

    Args:
        classifier: One of mmcls's, whose head check_head lets pass.
    """

    def __init__(self, classifier: torch.nn.Module):
        super().__init__()
        self.classifier: Any = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits of an image."""
        features = self.classifier.extract_feat(x)
        logits = self.classifier.head.simple_test(features, softmax=False, post_process=False)
        if isinstance(logits, list):  # Conformer's two heads
            logits = sum(logits[1:], logits[0])
        row: torch.Tensor = logits.reshape(1, -1) if logits.dim() == 1 else logits  # LeNet squeezes the batch away
        return row


def deploy(module: torch.nn.Module) -> None:
    """Puts re-parameterized modules (RepVGG, RepMLP) into their deploy form, in place."""
    switch: Any = getattr(module, "switch_to_deploy", None)
    if switch:
        for block in module.modules():
            se_layer: Any = getattr(block, "se_layer", None)
            if se_layer is not None and not block.deploy:
                # mmcls's own deploy form of RepVGG-D2se leaves this layer out.
                activation: Any = block.act
                block.act = torch.nn.Sequential(se_layer, activation)
        switch()
        return
    for child in module.children():
        deploy(child)


def to_onnx(network: torch.nn.Module, shape: Sequence[int], opset: int, where: str) -> bytes:
    """The ONNX model: its input is 'input', of shape (1, *shape), its output 'output'.

    Args:
        network: In evaluation mode; it is left in its deploy form.
        shape: (C, H, W) of the network's input.
        opset: ONNX's.
        where: What names the model in the error.

    Raises:
        OctetError: torch cannot write an operator.
    """
    deploy(network)
    network.eval()
    buffer: Any = io.BytesIO()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole attention, which ONNX has not
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
            "Express that operator by others in the model, or see octet/export/rewrites"
        ) from None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    content: bytes = buffer.getvalue()
    return content
