"""Files of safetensors, and what of a checkpoint timm's networks take."""

import json

import numpy as np
import pytest
import torch

from octet.core.errors import OctetError
from octet.export import checkpoint, safetensors_file
from tests.hand_made import SAFETENSORS

pytestmark = pytest.mark.unit


def file(header: object, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def test_what_safetensors_writes_is_read(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(SAFETENSORS)
    weights = checkpoint.read(tmp_path / "x.safetensors").weights
    tensors = {key: checkpoint.as_tensor(key, value, "x") for key, value in weights.items()}
    wanted = {
        "n": torch.tensor(7),
        "e": torch.zeros(0, 3),
        "fc.weight": torch.tensor([[1.5, -2, 3], [4, 5, 6]]),
        "b": torch.tensor([1, 3.140625]),
        "h": torch.tensor([1, -0.5]),
        "f": torch.tensor([True, False]),
    }
    assert tensors.keys() == wanted.keys()
    for key, value in wanted.items():
        assert tensors[key].dtype == value.dtype
        assert torch.equal(tensors[key], value)


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "its header is cut off"),
        (b"PK\3\4" + bytes(60), "its header is cut off"),
        (SAFETENSORS[:100], "its header is cut off"),
        (SAFETENSORS[:-1], "lies outside of the file"),
        (file(b"{"), "its header is no JSON"),
        (file(b"[" * 100_000), "its header is no JSON"),
        (file([1]), "its header is no JSON object"),
        (file({"a": 1}), "a tensor lacks its dtype, shape or place"),
        (file({"a": ONE | {"shape": [-2]}}, bytes(8)), "impossible shape"),
        (file({"a": ONE | {"shape": [1] * 33}}, bytes(8)), "impossible shape"),
        (file({"a": ONE | {"shape": [3]}}, bytes(8)), "another number of bytes than its shape says"),
        (file({"a": ONE}, bytes(7)), "lies outside of the file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, problem):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(OctetError, match=problem) as error:
        safetensors_file.read(path)
    assert str(path) in str(error.value)


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(file({"a": ONE | {"dtype": "F8_E4M3", "data_offsets": [0, 2]}}, bytes(2)))
    with pytest.raises(OctetError, match="a is a tensor of the dtype F8_E4M3; expected a plain tensor"):
        checkpoint.read(path)


def test_an_empty_tensor_of_an_impossible_size_reads_nothing(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(file({"a": ONE | {"shape": [0, 1 << 40, 1 << 40], "data_offsets": [0, 0]}}))
    assert safetensors_file.read(path)["a"].shape == (0, 1 << 40, 1 << 40)


@pytest.mark.parametrize(("averages", "wanted"), [(True, 2), (False, 1)])
def test_timm_s_averages_are_taken_where_they_are_asked_for(tmp_path, averages, wanted):
    path = tmp_path / "x.pth.tar"
    states = {"state_dict": {"module.fc.bias": torch.ones(3)}, "state_dict_ema": {"fc.bias": torch.full((3,), 2.0)}}
    torch.save({"epoch": 3, "arch": "resnet18", **states}, path)
    weights = checkpoint.read(path, averages=averages).weights
    assert list(weights) == ["fc.bias"]
    assert (weights["fc.bias"].values() == np.full(3, wanted)).all()


@pytest.mark.parametrize("alone", [True, False])
def test_torch_s_averages_have_a_count_beside_their_names(tmp_path, alone):
    """AveragedModel, which torchvision's references/classification/train.py saves with --model-ema."""
    network, path = torch.nn.Linear(2, 3), tmp_path / "checkpoint.pth"
    averages = torch.optim.swa_utils.AveragedModel(network)
    averages.module.bias.data.fill_(7.0)
    assert sorted(averages.state_dict()) == ["module.bias", "module.weight", "n_averaged"]
    torch.save(
        averages.state_dict() if alone else {"model": network.state_dict(), "model_ema": averages.state_dict()}, path
    )
    loaded = torch.nn.Linear(2, 3)
    checkpoint.load_weights(loaded, checkpoint.read(path, averages=True).weights, path)
    assert torch.equal(loaded.weight, network.weight)
    assert loaded.bias.tolist() == [7.0] * 3


@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"state_dict": state}, lambda state: {"model": state}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_the_weights_are_found_under_every_usual_key_and_prefix(tmp_path, wrap, prefix):
    state = {f"{prefix}fc.{name}": torch.ones(3) for name in ("weight", "bias")}
    torch.save(wrap(state), tmp_path / "x.pth")
    assert sorted(checkpoint.read(tmp_path / "x.pth", averages=True).weights) == ["fc.bias", "fc.weight"]
