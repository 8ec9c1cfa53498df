"""A variant that begins where it differs gives what the whole network gives, bit for bit."""

import numpy as np
import pytest

from octet.analyze.analyze import analyze
from octet.calibrate.calibrate import table
from octet.calibrate.job import Job
from octet.graph.targets import TARGETS
from octet.ncnn.engine import Engine
from octet.ncnn.net import Net
from octet.ncnn.variants import Base, Variant, same
from octet.quantize import sensitivity
from octet.quantize.quantize import quantize
from octet.quantize.sensitivity import int8_layers
from tests import nets

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=[nets.DOTPROD, TARGETS["ncnn2int8"]], ids=lambda one: one.name)
def networks(request):
    net, images, profile = nets.small(), nets.images(4), request.param
    scales = table(Job(net, images, nets.settings("minmax"), profile))
    return net, lambda keep_fp32: quantize(net, scales, profile, keep_fp32, "t"), images


def test_with_one_layer_in_int8_or_all_but_one(networks):
    _, int8, images = networks
    names = int8_layers(int8([]))
    for base_fp32, variants in [
        (names, [[other for other in names if other != name] for name in names]),
        ([], [[name] for name in names]),
    ]:
        base = Base(int8(base_fp32))
        for keep_fp32 in variants:
            whole, variant = int8(keep_fp32), Variant(base, int8(keep_fp32))
            assert not same(base.net, whole)
            for image in images:
                [(mats, arrays)] = base.run([image], variant.needs, [base.net.output])
                assert np.array_equal(arrays[base.net.output].reshape(-1), base.engine(image))
                assert np.array_equal(variant.logits([mats])[0], Engine.of(whole)(image))
            together = [mats for mats, _ in base.run(images, variant.needs, [])]
            assert np.array_equal(variant.logits(together), [Engine.of(whole)(image) for image in images])


def test_blobs_of_the_changed_layer_come_too(networks):
    _, int8, images = networks
    names = int8_layers(int8([]))
    base, net = Base(int8(names)), int8([name for name in names if name != "conv_2"])
    variant, blob = Variant(base, net), net.layer("conv_2").outputs[0]
    [(mats, _)] = base.run(images[:1], variant.needs, [])
    blobs = [values for [values] in variant.run([mats], [blob])]
    wanted = [np.array(values) for values in Engine.of(net).blobs(images[0], [blob, net.output])]
    assert all(np.array_equal(one, other) for one, other in zip(blobs, wanted, strict=True))


def test_a_variant_that_is_the_base_and_one_of_other_layers(networks):
    net, _, images = networks
    base = Base(net)
    assert same(net, net.copy())
    unchanged = Variant(base, net.copy())
    renamed = Net([layer.copy() for layer in net.layers])
    renamed.layers[-1].outputs[0] = "another"
    [(mats, _)] = base.run(images[:1], [*unchanged.needs, *Variant(base, renamed).needs], [])
    assert np.array_equal(unchanged.logits([mats])[0], base.engine(images[0]))
    assert np.array_equal(Variant(base, renamed).logits([mats])[0], Engine.of(renamed)(images[0]))


def test_groups_change_no_figure(networks, monkeypatch):
    net, int8, images = networks
    one_group = analyze(net, int8, {}, images)
    monkeypatch.setattr(sensitivity, "GROUP_BYTES", 1)
    assert len(sensitivity.groups(net, int8_layers(int8([])))) == len(one_group.layers)
    assert analyze(net, int8, {}, images) == one_group
