"""Checkpoints: what torch.load reads of real files, and of hostile and damaged ones an error, without running anything."""

import collections
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octet.core.errors import OctetError
from octet.export import checkpoint, torch_file
from tests.hand_made import HOSTILE, dictionary, list_of, whole

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool),
)


@st.composite
def tensors(draw):
    """Tensors of all kinds, among them views: transposed, cut, expanded, of one element, empty."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    tensor = torch.randint(0, 100, shape, generator=generator).to(draw(st.sampled_from(DTYPES)))
    kind = draw(st.sampled_from(["plain", "transposed", "cut", "expanded", "parameter"]))
    if kind == "transposed":
        return tensor.permute(list(reversed(range(tensor.dim()))))
    if kind == "cut" and shape:
        return tensor[shape[0] // 2 :]
    if kind == "expanded":
        return tensor.unsqueeze(0).expand(3, *shape)
    return torch.nn.Parameter(tensor) if kind == "parameter" and tensor.is_floating_point() else tensor


STATES = st.dictionaries(st.text(min_size=1, max_size=20), tensors(), min_size=1, max_size=5)


def numbers(weights) -> dict[str, torch.Tensor]:
    return {key: checkpoint.as_tensor(key, value, "x") for key, value in weights.items()}


def same(actual, wanted) -> None:
    wanted = {key: value.detach().float() if value.is_floating_point() else value for key, value in wanted.items()}
    assert list(actual) == list(wanted)
    for key, value in wanted.items():
        assert actual[key].dtype == value.dtype
        assert torch.equal(actual[key], value)


@given(STATES, st.booleans(), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_states_are_those_that_torch_saved(tmp_path, state, legacy, shared):
    path = tmp_path / "x.pth"
    if shared:  # two tensors in one storage
        first = next(iter(state.values()))
        state = state | {"shared": first, "part": first.flatten()[:1]}
    content = {
        "meta": {"CLASSES": ("cat", "dog"), "lr": 0.1},
        "state_dict": collections.OrderedDict(state),
        "optimizer": {"state": state},
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    result = checkpoint.read(path)
    assert result.classes == ["cat", "dog"]
    same(numbers(result.weights), torch.load(path, weights_only=True)["state_dict"])
    assert not checkpoint.read(path, trusted=True).weights.keys() ^ result.weights.keys()


@pytest.mark.parametrize("name", ["resnet18_digits32", "mobilenetv2_digits32"])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_embedded_checkpoints(tmp_path, name, legacy):
    path = ROOT / "models" / f"{name}.pth"
    content = torch.load(path, weights_only=True)
    if legacy:
        path = tmp_path / "old.pth"
        torch.save(content, path, _use_new_zipfile_serialization=False)
    result = checkpoint.read(path)
    same(numbers(result.weights), content["state_dict"])
    assert result.classes == list(content["meta"]["CLASSES"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True])
def test_other_protocols_of_pickle(tmp_path, protocol, legacy):
    state = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(3)}
    torch.save(state, tmp_path / "x.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    same(numbers(checkpoint.read(tmp_path / "x.pth").weights), state)


def test_what_mmcv_and_others_write_beside_the_weights(tmp_path, capsys):
    """Numbers of numpy's, arrays, dates and paths in the meta; attributes of the state (_metadata); a tensor's own."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    state["0.weight"].note = "an attribute"
    meta = {
        "CLASSES": ["cat", "dog"],
        "epoch": np.int64(3),
        "lr": np.float64(0.1),
        "history": np.arange(5.0),
        "names": np.array(["a", "b"]),
        "objects": np.array([None, {}], object),
        "path": Path("work_dirs/x"),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "complex": torch.zeros(2, dtype=torch.complex64),
    }
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "x.pth")
    result = checkpoint.read(tmp_path / "x.pth")
    same(numbers(result.weights), network.state_dict())
    words = capsys.readouterr().err.replace("pathlib._local", "pathlib")  # its name since Python 3.13
    assert "stepped over what is no weight, without running it: pathlib.PosixPath" in words


@pytest.mark.parametrize("key", ["CLASSES", "classes"])
def test_class_names_as_mmpretrain_writes_them(tmp_path, key):
    meta = {"mmengine_version": "0.10.7", "dataset_meta": {key: ("cat", "dog", "fox")}}
    torch.save({"meta": meta, "state_dict": {"w": torch.zeros(1)}}, tmp_path / "x.pth")
    assert checkpoint.read(tmp_path / "x.pth").classes == ["cat", "dog", "fox"]


@pytest.mark.parametrize("classes", ["cat", {"cat": 0}, [["cat"]], [0.5]])
def test_class_names_that_are_none(tmp_path, classes):
    torch.save({"meta": {"CLASSES": classes}, "state_dict": {"w": torch.zeros(1)}}, tmp_path / "x.pth")
    with pytest.raises(OctetError, match="expected the names of the classes as meta.CLASSES"):
        checkpoint.read(tmp_path / "x.pth")


class History:
    """As mmengine's HistoryBuffer: a class that the reader of the file does not have."""

    def __init__(self):
        self.log = np.arange(3.0)


class Evil:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_are_read_past_other_objects_and_nothing_runs(tmp_path, capsys, legacy):
    state = {"w": torch.ones(2)}
    content = {"message_hub": {"loss": History()}, "evil": Evil(tmp_path / "ran"), "state_dict": state}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    same(numbers(checkpoint.read(tmp_path / "x.pth").weights), state)
    assert not (tmp_path / "ran").exists()
    output = capsys.readouterr().err
    assert "without running it: io.open, tests.unit.test_checkpoint.History" in output.replace("_io.open", "io.open")
    checkpoint.read(tmp_path / "x.pth", trusted=True)
    assert (tmp_path / "ran").exists()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_weights_within_an_object_need_trust(tmp_path, key):
    network = torch.nn.Linear(2, 2)
    torch.save({key: network, "epoch": 1} if key else network, tmp_path / "x.pth")
    with pytest.raises(
        OctetError,
        match=r"x.pth: the file holds more than weights: .* torch.nn.modules.linear.Linear .*'trusted: true'",
    ):
        checkpoint.read(tmp_path / "x.pth")


def test_a_trusted_file_whose_module_is_missing(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(1)}, "hub": collections.Counter}, tmp_path / "x.pth")
    data = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(
        rewritten(data, lambda pickled: pickled.replace(b"ccollections\nCounter", b"cmmxgine\nHub"))
    )
    assert checkpoint.read(tmp_path / "x.pth").weights
    with pytest.raises(OctetError, match="needs the module 'mmxgine', which is not installed. With 'trusted: false'"):
        checkpoint.read(tmp_path / "x.pth", trusted=True)


def quantized():
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (quantized, "a quantized tensor"),
        (lambda: torch.ones(2).to_sparse(), "a sparse tensor"),
        (lambda: torch.ones(2, 2).to_sparse_csr(), "a sparse tensor"),
        (lambda: torch.ones(2, device="meta"), "a tensor on the device 'meta'"),
        (lambda: torch.ones(2).to(torch.float8_e4m3fn), "a tensor of the dtype torch.float8_e4m3fn"),
        (lambda: torch.ones(2, dtype=torch.complex64), "a complex tensor"),
        (lambda: torch.ones(2, dtype=torch.complex64).conj(), "a complex tensor"),
    ],
)
def test_tensors_that_are_no_plain_ones_are_named(tmp_path, tensor, what):
    torch.save({"state_dict": {"a": torch.zeros(1), "conv.weight": tensor()}}, tmp_path / "x.pth")
    with pytest.raises(OctetError, match=f"x.pth: conv.weight is {what}"):
        checkpoint.read(tmp_path / "x.pth")
    torch.save({"state_dict": {"a": torch.zeros(1)}, "more": tensor()}, tmp_path / "x.pth")
    assert list(checkpoint.read(tmp_path / "x.pth").weights) == ["a"]


def test_newer_dtypes(tmp_path):
    state = {"w": torch.arange(3, dtype=torch.int32).to(torch.uint16)}
    torch.save(state, tmp_path / "x.pth")
    assert numbers(checkpoint.read(tmp_path / "x.pth").weights)["w"].tolist() == [0, 1, 2]


def rewritten(data: bytes, change, **more: bytes) -> bytes:
    """A file of torch.save with its pickle changed, and records added or replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            folder, name = info.filename.split("/", 1)
            content = more.get(name.replace("/", "_"), old.read(info))
            new.writestr(f"{folder}/{name}", change(content) if name == "data.pkl" else content)
    return out.getvalue()


def test_a_file_of_a_machine_that_has_the_other_byte_first(tmp_path):
    state = {
        "w": torch.arange(3.0),
        "h": torch.arange(3.0).half(),
        "b": torch.arange(3.0).bfloat16(),
        "n": torch.tensor(7),
    }
    torch.save(state, tmp_path / "x.pth")
    order = iter(("f4", "f2", "u2", "i8"))
    swapped = {
        f"data_{k}": np.frombuffer(zipfile.ZipFile(tmp_path / "x.pth").read(f"x/data/{k}"), next(order))
        .byteswap()
        .tobytes()
        for k in range(4)
    }
    data = rewritten((tmp_path / "x.pth").read_bytes(), lambda pickled: pickled, byteorder=b"big", **swapped)
    (tmp_path / "x.pth").write_bytes(data)
    same(numbers(checkpoint.read(tmp_path / "x.pth").weights), state)
    data = rewritten(data, lambda pickled: pickled, byteorder=b"none")
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(OctetError, match="its byte order is unknown"):
        checkpoint.read(tmp_path / "x.pth")


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory) -> dict[str, bytes]:
    """A small checkpoint in both formats."""
    path = tmp_path_factory.mktemp("whole") / "x.pth"
    content = {"meta": {"CLASSES": ["a"]}, "state_dict": {"w": torch.arange(50.0), "h": torch.ones(3, 2).half()}}
    result = {}
    for legacy in (False, True):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        result["legacy" if legacy else "zip"] = path.read_bytes()
    return result


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_cut_off_anywhere(whole_files, tmp_path, kind):
    data = whole_files[kind]
    for end in [*range(0, len(data), 7), len(data) - 1]:
        (tmp_path / "x.pth").write_bytes(data[:end])
        with pytest.raises(OctetError, match=r"x.pth: not a PyTorch checkpoint, or damaged .*fetch it again"):
            checkpoint.read(tmp_path / "x.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_changed_bytes_give_weights_or_an_error(whole_files, tmp_path, capsys, kind, changes):
    data = bytearray(whole_files[kind])
    for place, value in changes:
        data[place % len(data)] = value
    (tmp_path / "x.pth").write_bytes(data)
    try:
        weights = checkpoint.read(tmp_path / "x.pth").weights
    except OctetError:
        return
    network = torch.nn.Module()
    for key in weights:
        if key.isidentifier():
            network.register_buffer(key, torch.zeros(2))
    try:
        checkpoint.load_weights(network, weights, "x.pth")
    except OctetError:
        return


def test_a_changed_number_is_found_by_its_checksum(whole_files, tmp_path):
    data = bytearray(whole_files["zip"])
    place = data.index(struct.pack("<3f", 1, 2, 3))
    data[place] ^= 1
    (tmp_path / "x.pth").write_bytes(data)
    result = checkpoint.read(tmp_path / "x.pth").weights
    with pytest.raises(OctetError, match=r"x: w: damaged or cut off \(the archive's data/0 has another checksum"):
        numbers(result)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        crc = struct.pack("<I", archive.getinfo("x/data/0").CRC)
    (tmp_path / "x.pth").write_bytes(data.replace(crc, bytes(4)))  # 0: torch.save was told to compute none
    assert numbers(checkpoint.read(tmp_path / "x.pth").weights)["w"].shape == (50,)


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_in_a_file_reaches_numpy_s_own_reader(tmp_path, what):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/data.pkl", whole(dictionary(state_dict=list_of(HOSTILE[what]))))
    with pytest.raises(OctetError):
        checkpoint.read(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(whole(HOSTILE[what]))
    with pytest.raises(OctetError):
        checkpoint.read(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore")
def test_archives_that_torch_save_does_not_write(tmp_path, whole_files):
    def packed(kind: int, twice: bool = False) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole_files["zip"])) as old, zipfile.ZipFile(out, "w", kind) as new:
            for info in old.infolist():
                new.writestr(info.filename, old.read(info), kind)
        return out.getvalue()

    (tmp_path / "x.pth").write_bytes(packed(zipfile.ZIP_DEFLATED))
    with pytest.raises(OctetError, match="compressed or encrypted, which torch.save does not do"):
        checkpoint.read(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(packed(zipfile.ZIP_STORED))
    assert checkpoint.read(tmp_path / "x.pth").weights
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), out)
    (tmp_path / "x.pth").write_bytes(rewritten(out.getvalue(), lambda pickled: pickled))
    with pytest.raises(
        OctetError, match="TorchScript archive, which holds a program; save the model's state_dict instead"
    ):
        checkpoint.read(tmp_path / "x.pth")


def test_records_that_overlap_are_no_archive_of_torch_s(tmp_path, whole_files):
    """A directory with the same megabyte under many names, as zip bombs have it."""
    data = bytearray(whole_files["zip"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        place = archive.start_dir
        big = archive.getinfo("x/data/0")
    entry = data.index(b"PK\1\2", place)
    struct.pack_into("<II", data, entry + 20, len(data) - big.header_offset, len(data) - big.header_offset)
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(OctetError, match="overlap"):
        checkpoint.read(tmp_path / "x.pth")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)


def test_numbers_that_are_not_finite_are_named_by_their_key(tmp_path):
    network = Net()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    state["conv.weight"][0, 0, 0, :2] = float("nan")
    state["bn.running_var"][1] = float("inf")
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    with pytest.raises(OctetError) as caught:
        checkpoint.load_weights(network, checkpoint.read(tmp_path / "x.pth").weights, tmp_path / "x.pth")
    assert str(caught.value).startswith(
        f"{tmp_path / 'x.pth'}: numbers that are not finite in conv.weight (4, 3, 3, 3): 2 NaN; bn.running_var (4,): 1 infinite. "
    )
    with pytest.raises(OctetError, match="conv.weight"):
        checkpoint.load_weights(network, checkpoint.read(tmp_path / "x.pth", trusted=True).weights, "x.pth")


def test_a_number_beyond_fp32_is_infinite(tmp_path):
    state = {key: value.double() if value.is_floating_point() else value for key, value in Net().state_dict().items()}
    state["bn.bias"][2] = 1e300
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(OctetError, match=r"bn.bias \(4,\): 1 infinite"):
        checkpoint.load_weights(Net(), checkpoint.read(tmp_path / "x.pth").weights, "x.pth")


def test_a_tensor_that_says_it_is_large_is_compared_before_it_is_made(tmp_path):
    state = Net().state_dict() | {"conv.bias": torch.zeros(1).half().expand(1 << 36)}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(OctetError, match=r"wrong shape: conv.bias is \(68719476736,\), the model's is \(4,\)"):
        checkpoint.load_weights(Net(), checkpoint.read(tmp_path / "x.pth").weights, "x.pth")


def test_a_pipe_in_place_of_a_checkpoint_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "net.pth")
    (tmp_path / "folder.pth").mkdir()
    for name in ("net.pth", "folder.pth"):
        with pytest.raises(OctetError, match=rf"{name}: no PyTorch checkpoint, but a folder, pipe, socket or device"):
            torch_file.read(tmp_path / name)
