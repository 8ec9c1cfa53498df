"""mmcls's zoo by name, and what it publishes."""

import pytest

from octet.core.errors import OctetError
from octet.zoo import catalogue

pytestmark = pytest.mark.unit


def test_models_of_the_zoo():
    """Literals from mmcls 0.25's metafiles."""
    result = catalogue.find("resnet18_8xb16_cifar10")
    assert result == catalogue.ZooModel(
        "resnet18_8xb16_cifar10",
        "ResNet",
        "resnet/resnet18_8xb16_cifar10.py",
        "https://download.openmmlab.com/mmclassification/v0/resnet/resnet18_b16x8_cifar10_20210528-bd6371c8.pth",
        11_170_000,
        94.82,
        "CIFAR-10",
    )
    assert str(result.file) == "models/zoo/resnet18_b16x8_cifar10_20210528-bd6371c8.pth"
    assert result.sha256 == "bd6371c8"
    assert catalogue.by_file("/elsewhere/resnet18_b16x8_cifar10_20210528-bd6371c8.pth") is result
    assert catalogue.by_file("models/resnet18_digits32.pth") is None
    assert len(catalogue.models()) == 196
    assert all(len(model.sha256) == 8 for model in catalogue.models().values())
    assert len({model.file for model in catalogue.models().values()}) == 196


def test_names_of_configs_and_unknown_names():
    assert catalogue.find("mobilenet-v3-small_8xb32_in1k").name == "mobilenet_v3_small_imagenet"
    with pytest.raises(
        OctetError, match="a config of several models; take one of hrnet-w18_3rdparty_8xb32_in1k, hrnet-w18_3"
    ):
        catalogue.find("hrnet-w18_4xb32_in1k")
    with pytest.raises(
        OctetError, match="resnet18_8xb16_cifar: no such model in mmcls's zoo. Did you mean 'resnet18_8xb16_c"
    ):
        catalogue.find("resnet18_8xb16_cifar")


def test_the_published_top_1_beside_the_found_one(capsys):
    file = "x/resnet18_b16x8_cifar10_20210528-bd6371c8.pth"
    assert catalogue.published_top1_pct(file, 94.9) == 94.82
    assert capsys.readouterr().err == ""
    assert catalogue.published_top1_pct(file, 93.0) == 94.82
    output = capsys.readouterr().err
    assert "fp32 top-1 is 93.00 %, published are 94.82 % on CIFAR-10 (-1.82 points)" in output
    for cause in ("channel order", "normalization", "resize"):
        assert cause in output
    assert catalogue.published_top1_pct("models/mine.pth", 1.0) is None
    assert capsys.readouterr().err == ""
