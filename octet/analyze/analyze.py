"""analyze: what every int8 layer costs, in its own output and in the final probabilities.

For each layer the network is run twice on the same calibration images: with only this layer in int8, and with all but
this layer. The first says what it loses by itself, the second what leaving it in fp32 would win back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from octet.calibrate.histogram import Histogram
from octet.core.logits import decibels, kl_divergence
from octet.core.parallel import map_ordered
from octet.core.progress import progress
from octet.graph.layers import is_int8, outputs
from octet.graph.origins import origins
from octet.ncnn.engine import Engine, logits
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.table import Table

Make = Callable[[Collection[str]], Net]  # the int8 network that leaves these layers in fp32
Images = Sequence[np.ndarray]  # network inputs, fp32 of shape (C, H, W)


def analyze(
    net: Net, make: Make, table: Table, histograms: dict[str, Histogram], images: Images
) -> dict[str, dict | list[dict]]:
    """'layers': one row an int8 layer, in the network's order; 'model': the figures with all of them in int8.

    net: the fp32 network; make([]): its int8 one; histograms: of the blobs that its layers read (observe.histograms);
    images: calibration images. Of each row:

    sqnr_db: signal to quantization noise of its output when only it is int8, in dB; kl_alone and kl_without: KL
    divergence of the final probabilities from fp32's, in nats, with only this layer in int8, and with all int8 layers
    but this one; macs: multiplications with weights, an image; weight_absmax, input_absmax: largest magnitudes;
    input_threshold: the largest that int8 holds; clipped_pct: the share of the input's values over it.
    """
    whole, fp32 = make([]), Engine.of(net)
    names = [layer.name for layer in whole.layers if is_int8(layer)]
    macs = multiplications(net, names, images[0])
    wanted = logits(fp32, images, "analyze, fp32")
    rows = []
    for name in progress(names, "analyze", unit="layer"):
        layer = net.layer(name)
        alone, without = Engine.of(make([other for other in names if other != name])), Engine.of(make([name]))
        noise_db, found = _alone(fp32, alone, layer, images)
        rows.append(
            {
                "layer": name,
                "type": layer.type,
                "macs": macs[name],
                "sqnr_db": round(noise_db, 3),
                "kl_alone": _figure(kl_divergence(wanted, found)),
                "kl_without": _figure(kl_divergence(wanted, logits(without, images, f"without {name}"))),
                "weight_absmax": _figure(max((np.abs(t.data).max() for t in _weights(layer)), default=0.0)),
                **_input(net, layer, table, histograms),
            }
        )
    found = logits(Engine.of(whole), images, "analyze, int8")
    noise_db = decibels(np.square(wanted.astype(np.float64)).sum(), np.square(found.astype(np.float64) - wanted).sum())
    model = {"n_images": len(images), "sqnr_db": round(noise_db, 3), "kl": _figure(kl_divergence(wanted, found))}
    return {"layers": rows, "model": model}


def multiplications(net: Net, names: Collection[str], image: np.ndarray) -> dict[str, int]:
    """How often each of these layers multiplies with a weight, for one image: of a convolution, all of them for every
    pixel of its output, borders counted.
    """
    layers = [layer for layer in net.layers if layer.name in names]
    blobs = Engine.of(net).blobs(image, [layer.outputs[0] for layer in layers])
    found = {}
    for layer, blob in zip(layers, blobs, strict=True):
        found[layer.name] = sum(t.data.size for t in _weights(layer)) * blob.size // max(outputs(layer), 1)
    return found


def table_text(found: dict) -> str:
    """The rows as a table for the terminal, those that cost most first."""
    head = f"{'layer':<16} {'type':<20} {'SQNR':>7}  {'KL alone':>8}  {'KL without':>10}  {'MMAC':>7}  {'clipped':>8}"
    lines = [head, "-" * len(head)]
    for row in sorted(found["layers"], key=lambda row: -row["kl_alone"]):
        clipped = "" if row["clipped_pct"] is None else f"{row['clipped_pct']:.3f} %"
        lines.append(
            f"{row['layer']:<16} {row['type']:<20} {row['sqnr_db']:>4.1f} dB  {row['kl_alone']:>8.1e}  "
            f"{row['kl_without']:>10.1e}  {row['macs'] / 1e6:>7.2f}  {clipped:>8}"
        )
    model = found["model"]
    lines.append(
        f"All in int8: KL {model['kl']:.1e} nats, SQNR of the logits {model['sqnr_db']:.1f} dB, on {model['n_images']} images."
    )
    return "\n".join(lines)


def _alone(fp32: Engine, alone: Engine, layer: Layer, images: Images) -> tuple[float, np.ndarray]:
    """The SQNR of this layer's output in dB, and the logits. The mean error of an image is no noise: a shift of the
    activations (octet/graph/zero_points.py) moves outputs by a constant, which the next layer takes back.
    """
    blob = layer.outputs[0]

    def one(k: int) -> tuple[float, float, np.ndarray]:
        x = images[k]
        wanted = next(fp32.blobs(x, [blob])).astype(np.float64)
        output, last = (np.array(values) for values in alone.blobs(x, [blob, alone.output]))
        error = output - wanted
        return np.square(wanted).sum(), np.square(error - error.mean()).sum(), last.reshape(-1)

    signal, noise, found = zip(*map_ordered(one, range(len(images)), layer.name), strict=True)
    return decibels(sum(signal), sum(noise)), np.stack(found)


def _weights(layer: Layer) -> list:
    """The layer's weights that ncnn can store as int8."""
    return [tensor for role, tensor in layer.weights.items() if tensor.tag is not None]


def _input(net: Net, layer: Layer, table: Table, histograms: dict[str, Histogram]) -> dict[str, float | None]:
    """The range of the layer's input; nothing for a layer that finds its input's scale at every run."""
    if layer.name not in table.inputs:
        return dict.fromkeys(("input_absmax", "input_threshold", "clipped_pct"))
    histogram, threshold = histograms[origins(net)[layer.inputs[0]]], 127 / float(table.inputs[layer.name])
    over = int(histogram.counts[int(threshold / histogram.width) + 1 :].sum())
    return {
        "input_absmax": _figure(histogram.largest),
        "input_threshold": _figure(threshold),
        "clipped_pct": _figure(100 * over / (int(histogram.counts.sum()) + histogram.zeros)),
    }


def _figure(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.5e}")
