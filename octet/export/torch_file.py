"""Files of torch.save, read without torch and without running anything in them: see octet.core.pickles.

A file is a pickle of the object, in which each tensor refers to a storage, and the storages' bytes.
- Since PyTorch 1.6 it is a zip archive: NAME/data.pkl, NAME/data/0 and so on, not compressed, and NAME/byteorder.
- Before, and with _use_new_zipfile_serialization=False, pickles one after the other: a magic number, the version of the
  format, the machine's sizes, the object, and the storages' keys in the order in which they follow, each as its count
  (8 bytes) and its bytes.
The numbers of a tensor are only looked at when they are asked for, so what is not needed may be damaged.

Source: torch/serialization.py of PyTorch 2, _save, _load and _legacy_load.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.pickle_reader import BadPickle, Loaded
from octet.core.pickled_arrays import CONSTRUCTORS
from octet.core.pickles import loads
from octet.core.text import printable
from octet.export.stored_tensors import TORCH, Storage, code_of, item_bytes

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_ORDERS = {b"little": "<", b"big": ">"}
_KNOWN = {**CONSTRUCTORS, **TORCH}


@dataclass(frozen=True)
class TorchFile:
    """What a file holds, with a StoredTensor for each tensor, and the names of what was stepped over, sorted."""

    value: object
    opaque: tuple[str, ...]


def read(path: Path) -> TorchFile:
    """Reads a file of torch.save.

    Raises:
        OctetError: It is none, or is cut off or damaged, or packed as torch.save does not.
    """
    if path.exists() and not path.is_file():
        raise OctetError(f"{path}: no PyTorch checkpoint, but a folder, pipe, socket or device; expected a file")
    try:
        with path.open("rb") as file:
            raw = bytearray(path.stat().st_size)
            del raw[file.readinto(raw) :]
        loaded = _zip(path, raw) if raw[:4] == b"PK\3\4" else _pickles(raw)
    except BadPickle as error:
        raise OctetError(
            f"{path}: not a PyTorch checkpoint, or damaged ({printable(str(error))}); fetch it again"
        ) from None
    return TorchFile(loaded.value, loaded.opaque)


def _zip(path: Path, raw: bytearray) -> Loaded:
    records = _records(path, raw)
    names = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(names) != 1:
        raise BadPickle("the archive has no data.pkl")
    folder = names[0].removesuffix("data.pkl")

    def content(name: str) -> memoryview:
        return _content(raw, records.get(folder + name), name)

    if f"{folder}constants.pkl" in records:
        raise BadPickle("it is a TorchScript archive, which holds a program; save the model's state_dict instead")
    order = _ORDERS.get(bytes(content("byteorder"))) if f"{folder}byteorder" in records else "<"
    if order is None:
        raise BadPickle("its byte order is unknown")
    storages: dict[str, Storage] = {}

    def storage(key: object) -> object:
        match key:
            case ("storage", kind, str(name), _, int(count), *_) if count >= 0:
                if name not in storages:
                    storages[name] = Storage(code_of(kind), count, order, partial(content, f"data/{name}"))
                return storages[name]
        raise BadPickle("it refers to something outside that is no storage")

    return loads(bytes(content("data.pkl")), _KNOWN, storage)


def _records(path: Path, raw: bytearray) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, OverflowError, struct.error, EOFError):
        raise BadPickle("the archive's directory is missing: it is cut off") from None
    for info in infos:
        if info.compress_type or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise BadPickle(
                "the archive is compressed or encrypted, which torch.save does not do; save it by torch.save"
            )
    if sum(info.file_size for info in infos) > len(raw):
        raise BadPickle("the archive's records overlap")
    return {info.filename: info for info in infos}


def _content(raw: bytearray, info: zipfile.ZipInfo | None, name: str) -> memoryview:
    """The bytes of a record. Raises BadPickle where there is none, and for a wrong checksum; 0 says that there is none."""
    if info is None:
        raise BadPickle(f"the archive has no {name}")
    head = raw[info.header_offset : info.header_offset + 30]
    if info.header_offset < 0 or head[:4] != b"PK\3\4" or len(head) < 30:
        raise BadPickle(f"the archive's {name} is not where its directory says")
    start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:]))
    content = memoryview(raw)[start : start + info.file_size]
    if len(content) < info.file_size:
        raise BadPickle(f"the archive's {name} is cut off")
    if info.CRC and zlib.crc32(content) != info.CRC:
        raise BadPickle(f"the archive's {name} has another checksum than its directory says")
    return content


def _pickles(raw: bytearray) -> Loaded:
    if raw[257:262] == b"ustar":
        raise BadPickle("its format is older than PyTorch 0.2; read it with an old PyTorch and save it again")
    magic = loads(raw, {})
    if magic.value != _MAGIC:
        raise BadPickle("its first bytes are not those of a file of torch.save")
    version = loads(raw, {}, start=magic.end)
    if version.value != _VERSION:
        raise BadPickle("its format's version is unknown")
    machine = loads(raw, {}, start=version.end)
    little = not isinstance(machine.value, dict) or machine.value.get("little_endian", True)
    whole: dict[object, Storage] = {}
    parts: list[tuple[Storage, Storage, int]] = []  # a storage that is part of another, and from which number on
    loaded = loads(raw, _KNOWN, _storages(whole, parts, "<" if little else ">"), machine.end)
    keys = loads(raw, {}, start=loaded.end)
    if not isinstance(keys.value, list):
        raise BadPickle("the storages' order is missing")
    _place(raw, keys.end, keys.value, whole)
    for part, root, start in parts:
        part.raw = root.part(start, part.count).raw
    return loaded


def _storages(
    whole: dict[object, Storage], parts: list[tuple[Storage, Storage, int]], order: str
) -> Callable[[object], object]:
    """What stands for an id in the object's pickle; notes the storages, whose place in the file is only known later."""
    views: dict[object, Storage] = {}

    def storage(key: object) -> object:
        match key:
            case ("module", source, *_):
                return source  # a class, with its source as text
            case ("storage", kind, (str() | int()) as name, _, int(count), view, *_):
                root = whole.setdefault(name, Storage(code_of(kind), count, order))
                if view is None:
                    return root
                match view:
                    case ((str() | int()) as part, int(start), int(length)) if start >= 0 and length >= 0:
                        if part not in views:
                            views[part] = Storage(root.code, length, order)
                            parts.append((views[part], root, start))
                        return views[part]
        raise BadPickle("it refers to something outside that is no storage")

    return storage


def _place(raw: bytearray, position: int, keys: list[object], storages: dict[object, Storage]) -> None:
    """Gives the storages their bytes, which follow each other in the order of the keys."""
    for key in keys:
        storage = storages.get(key) if isinstance(key, str | int) else None
        if storage is None:
            raise BadPickle("the storages' order names one that no tensor uses")
        count = int.from_bytes(raw[position : position + 8], "little", signed=True)
        size = count * item_bytes(storage.code)
        if not 0 <= count == storage.count or position + 8 + size > len(raw):
            raise BadPickle(f"it is cut off: storage {key} should follow byte {position:,}")
        storage.raw = partial(_slice, raw, position + 8, size)
        position += 8 + size


def _slice(raw: bytearray, start: int, size: int) -> memoryview:
    return memoryview(raw)[start : start + size]
