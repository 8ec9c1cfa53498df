"""The readers, each as a function of a file's bytes, with valid files to begin with.

A new reader is a function below with @reader: that is all that the tests and `make fuzz` need.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(1 << 21)  # else images alone would take a user's limit of 0.5 GiB
os.environ["no_proxy"] = "127.0.0.1"

import numpy as np
from PIL import Image

from octet.core import params
from octet.core.engines.files import check_models
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.params import Check
from octet.core.pickle_reader import BadPickle
from octet.core.pickled_arrays import CONSTRUCTORS
from octet.core.pickles import loads
from octet.core.plan import read_plan
from octet.data import image_files, preprocess
from octet.data.cifar import Cifar
from octet.data.dataset import open_split
from octet.data.geometry import CenterCrop, CropAndResize, Resize
from octet.device import answers, devices, record, runtimes_record
from octet.device import check as device_check
from octet.device.figures import DeviceSpeed
from octet.evaluate import engines
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.predictions import Prediction, predictions_csv, read_predictions
from octet.export import safetensors_file, torch_file
from octet.export.stored_tensors import StoredTensor
from octet.graph import profiles, ranges
from octet.ncnn import table
from octet.ncnn.net import load_layers, load_net, save_net
from octet.project import transfer
from octet.project.provenance import provenance
from octet.quantize import gptq_weights
from octet.quantize.gptq_weights import GptqWeights
from octet.report import collect, figures, peers
from octet.summary import engines as summary_engines
from octet.summary.summary import Summary, summary_table
from octet.summary.summary import latency as summary_latency
from tests import nets, onnx_nets
from tests.hand_made import HOSTILE, SAFETENSORS, dictionary, list_of, whole

ROOT = Path(__file__).parents[2]
CLASSES = ["cat", "dog", "owl"]
_LARGEST_TENSOR = 10_000  # numbers; a network says how many it wants before they are made


@dataclass(frozen=True)
class FuzzReader:
    """A reader under test.

    Args:
        name: The folder of its cases.
        read: Takes a file's bytes, and an empty folder of its own, which it may leave as it likes. Raises nothing but
            OctetError.
        seeds: Makes valid files in such a folder.
        words: What its format is written with, beside the words of the seeds.
    """

    name: str
    read: Callable[[bytes, Path], None]
    seeds: Callable[[Path], list[bytes]]
    words: tuple[bytes, ...] = ()


READERS: dict[str, FuzzReader] = {}


def reader(
    seeds: Callable[[Path], list[bytes]], *words: bytes
) -> Callable[[Callable[[bytes, Path], None]], Callable[[bytes, Path], None]]:
    """Makes a function one of READERS, under its name."""

    def register(read: Callable[[bytes, Path], None]) -> Callable[[bytes, Path], None]:
        READERS[read.__name__] = FuzzReader(read.__name__, read, seeds, words)
        return read

    return register


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _project(*names: str) -> Callable[[Path], list[bytes]]:
    return lambda _: [(ROOT / name).read_bytes() for name in names]


# --- ncnn's files


def _net(folder: Path) -> tuple[bytes, bytes]:
    save_net(nets.small(), folder / "x.param", folder / "x.bin")
    return (folder / "x.param").read_bytes(), (folder / "x.bin").read_bytes()


@reader(
    lambda folder: [_net(folder)[0]],
    b"Convolution",
    b"ConvolutionDepthWise",
    b"Gemm",
    b"MultiHeadAttention",
    b"-23330=",
)
def param(data: bytes, folder: Path) -> None:
    load_layers(_file(folder, "x.param", data))


@reader(lambda folder: [_net(folder)[1]], struct.pack("<I", 0x000D4B38), struct.pack("<I", 0x01306B47))
def bin_file(data: bytes, folder: Path) -> None:
    graph, _ = _net(folder)
    load_net(_file(folder, "x.param", graph), _file(folder, "x.bin", data))


@reader(lambda folder: [b"".join((struct.pack("<H", len(_net(folder)[0])), *_net(folder)))])
def param_and_bin(data: bytes, folder: Path) -> None:
    """The length of the .param, the .param, the .bin."""
    end = 2 + int.from_bytes(data[:2], "little")
    load_net(_file(folder, "x.param", data[2:end]), _file(folder, "x.bin", data[end:]))


@reader(lambda _: [b"conv_1_param_0 12.5 3.25 1e2\nconv_1 41.5\n", b"fc_param_0 1\nfc 0.5\n"], b"_param_0")
def calibration_table(data: bytes, folder: Path) -> None:
    table.load(_file(folder, "int8.table", data))


# --- parameters and figures

_PROFILE = b"base: dotprod\nlayers:\n  conv_1: {int8: true, requantize: false}\n  'fc': {int8: false}\nfp32_costs_us:\n  fc: 3\n"


@reader(_project("params.yaml"), b"&a ", b"*a", b"!!binary", b"<<: ", b"? ", b"|\n", b"models.", b"null")
def params_yaml(data: bytes, folder: Path) -> None:
    params.load(_file(folder, "params.yaml", data))


@reader(lambda _: [_PROFILE], b"&a ", b"*a", b"winograd")
def profile(data: bytes, folder: Path) -> None:
    profiles.load(_file(folder, "board.yaml", data))


@reader(_project("dvc.lock"), b"&a ", b"*a")
def dvc_lock(data: bytes, folder: Path) -> None:
    provenance("resnet18_digits32", _file(folder, "dvc.lock", data))


def _preprocess(folder: Path) -> list[bytes]:
    geometry = [Resize(9, -1, "short", "bilinear", "cv2"), CenterCrop(9, 9), CropAndResize(8, 3, "area", "cv2")]
    result = []
    for order, count in (("RGB", 3), ("GREY", 1)):
        steps = preprocess.Preprocess(order, [120.5] * count, [58.0] * count, [8, 8], CLASSES, geometry=geometry)
        preprocess.save(steps, folder / "x.json")
        result.append((folder / "x.json").read_bytes())
    return result


@reader(_preprocess, b"CenterCrop", b"CropAndResize", b"lanczos", b"pillow", b"NaN", b"null", b"1e999")
def preprocess_json(data: bytes, folder: Path) -> None:
    steps = preprocess.load(_file(folder, "preprocess.json", data))
    for height, width in ((8, 8), (31, 50), (1, 60)):
        image = np.full((height, width, 3) if steps.channels == 3 else (height, width), 77, np.uint8)
        try:
            steps(image)
        except OctetError:
            continue


@reader(lambda _: [b'{"keep_fp32": ["conv_1"], "budget": 0.001}'], b"null", b"{}", b"[]")
def plan(data: bytes, folder: Path) -> None:
    read_plan(_file(folder, "plan.json", data))


@reader(
    lambda _: [b'{"conv_1": {"input_absmax": 3.5, "input_threshold": 2, "clipped_pct": 0.1}}'], b"null", b"{}", b"[]"
)
def ranges_json(data: bytes, folder: Path) -> None:
    ranges.load(_file(folder, "ranges.json", data))


@reader(_project("metrics/resnet18_digits32/fp32.json"), b"null", b"{}", b"[]")
def accuracy(data: bytes, folder: Path) -> None:
    Accuracy.load(_file(folder, "fp32.json", data))


@reader(_project("metrics/resnet18_digits32/summary.json"), b"null", b"{}", b"[]")
def summary(data: bytes, folder: Path) -> None:
    summary_table({"x": Summary.load(_file(folder, "summary.json", data))})


@reader(_project("metrics/resnet18_digits32/peers.json"), b"null", b"{}", b"[]")
def peers_json(data: bytes, folder: Path) -> None:
    peers.markdown(peers.read(_file(folder, "peers.json", data)))


def _npz(folder: Path) -> list[bytes]:
    gptq_weights.save({"a": GptqWeights(np.arange(3, dtype=np.int8), np.ones(2, np.float32))}, folder / "x.npz")
    return [(folder / "x.npz").read_bytes()]


@reader(_npz, b"'descr': '|O'", b"fortran_order", b"\x93NUMPY")
def rounding(data: bytes, folder: Path) -> None:
    gptq_weights.load(_file(folder, "rounding.npz", data))


_ROWS = [Prediction("a.png", "cat", ["cat", 'a "dog"'], [0.75, 0.25]), Prediction("b", "ö", ["ö", "cat"], [1, 0])]


@reader(lambda _: [predictions_csv(_ROWS).encode()], b'"', b"nan", b"\r")
def predictions(data: bytes, folder: Path) -> None:
    read_predictions(_file(folder, "p.csv", data))


# --- engines beside ncnn


def _engine_model() -> bytes:
    """An int8 model as the stage qdq writes it."""
    from octet.qdq.network import Network
    from octet.qdq.profiles import PROFILES
    from octet.qdq.quantize import quantize

    network = Network(onnx_nets.classifier(end=(), shape=(1, 3, 16, 16)), "net")
    images = [np.full((3, 16, 16), value, np.float32) for value in (-1, 2)]
    (int8,) = quantize(network, [PROFILES["onnxruntime"]], images, nets.settings("minmax"))
    model: bytes = int8.model.SerializeToString(deterministic=True)
    return model


@reader(lambda _: [onnx_nets.classifier(end=(), shape=(1, 3, 16, 16)).SerializeToString()], b"Conv", b"MatMul")
def onnx_network(data: bytes, folder: Path) -> None:
    """fp32.onnx, as the stage qdq reads it."""
    from octet.qdq.network import load
    from octet.qdq.placement import place
    from octet.qdq.profiles import PROFILES

    with np.errstate(all="ignore"):
        network = load(_file(folder, "fp32.onnx", data))
    for profile in PROFILES.values():
        place(network, profile)


@reader(lambda _: [_engine_model()], b"QuantizeLinear", b"DequantizeLinear")
def engine_model(data: bytes, folder: Path) -> None:
    """Even with the checksum that it should have."""
    from octet.core.engines.engine import load

    load("onnxruntime", _file(folder, "onnxruntime.onnx", data))(np.ones((3, 16, 16), np.float32))


@reader(
    lambda _: [
        b'{"onnxruntime": {"int8": ["a"], "float": {"b": "c"}, "sha256": "%s", "kl_alone": {"a": 0.1}}}'
        % sha256(b"").hexdigest().encode()
    ],
    *(b"null", b"{}", b"[]"),
)
def engine_layers(data: bytes, folder: Path) -> None:
    model = ModelFolder("net", folder)
    _file(folder, "models/net/engines/layers.json", data)
    _file(folder, "models/net/engines/onnxruntime.onnx", b"")
    check_models(model, ["onnxruntime"])


@reader(
    lambda _: [
        b'{"onnxruntime": {"agreement_pct": 99.5, "bytes": 9, "kl_top5_nats": 1e-6, "top1_pct": 1, "top1_drop_pt": 0}}'
    ],
    *(b"null", b"{}", b"[]", b'"top1_drop_se_pt": '),
)
def engine_figures(data: bytes, folder: Path) -> None:
    """As make check and the summary read them."""
    path = _file(folder, "engines.json", data)
    for name, of in engines.load(path, ["onnxruntime"], "net").items():
        summary_engines.picks([summary_engines.Column(name, of, {1: 2.0})], 1.0)
        summary_engines._drop(of) if of.top1_drop_pt is not None else f"{of.loss_pt:+.2f} {of.bytes / 1e6:.1f}"


# --- devices


@reader(
    lambda _: [(ROOT / f"configs/devices/{name}.yaml").read_bytes() for name in ("local", "qemu-a76")], b"ssh", b"adb"
)
def device(data: bytes, folder: Path) -> None:
    devices.read(_file(folder, "board.yaml", data))


@reader(
    _project("metrics/mobilenetv2_digits32/devices/local.json", "metrics/mobilenetv2_digits32/devices/qemu-a76.json"),
    *(b"null", b"{}", b"[]", b"threads_1"),
)
def device_figures(data: bytes, folder: Path) -> None:
    """As report, card and make check read them."""
    figures = record.DeviceFigures.load(_file(folder, "board.json", data), "x")
    record.columns([figures])
    figures.to_json()
    device_check._judge(figures, Check(device_max_drop_pt=1, device_min_agreement_pct=1, device_min_speedup=1))


_AGAINST = dict.fromkeys(("agreement_pct", "agreement_se_pct", "kl_nats", "kl_se_nats", "sqnr_db"), 1.5)
_ON_RELEASE = {"int8_vs_installed": _AGAINST, "int8_vs_fp32": _AGAINST, "fp32_ms": 3.5, "int8_ms": 1.5}
_RUNTIMES = {
    "machine": {"cpu": "A", "cores": 4, "features": ["x"], "ncnn": "1"},
    "n_images": 9,
    "n_runs": 9,
    "sha256": {"fp32": "1", "int8": "2"},
    "releases": {"1": _ON_RELEASE, "2": {"problem": "x"}},
}


@reader(lambda _: [json.dumps(_RUNTIMES).encode()], b"null", b"{}", b"[]")
def runtimes(data: bytes, folder: Path) -> None:
    model = ModelFolder("net", folder)
    _file(folder, "metrics/net/runtimes.json", data)
    figures = runtimes_record.load(model)
    assert figures
    runtimes_record.columns(figures)
    figures.checked_on()
    dict(figures.sha256)


@reader(
    lambda _: [
        b'{"cpu": "A", "cores": 4, "big_cores": 2, "features": ["x"], "ncnn": "1", "peak_kib": 9, '
        b'"models": {"0": {"latency_ms": [1.5, 2], "load_ms": 0.5, "values": 3}}}'
    ],
    *(b"null", b"{}", b"[]"),
)
def device_answer(data: bytes, folder: Path) -> None:
    """What comes from a device: what it is, and what a run gave."""
    _file(folder, "report.json", data)
    _file(folder, "0.f32", np.ones((2, 3), np.float32).tobytes())
    result = answers.read_result(folder, 0, 2, "board")
    DeviceSpeed.of(result.latency_ms).to_json()
    answers.information(data.decode(errors="replace"), "board")


# --- what the report reads besides


@reader(_project("metrics/resnet18_digits32/latency.json"), b"null", b"{}", b"[]", b"threads_1")
def latency(data: bytes, folder: Path) -> None:
    """As the stage summary and the report read it."""
    path = _file(folder, "latency.json", data)
    try:
        summary_latency(path)
    finally:
        collect._speeds(path, "x")


def _analysis(_: Path) -> list[bytes]:
    """With two layers: to draw them all takes long."""
    content = json.loads((ROOT / "metrics/resnet18_digits32/analyze.json").read_bytes())
    return [json.dumps(content | {"layers": content["layers"][:2]}).encode()]


@reader(_analysis, b"null", b"{}", b"[]")
def analysis(data: bytes, folder: Path) -> None:
    figures.layers(collect._analysis(_file(folder, "analyze.json", data)).layers)


@reader(
    lambda _: [
        b"model,class,support,precision_pct,recall_pct,f1_pct\nfp32,cat,3,50.00,50.00,50.00\nint8,cat,3,50.00,50.00,50.00\n"
    ],
    *(b"nan", b'"', b"\r"),
)
def classes_table(data: bytes, folder: Path) -> None:
    figures.classes(collect._rows(_file(folder, "classes.csv", data), "x"))


# --- data sets and images


@reader(lambda _: [b"cat/a.png 0\ndog/b c.png 2\n"], b"\xef\xbb\xbf", b"\r", b" 2", b"\xe2\x80\xa8")
def annotations(data: bytes, folder: Path) -> None:
    for name in ("val/cat/a.png", "val/dog/b c.png"):
        _file(folder, name, b"")
    _file(folder, "meta/val.txt", data)
    open_split(folder, "test", CLASSES)


@reader(lambda _: [bytes([k % 3]) + bytes(range(256)) * 12 for k in range(2)])
def cifar_binary(data: bytes, folder: Path) -> None:
    _file(folder, "batches.meta.txt", b"cat\ndog\nowl\n")
    _file(folder, "test_batch.bin", data)
    Cifar(folder, "test").image(0)


@reader(lambda _: [b"cat\ndog\nowl\n"], b"\xef\xbb\xbf", b"\x0b", b"\xe2\x80\xa8")
def cifar_names(data: bytes, folder: Path) -> None:
    _file(folder, "batches.meta.txt", data)
    _file(folder, "test_batch.bin", bytes(3073))
    open_split(folder, "test", CLASSES)


def _batches(_: Path) -> list[bytes]:
    content = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 2], "filenames": ["a.png"] * 2}
    return [pickle.dumps(content, protocol) for protocol in (0, 2, 4, 5)]


@reader(_batches, *HOSTILE.values())
def cifar_python(data: bytes, folder: Path) -> None:
    _file(folder, "batches.meta", pickle.dumps({"label_names": CLASSES}))
    _file(folder, "test_batch", data)
    Cifar(folder, "test").image(0)


def _images(_: Path) -> list[bytes]:
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    still, result = Image.fromarray(pixels), []
    for kind, mode, more in (
        *(("PNG", "RGB", {}), ("PNG", "P", {}), ("PNG", "RGB", {"save_all": True, "append_images": [still]})),
        *(("JPEG", "RGB", {}), ("JPEG", "CMYK", {}), ("JPEG", "RGB", {"progressive": True}), ("BMP", "RGB", {})),
        *(("PPM", "RGB", {}), ("TIFF", "RGB", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"})),
        *(("WEBP", "RGB", {}), ("WEBP", "RGB", {"save_all": True, "append_images": [still]})),
    ):
        out = io.BytesIO()
        still.convert(mode).save(out, kind, **more)
        result.append(out.getvalue())
    return result


@reader(
    _images, b"acTL", b"fcTL", b"fdAT", b"\xff\xd8", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"Exif\0\0", b"II*\0"
)
def image(data: bytes, folder: Path) -> None:
    image_files.read(_file(folder, "x.png", data))


# --- a server's answers

_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-7/8\r\nContent-Length: 5\r\n\r\nabcde",
)


class _Server:
    """Answers whatever it is asked with the same bytes."""

    def __init__(self) -> None:
        self.data, self.listening = b"", socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/x"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            with connection, suppress(OSError):
                connection.settimeout(1)
                connection.recv(1000)
                connection.sendall(self.data)


_server = cache(_Server)


@reader(
    lambda _: list(_ANSWERS),
    b"Location: file:///etc/passwd\r\n",
    b"Location: http://[",
    b"100",
    b"Connection: close\r\n",
)
def http_answer(data: bytes, folder: Path) -> None:
    """What `download` makes an OctetError of, is one."""
    _server().data = data
    try:
        transfer.fetch(_server().url, folder / ".x.partial", folder / "x")
    except (OSError, HTTPException, transfer.Refused) as error:
        raise OctetError(str(error)) from None


# --- checkpoints


@reader(lambda _: [*_batches(_), *(whole(value) for value in HOSTILE.values())], *HOSTILE.values())
def pickled(data: bytes, folder: Path) -> None:
    try:
        loads(data, CONSTRUCTORS)
    except BadPickle as error:
        raise OctetError(str(error)) from None


def _checkpoints(_: Path) -> list[bytes]:
    """Hostile ones; two as torch.save writes them lie among the cases, since to import torch takes longer than all else."""
    result = []
    for value in HOSTILE.values():
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("x/data.pkl", whole(dictionary(state_dict=list_of(value))))
        result.append(out.getvalue())
    return result


@reader(
    _checkpoints, b"PK\1\2", b"PK\3\4", b"PK\5\6", b"ctorch._utils\n_rebuild_tensor_v2\n", b"data.pkl", b"byteorder"
)
def checkpoint(data: bytes, folder: Path) -> None:
    file = torch_file.read(_file(folder, "x.pth", data))
    state = file.value.get("state_dict") if isinstance(file.value, dict) else None
    for value in state.values() if isinstance(state, dict) else ():
        if isinstance(value, StoredTensor) and np.prod(value.shape, dtype=float) <= _LARGEST_TENSOR:
            try:
                value.values()
            except BadPickle:
                continue


@reader(lambda _: [SAFETENSORS], b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}', b"BF16", b"__metadata__")
def safetensors(data: bytes, folder: Path) -> None:
    for value in safetensors_file.read(_file(folder, "x.safetensors", data)).values():
        if isinstance(value, StoredTensor) and np.prod(value.shape, dtype=float) <= _LARGEST_TENSOR:
            value.values()
