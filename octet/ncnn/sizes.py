"""Do the sizes fit one another that a layer's parameters give? Source: load_param and load_model in ncnn's src/layer/*.cpp."""

from __future__ import annotations

from collections.abc import Callable

from octet.ncnn.layer import Layer
from octet.ncnn.layout import CONVOLUTIONS, has_dynamic_weight, possible_slots


def check_sizes(layer: Layer) -> str:
    """What is wrong with the sizes that a layer's parameters give, in words; empty where they fit one another.

    So no reader of them divides by zero or finds a part of a row.
    """
    try:
        if layer.type in _CHECKS:
            _CHECKS[layer.type](layer)
        for slot in possible_slots(layer):
            if slot.count < 0:
                raise ValueError(f"parameters give the weight '{slot.role}' {slot.count} values")
    except ValueError as error:
        return str(error)
    return ""


def _at_least(layer: Layer, key: int, least: int, default: int = 0) -> int:
    value = layer.int(key, default)
    if value < least:
        raise ValueError(f"parameter {key}={value}: expected at least {least}")
    return value


def _multiple(layer: Layer, key: int, part: int, what: str) -> None:
    size = _at_least(layer, key, 0)
    if size % part:
        raise ValueError(f"parameter {key}={size}: expected a multiple of {part}, {what}")


def _check_activation(layer: Layer) -> None:
    needed, given = {2: 1, 3: 2, 6: 2}.get(layer.int(9), 0), len(layer.floats(10))
    if given < needed:
        raise ValueError(f"parameter 9={layer.int(9)}: expected {needed} values in parameter 10, found {given}")


def _check_convolution(layer: Layer) -> None:
    if has_dynamic_weight(layer):  # its sizes are those of an input; pnnx writes 0 where it does not know them
        return
    outputs, width = _at_least(layer, 0, 1), _at_least(layer, 1, 1)
    window = width
    if not layer.type.endswith("1D"):
        window *= _at_least(layer, 11, 1, width)
    if layer.type.endswith("3D"):
        window *= _at_least(layer, 21, 1, width)
    for key in (2, 12, 3, 13):
        _at_least(layer, key, 1, 1)
    if "DepthWise" in layer.type and outputs % _at_least(layer, 7, 1, 1):
        raise ValueError(f"parameter 7={layer.int(7)}: {outputs} outputs do not fall into so many groups")
    _multiple(layer, 6, outputs * window, "the outputs' windows")
    _check_activation(layer)


def _check_inner_product(layer: Layer) -> None:
    _multiple(layer, 2, _at_least(layer, 0, 1), "the outputs")
    _check_activation(layer)


def _check_outputs(layer: Layer) -> None:
    _at_least(layer, 0, 1)


def _check_attention(layer: Layer) -> None:
    width, heads = _at_least(layer, 0, 1), _at_least(layer, 1, 1, 1)
    if width % heads:
        raise ValueError(f"parameter 1={heads}: a width of {width} does not fall into so many heads")
    _multiple(layer, 2, width, "the width")
    for key in (3, 4):
        _at_least(layer, key, 1, width)


_CHECKS: dict[str, Callable[[Layer], None]] = {
    **dict.fromkeys(CONVOLUTIONS, _check_convolution),
    "InnerProduct": _check_inner_product,
    "MultiHeadAttention": _check_attention,
    **dict.fromkeys(("RNN", "GRU", "LSTM", "Embed"), _check_outputs),
}
