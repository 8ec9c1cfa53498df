"""Running ncnn: its options in one place.

ncnn releases Python's global lock while it computes, so threads over one Net, each with one OpenMP thread, use all
cores; every image is computed alone by one thread, so results do not depend on how many there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import ncnn
import numpy as np

from octet.core.errors import OctetError
from octet.core.parallel import map_ordered
from octet.ncnn.net import Net, load_net, save_net

T = TypeVar("T")


class Engine:
    """An ncnn model, ready to run: fp32 means fp32 (ncnn stores some weights as fp16 unless told otherwise)."""

    def __init__(self, param: str | Path, bin: str | Path, threads: int = 1, packing: bool = True):
        self.net, self.source = ncnn.Net(), (param, bin)
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        options.use_packing_layout = packing
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
            setattr(options, f"use_{name}", False)
        for path in (param, bin):
            if not Path(path).is_file():
                raise OctetError(f"{path}: no such file; 'dvc repro' makes it")
        if self.net.load_param(str(param)) != 0:
            raise OctetError(f"{param}: ncnn cannot read it; make it again, or see which layer ncnn named above")
        if self.net.load_model(str(bin)) != 0:
            raise OctetError(f"{bin}: ncnn cannot read it as the weights of {param}; make both again")
        self.input, self.output = self.net.input_names()[0], self.net.output_names()[-1]

    @classmethod
    def of(cls, net: Net, threads: int = 1, packing: bool = True) -> Engine:
        """A network that is not in files."""
        with tempfile.TemporaryDirectory(prefix="octet-") as folder:
            files = Path(folder) / "net.param", Path(folder) / "net.bin"
            save_net(net, *files)
            engine = cls(*files, threads, packing)
        engine.source = net
        return engine

    def __reduce__(self):
        """Pickled as the network itself, which needs no file where it is made again."""
        net = self.source if isinstance(self.source, Net) else load_net(*self.source)
        options = self.net.opt
        return Engine.of, (net, options.num_threads, options.use_packing_layout)

    def blobs(self, image: np.ndarray, names: Sequence[str]) -> Iterator[np.ndarray]:
        """Runs one image, fp32 of shape (C, H, W), and yields the named blobs without a copy.

        Names in the network's order cost one pass. A requantized blob comes as fp32 that holds its integers.
        """
        extractor = self.net.create_extractor()
        source = ncnn.Mat(image)
        extractor.input(self.input, source)
        for name in names:
            status, mat = extractor.extract(name)
            if status != 0:
                raise OctetError(f"ncnn failed to compute blob '{name}' (status {status})")
            yield np.asarray(mat)

    def bits(self, image: np.ndarray, names: Sequence[str]) -> dict[str, int]:
        """How many bits a value of each named blob has inside ncnn: 8 where it was requantized, else 32."""
        extractor = self.net.create_extractor()
        source = ncnn.Mat(image)
        extractor.input(self.input, source)
        found = {}
        for name in names:
            mat = extractor.extract(name, 1)[1]  # 1: as it is, not converted to fp32
            found[name] = 8 * mat.elemsize // mat.elempack
        return found

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The logits of one image: fp32 of shape (classes,)."""
        return np.array(next(self.blobs(image, [self.output]))).reshape(-1)


def logits(engine: Engine, images: Sequence[np.ndarray], what: str) -> np.ndarray:
    """The logits of all images: fp32 of shape (n, classes)."""
    return np.stack(list(map_ordered(lambda k: engine(images[k]), range(len(images)), what)))
