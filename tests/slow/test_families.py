"""The families that MMDeploy converts to ncnn: a network of each from mmcls's zoo, in full size with random weights."""

import pytest

pytestmark = pytest.mark.slow

CONFIGS = [
    "resnet/resnet18_8xb16_cifar10.py",
    "resnext/resnext50-32x4d_8xb32_in1k.py",
    "seresnet/seresnet50_8xb32_in1k.py",
    "mobilenet_v2/mobilenet-v2_8xb32_in1k.py",
    "mobilenet_v3/mobilenet-v3-small_8xb32_in1k.py",
    "shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py",
    "shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py",
    "vision_transformer/vit-base-p32_pt-64xb64_in1k-224.py",
]


@pytest.mark.parametrize("config", CONFIGS)
def test_it_converts_and_runs_in_int8(config, tmp_path):
    from tests.bench.zoo.measure import measure

    found = measure(config, tmp_path)
    assert found["fp32_difference"] < 1e-3
    assert found["variation"] > 0.02  # else the difference says little
    assert found["int8_layers"] >= 18
    assert found["int8_sqnr_db"] > 15
