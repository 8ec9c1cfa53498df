"""Why layers of an int8 model stayed in fp32: in the log of `quantize`, in the report and in the bundle."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from octet.core.folder import ModelFolder
from octet.core.plan import read_plan
from octet.graph.layers import is_int8, no_int8, quantizable, uncalibrated
from octet.graph.profiles import target
from octet.graph.targets import Fp32Reason, Target
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net


def fp32_layers(
    int8: Net, profile: Target, keep_fp32: Collection[str], planned: Collection[str] = ()
) -> dict[str, Fp32Reason]:
    """Why each layer with weights that is not int8 in an int8 model stayed in fp32, by name, in the network's order.

    Args:
        int8: The model that `quantize` made.
        profile: The target that it was made for.
        keep_fp32: The layers that the model's entry in params.yaml leaves in fp32.
        planned: Those that mixed precision leaves in fp32.
    """
    of_target = profile.fp32_reasons(int8)
    could_be_int8 = {layer.name for layer in quantizable(int8.layers) + uncalibrated(int8.layers)}

    def reason(layer: Layer) -> Fp32Reason | None:
        if layer.name not in could_be_int8:
            return Fp32Reason.NO_INT8 if layer.weights and no_int8(layer) else None
        if is_int8(layer):
            return None
        chosen = Fp32Reason.KEEP_FP32 if layer.name in keep_fp32 else None
        return of_target.get(layer.name) or chosen or (Fp32Reason.PLAN if layer.name in planned else None)

    return {layer.name: why for layer in int8.layers if (why := reason(layer))}


def of_model(folder: ModelFolder, int8: Net, target_name: str, keep_fp32: Collection[str]) -> dict[str, Fp32Reason]:
    """The same of a model in its folder.

    Args:
        folder: The model's files, of which the plan is read.
        int8: Its int8 network.
        target_name: The profile that it was made for.
        keep_fp32: As above.
    """
    return fp32_layers(int8, target(target_name), keep_fp32, read_plan(folder.plan))


def by_reason(reasons: Mapping[str, Fp32Reason]) -> dict[Fp32Reason, list[str]]:
    """The layers of each reason; reasons in the order of their first layers.

    >>> reasons = {"conv_0": Fp32Reason.INPUT, "dw_1": Fp32Reason.DEPTHWISE, "dw_2": Fp32Reason.DEPTHWISE}
    >>> list(by_reason(reasons).values())
    [['conv_0'], ['dw_1', 'dw_2']]
    """
    layers: dict[Fp32Reason, list[str]] = {}
    for name, reason in reasons.items():
        layers.setdefault(reason, []).append(name)
    return layers
