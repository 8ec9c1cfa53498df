"""Which heads Octet judges: those of mmcls whose test ends in a softmax, one class an image."""

from __future__ import annotations

import torch

from octet.core.errors import OctetError
from octet.export.mmcls_model import mmcls  # first: it makes mmcls's models importable

heads, ImageClassifier = mmcls.models.heads, mmcls.models.ImageClassifier

SOFTMAX_HEADS = (
    heads.ClsHead,
    heads.LinearClsHead,
    heads.StackedLinearClsHead,
    heads.VisionTransformerClsHead,
    heads.DeiTClsHead,
    heads.ConformerHead,
    heads.EfficientFormerClsHead,
)


def check_head(classifier: torch.nn.Module, where: str) -> None:
    """Checks that mmcls tests the classifier by the softmax of its logits.

    A head of one's own may inherit from those and change anything but the test itself (simple_test, post_process).

    Args:
        classifier: As mmcls builds it.
        where: What it is called in the error.

    Raises:
        OctetError: It has another head, or tests otherwise.
    """
    head = getattr(classifier, "head", None)
    if not isinstance(classifier, ImageClassifier) or type(classifier).simple_test is not ImageClassifier.simple_test:
        raise OctetError(f"{where}: the model is a {type(classifier).__name__}; Octet exports mmcls's ImageClassifier")
    if head is None:
        raise OctetError(f"{where}: the model has no head, so it tells no classes")
    kind = type(head)
    tests = {known.simple_test for known in SOFTMAX_HEADS}
    if kind.__dict__.get("simple_test", getattr(kind, "simple_test", None)) in tests and (
        getattr(kind, "post_process", None) is heads.ClsHead.post_process
    ):
        return
    several = isinstance(head, heads.MultiLabelClsHead)
    raise OctetError(
        f"{where}: the head {kind.__name__} "
        + ("gives an image several labels by sigmoids" if several else "tests in a way of its own")
        + f"; Octet exports heads that choose one class by softmax: {', '.join(known.__name__ for known in SOFTMAX_HEADS)}, and "
        "those that inherit from them without a simple_test or post_process of their own"
    )
