"""The families that MMDeploy converts to ncnn: a network of each from mmcls's zoo, in full size with random weights."""

import pytest

pytestmark = pytest.mark.slow

# The layers in int8, of those that could be: dotprod leaves in fp32 the first layer and convolutions in groups.
LAYERS = {
    "resnet/resnet18_8xb16_cifar10.py": (20, 21),
    "resnext/resnext50-32x4d_8xb32_in1k.py": (37, 54),
    "seresnet/seresnet50_8xb32_in1k.py": (85, 86),
    "mobilenet_v2/mobilenet-v2_8xb32_in1k.py": (35, 53),
    "mobilenet_v3/mobilenet-v3-small_8xb32_in1k.py": (42, 54),
    "shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py": (2, 50),
    "shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py": (37, 57),
    "vision_transformer/vit-base-p32_pt-64xb64_in1k-224.py": (38, 39),
}


@pytest.mark.parametrize(("config", "layers"), LAYERS.items())
def test_it_converts_and_runs_in_int8(config, layers, tmp_path):
    from tests.bench.zoo.measure import measure

    result = measure(config, tmp_path)
    assert result["fp32_difference"] < 1e-3
    assert result["variation"] > 0.02  # else the difference says little
    assert (result["int8_layers"], result["quantizable_layers"]) == layers
    assert result["int8_sqnr_db"] > 20
