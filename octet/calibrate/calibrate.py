"""From a network and images to the calibration table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octet.calibrate import methods
from octet.calibrate.job import Job
from octet.calibrate.trained import take, trained_remark, trained_scales
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.graph.scales import silent
from octet.graph.targets import Target
from octet.ncnn.net import Net
from octet.ncnn.table import Table

if TYPE_CHECKING:
    from octet.core.params import Calibrate


def calibrate(
    net: Net,
    images: Sequence[npt.NDArray[np.float32]],
    settings: Calibrate,
    target: Target,
    onnx: Path | None = None,
    workers: int | None = None,
) -> Table:
    """Finds the scales of a network's weights and inputs, by the calibrator that the settings name.

    The result does not depend on the number of workers.

    Args:
        net: The fp32 network.
        images: Network inputs, fp32 of shape (C, H, W).
        settings: The section `calibrate` of params.yaml.
        target: Says which layers are int8 and how many levels their weights have.
        onnx: The ONNX model that the network was made from, for calibrators that work on that; None: there is none.
        workers: How many threads compute; None: one a core.

    Returns:
        The calibration table. A scale is what a value is multiplied with to become an integer.

    Raises:
        OctetError: What the network reads is not finite, or the calibrator cannot work on the network.
    """
    return table(Job(net, images, settings, target, onnx, workers))


def table(job: Job) -> Table:
    """The table of a job, by the calibrator that its settings name, and with the scales that the model was trained with."""
    calibrated = methods.calibrator(job.settings.method)(job)
    trained = trained_scales(job)
    return take(job, trained, calibrated) if trained else calibrated


def remarks(job: Job, scales: Table) -> list[str]:
    """What a user should know of a calibration: layers without weights or inputs, and what the calibrator cannot do.

    Args:
        job: What was calibrated.
        scales: Its table.

    Returns:
        Sentences, each with the layer's name at its front.
    """
    layers, origin = quantizable(job.net.layers), origins(job.net)
    lines = silent(scales, layers)
    for layer in layers:
        remark = methods.remark(job.settings.method, job.histograms[origin[layer.inputs[0]]])
        lines += [f"{layer.name}: {remark}"] if remark else []
    return lines + trained_remark(job, trained_scales(job))
