"""The calibrators: each file in this folder is one, and `calibrate.method` in params.yaml takes the file's name.

To add one, write octet/calibrate/methods/NAME.py with two things in it:

1. A docstring. Its first line is the calibrator's documentation: docs/parameters.md, the JSON schema and
   docs/calibrators.md quote it. Name the paper below it.
2. One function. Most calibrators choose a threshold for each layer's input:

       def threshold(histogram: Histogram, levels: int, settings: Calibrate) -> float:

   It gets the histogram of the magnitudes that the layer reads (octet.calibrate.histogram), the integer that will stand
   for the threshold (127, or 254 where the input is never negative and gets a zero point: octet.graph.zero_points), and
   the section `calibrate` of params.yaml. It returns the threshold, the largest magnitude that int8 represents: above 0
   and at most histogram.largest; what is larger is clipped. Where all values have one magnitude, that is the threshold:
   such an input is not clipped. It is never called for an input that is always 0. The weights' scales follow
   `calibrate.weights`. A calibrator that finds the weights' scales too, or needs more than histograms, has instead

       def calibrate(job: Job) -> Table:

   Its argument, octet.calibrate.job.Job, has the network, the images, the target and the ONNX model. ppq.py is one.

A parameter of its own is a field of its own name in the section `calibrate`, as `percentile` and `ppq` are: add it to
Calibrate in octet/core/params.py with a `default`, so that a params.yaml without it stays valid, and to params.yaml with
its question as a comment. Read it as settings.NAME. Check, schema, documents and the words for a calibration follow.

What a calibrator needs of the other parameters it says in constants, which the check of params.yaml reads from its file
without importing it, so literals: LEAST_IMAGES, the fewest images that it works with; NOT_WITH, a dictionary of
parameters at the top of params.yaml that must be off with it, and why; TITLE, what messages call it; PACKAGES, what it
imports that not every Python has, and what to do where that is missing. COMPUTES = False says that it finds no scales
itself. All may be left out: octet.core.registry.CalibratorNeeds. ppq.py has some.

A calibrator that does badly on some inputs may warn of them by a function `remark(histogram) -> str`, empty where all is
well. The stage calibrate prints it with the layer's name. kl.py has one.

For engines that read ONNX a calibrator may choose both ends of the range of a tensor that is only added before a ReLU, by a
function `ends(negative, positive, rounded) -> (below, above)`; without it the threshold counts for both. mse.py has one.

No other code names a calibrator. The check of params.yaml and its messages, the sweep, the benchmarks and the tests take
the names from this folder. tests/unit/test_calibrate.py runs every `threshold` on inputs of all kinds: the threshold is at
most the largest magnitude, does not depend on the number of workers, and does not clip a constant input. CONTRIBUTING.md,
« Add a calibrator », names the documents and tables that you then write anew by a command.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from octet.calibrate import thresholds
from octet.calibrate.histogram import Histogram
from octet.calibrate.job import Job
from octet.calibrate.thresholds import Ends, Threshold
from octet.core.errors import OctetError
from octet.core.registry import calibrator_needs
from octet.ncnn.table import Table


def check_installed(name: str) -> None:
    """Checks that what the calibrator of that name imports is installed; imports nothing.

    Raises:
        OctetError: A package is not.
    """
    for package, advice in calibrator_needs(name).missing.items():
        raise OctetError(
            f"calibrate.method: {name} needs the package {package}, which is not installed. {advice}, or choose another method"
        )


def calibrator(name: str) -> Callable[[Job], Table]:
    """The calibrator of that name, which may import much: torch, for one.

    Raises:
        OctetError: A package that it needs is not installed.
    """
    check_installed(name)
    choose = threshold(name)
    if choose:
        return lambda job: thresholds.table(job, choose)
    whole: Callable[[Job], Table] = _module(name).calibrate
    return whole


def threshold(name: str) -> Threshold | None:
    """The function of a calibrator that chooses a threshold for every input; None for a calibrator of another kind.

    >>> import numpy as np
    >>> minmax = threshold("minmax")
    >>> minmax(Histogram.of(np.float32([1, -3, 0])), 127, None)
    3.0
    """
    choose: Threshold | None = getattr(_module(name), "threshold", None)
    return choose


def ends(name: str) -> Ends | None:
    """The function of a calibrator that chooses both ends of a range; None where it has none."""
    choose: Ends | None = getattr(_module(name), "ends", None)
    return choose


def remark(name: str, histogram: Histogram) -> str:
    """What the calibrator of that name has to say of an input, empty for nothing."""
    say: Callable[[Histogram], str] | None = getattr(_module(name), "remark", None)
    return say(histogram) if say else ""


def describe(settings: dict[str, Any]) -> str:
    """A calibration in words, with the calibrator's own parameters.

    >>> describe({"method": "percentile", "percentile": 99.9, "weights": "absmax"})
    'percentile (99.9), weights by absmax'

    Args:
        settings: The section `calibrate` of params.yaml, as plain values.
    """
    words = name = settings["method"]
    parameter = settings.get(name, {})  # by its name: a number, or a section
    if parameter != {}:
        pairs = parameter.items() if isinstance(parameter, dict) else ()
        values = [f"{key} {value}" for key, value in pairs] or [str(parameter)]
        words = f"{name} ({', '.join(values)})"
    return f"{words}, weights by {settings['weights']}" if threshold(name) else words


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
