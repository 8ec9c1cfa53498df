"""Octet's kl and aciq beside the tables that the real ncnn2table wrote.

KL and ACIQ are what it wrote, but for blanks at the ends of lines, from IMAGES and nets.small(). It is that of ncnn's
commit a4d2ea1 (2026-07-22), built with -DNCNN_SIMPLEOCV=ON -DNCNN_VULKAN=OFF for x86-64, and was run in a folder with the
network (octet.ncnn.net.save_net), the images as 0.npy to 31.npy (numpy.save) and their names in list.txt:

    ncnn2table small.param small.bin list.txt kl.table shape=[32,32,3] method=kl type=1 thread=1
    ncnn2table small.param small.bin list.txt aciq.table shape=[32,32,3] method=aciq type=1 thread=1
"""

import numpy as np
import pytest

from octet.calibrate.calibrate import table
from octet.calibrate.job import Job
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.graph.profiles import target
from octet.ncnn.engine import Engine
from octet.ncnn.table import loads
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit

_random = np.random.Generator(np.random.PCG64(1))
IMAGES = [_random.laplace(0, 0.5, (3, 32, 32)).astype(np.float32) for _ in range(32)]

KL = """\
conv_1_param_0 38.114029 48.791882 62.672321 45.908493 40.556309 48.335747 35.984993 38.112305
conv_2_param_0 42.324272 42.050949 48.700191 36.312798 39.347485 33.809475 33.865734 50.898624
conv_3_param_0 31.096403 40.522324 47.497017 45.010143 33.786938 40.489330 39.930599 31.011648
fc_param_0 254.449265 187.920212 220.987289 199.868439
conv_1 24.134270
conv_2 20.325439
conv_3 14.551307
fc 62.872704
"""

ACIQ = """\
conv_1_param_0 27.555164 35.274891 45.309982 33.190296 29.320847 34.945118 26.015940 27.553915
conv_2_param_0 34.855991 34.630894 40.106853 29.905260 32.404465 27.843660 27.889996 41.917366
conv_3_param_0 25.609324 33.372002 39.115982 37.067928 27.825100 33.344830 32.884689 25.539524
fc_param_0 122.395401 90.393547 106.299507 96.140892
conv_1 21.593380
conv_2 19.800827
conv_3 13.222379
fc 29.866524
"""

NAMES = ["conv_1", "conv_2", "conv_3", "fc"]
BINS = 2048


@pytest.fixture(scope="module")
def net():
    return nets.small()


@pytest.fixture(scope="module")
def inputs(net):
    """All values that each layer read, by its name."""
    blobs = {layer.name: origins(net)[layer.inputs[0]] for layer in quantizable(net.layers)}
    engine = Engine.of(net)
    runs = [[np.array(blob).ravel() for blob in engine.blobs(image, list(blobs.values()))] for image in IMAGES]
    return {name: np.concatenate(values) for name, values in zip(blobs, zip(*runs, strict=True), strict=True)}


def ours(net, method):
    return table(Job(net, IMAGES, nets.settings(method), target("ncnn2int8")))


def thresholds(scales):
    return {name: 127 / float(scale) for name, scale in scales.inputs.items()}


def test_the_weights_scales_are_those_of_its_kl(net):
    scales, theirs = ours(net, "kl").entries(), dict(line.split(maxsplit=1) for line in KL.splitlines())
    for name in NAMES:
        key = f"{name}_param_0"
        assert [f"{scale:.6f}" for scale in scales[key]] == theirs[key].split()


def divergences(values):
    """By the number of bins up to a threshold, the KL divergence that quantize_KL in ncnn2table.cpp computes."""
    magnitudes = np.abs(values[values != 0])
    index = np.minimum((magnitudes / magnitudes.max() * np.float32(BINS)).astype(int), BINS - 1)
    share = np.bincount(index, minlength=BINS) / len(index)
    cumulated = np.concatenate([[0], np.cumsum(share)])
    result = {}
    for end in range(128, BINS):
        clipped = share[:end] + 1e-4
        clipped[-1] += share[end:].sum()
        edges, bins = np.arange(129) * end / 128, np.arange(end + 1)
        spread = np.diff(np.interp(bins, edges, np.interp(edges, bins, cumulated[: end + 1]))) + 1e-4
        result[end] = float((clipped * np.log(clipped / spread)).sum())
    return result


def test_kl_is_as_good_as_its_own(net, inputs):
    """Its divergence says how near two thresholds are, which are far apart where the curve is flat and rough.

    Octet's bins are up to 1.5 times as many, and it looks at every 6th first. On five sets of images (normal and Laplace, 24
    to 64 of them) its thresholds had at most 1.04 % more divergence than the least, whatever their distance, up to 9 %.
    """
    mine, theirs = thresholds(ours(net, "kl")), thresholds(loads(KL))
    for name in NAMES:
        losses, bin = divergences(inputs[name]), np.abs(inputs[name]).max() / BINS
        best = min(losses, key=losses.get)
        assert (best + 0.5) * bin == pytest.approx(theirs[name], rel=1e-6), "the divergences above are ncnn2table's"
        assert losses[min(round(mine[name] / bin - 0.5), BINS - 1)] <= 1.02 * losses[best]
        assert mine[name] == pytest.approx(theirs[name], rel=0.003), "on these images they are near, too"


def test_aciq_is_another_method_than_its_own_and_loses_no_more(net, inputs):
    """Its own takes the deviation of a Gaussian from the largest magnitude and the number of values in one image alone."""
    mine, theirs, ratios = thresholds(ours(net, "aciq")), thresholds(loads(ACIQ)), []
    for name in NAMES:
        values = inputs[name]
        largest, count = np.abs(values).max(), len(values) / len(IMAGES)
        deviation = largest * 0.35 * (1 + np.sqrt(np.pi * np.log(4))) / np.sqrt(2 * np.log(count))
        assert theirs[name] == pytest.approx(3.92403714 * deviation, rel=1e-5), "compute_aciq_gaussian_clip, 8 bits"

        def error(threshold, values=values):
            step = threshold / 127
            return np.square(np.clip(np.round(values / step), -127, 127) * step - values).mean()

        ratios.append(error(mine[name]) / error(theirs[name]))
    assert max(ratios) < 1.01
    assert min(ratios) < 0.5


def test_its_tables_make_int8_models(net):
    """Its aciq clips weights too, so that some have larger integers than the 31 of Winograd: ncnn2int8 takes them."""
    for text in (KL, ACIQ):
        int8 = quantize(net, loads(text), target("ncnn2int8"), [], "t")
        assert np.isfinite(Engine.of(int8)(IMAGES[0])).all()
