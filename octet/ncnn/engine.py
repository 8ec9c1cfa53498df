"""Running ncnn: its options in one place.

ncnn releases Python's global lock while it computes, so threads over one Net, each with one OpenMP thread, use all
cores; every image is computed alone by one thread, so results do not depend on how many there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.outputs import flat
from octet.core.parallel import map_blocks
from octet.ncnn.layer import Layer
from octet.ncnn.layout import input_channels
from octet.ncnn.net import Net, in_order, load_net, save_net
from octet.ncnn.side_by_side import TOGETHER, SideBySide, Together, extract, images_together

Floats = npt.NDArray[np.float32]
Shape = tuple[int | None, ...]  # (channels, height, width); None: not known


class Engine:
    """An ncnn model, ready to run: fp32 means fp32 (ncnn stores some weights as fp16 unless told otherwise).

    Args:
        param: The model's graph.
        bin: Its weights.
        threads: OpenMP threads that compute one image.
        packing: May ncnn pack channels together? Off, it computes the same by its plain kernels.
        shape: The shape of its input, where it is known; what the model's files say of it is known by itself.
        fp16: May ncnn compute in fp16 what is not int8, as it does by default on a processor that has it?

    Raises:
        OctetError: A file is missing or damaged, or ncnn cannot read it.
    """

    def __init__(
        self,
        param: str | Path,
        bin: str | Path,
        threads: int = 1,
        packing: bool = True,
        shape: Shape | None = None,
        fp16: bool = False,
    ):
        self._load(param, bin, load_net(param, bin).layers, threads, packing, shape, fp16)

    def _load(
        self,
        param: str | Path,
        bin: str | Path,
        layers: list[Layer],
        threads: int,
        packing: bool,
        shape: Shape | None,
        fp16: bool = False,
    ) -> None:
        """Lets ncnn read the files, of which ncnn itself checks little. Arguments as for the class; layers: theirs."""
        self.net = ncnn.Net()
        self.source: Net | tuple[str | Path, str | Path] = param, bin
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        options.use_packing_layout = packing
        reduced = ("bf16_packed", "bf16_storage", *(() if fp16 else ("fp16_packed", "fp16_storage", "fp16_arithmetic")))
        for name in reduced:
            if hasattr(options, f"use_{name}"):  # bf16_packed came in 2026
                setattr(options, f"use_{name}", False)
        known = known_shape(layers)
        if shape and not _fits(known, shape):
            raise OctetError(f"{param}: its input has the shape {_words(known)}, not {_words(shape)}; make both again")
        self.shape = shape or known
        self._lends = all(input_channels(layer) for layer in _readers(layers))
        if self.net.load_param(str(param)) != 0:
            raise OctetError(f"{param}: ncnn cannot read it; make it again, or see which layer ncnn named above")
        if self.net.load_model(str(bin)) != 0:
            raise OctetError(f"{bin}: ncnn cannot read it as the weights of {param}; make both again")
        self.input: str = self.net.input_names()[0]
        self.outputs = in_order(self.net.output_names())
        self.output = self.outputs[-1]
        self.side_by_side = SideBySide(self.net, layers)

    @classmethod
    def of(cls, net: Net, threads: int = 1, packing: bool = True, shape: Shape | None = None) -> Engine:
        """A network that is not in files. Arguments as for the class."""
        with tempfile.TemporaryDirectory(prefix="octet-") as folder:
            files = Path(folder) / "net.param", Path(folder) / "net.bin"
            save_net(net, *files)
            engine = cls.__new__(cls)
            engine._load(*files, net.layers, threads, packing, shape)
        engine.source = net
        return engine

    def __reduce__(self) -> tuple[Callable[..., Engine], tuple[Net, int, bool, Shape]]:
        """Pickled as the network itself, which needs no file where it is made again."""
        net = self.source if isinstance(self.source, Net) else load_net(*self.source)
        options = self.net.opt
        return Engine.of, (net, options.num_threads, options.use_packing_layout, self.shape)

    def blobs(self, image: Floats, names: Sequence[str]) -> Iterator[Floats]:
        """Runs one image and yields blobs of the network, without a copy.

        Args:
            image: The network's input, fp32 of shape (C, H, W).
            names: The blobs' names; in the network's order they cost one pass.

        Yields:
            Each blob as fp32; a requantized one holds its integers.

        Raises:
            OctetError: The image has another shape than the network's input, or ncnn fails.
        """
        extractor, _kept = self._extractor(image)
        for name in names:
            yield np.asarray(extract(extractor, name))

    def bits(self, image: Floats, names: Sequence[str]) -> dict[str, int]:
        """How many bits a value of each named blob has inside ncnn: 8 where it was requantized, else 32.

        Args:
            image: The network's input, fp32 of shape (C, H, W).
            names: The blobs' names.
        """
        extractor, _kept = self._extractor(image)
        mats = {name: extract(extractor, name, as_it_is=True) for name in names}
        return {name: 8 * mat.elemsize // mat.elempack for name, mat in mats.items()}

    def __call__(self, image: Floats) -> Floats:
        """The logits of one image: fp32 of shape (classes,). Of a network with other outputs all of them, one after the other."""
        return flat(self.blobs(image, self.outputs))

    def each(self, images: Sequence[Floats]) -> list[Floats]:
        """What the engine gives for each of up to TOGETHER images, the same bits, in less time.

        Args:
            images: The network's inputs, fp32 of shape (C, H, W).
        """
        if any(images_together(image) == 1 for image in images):
            return [self(image) for image in images]
        together, _kept = self.together(images)
        return [flat(outputs) for outputs in zip(*map(together.extract, self.outputs), strict=True)]

    def together(self, images: Sequence[Floats]) -> tuple[Together, list[Any]]:
        """Several images on their way through the network, and what has to live as long."""
        mats = [self.mat(image) for image in images]
        return Together(self.side_by_side, [{self.input: mat} for mat, _ in mats]), mats

    def mat(self, image: Floats) -> tuple[Any, Floats]:
        """An image as ncnn takes it, and the array whose memory that is.

        Where a layer may compute in place (Net::do_forward_layer), ncnn crashes on memory that is not its own, so it gets a
        copy. A convolution does not; it may read the array itself.

        Raises:
            OctetError: The image is no input of the network.
        """
        values = np.ascontiguousarray(image, np.float32)
        if not _fits(self.shape, values.shape):
            name = "the network" if isinstance(self.source, Net) else str(self.source[0])
            raise OctetError(
                f"{name}: expected an input of the shape {_words(self.shape)}, found {_words(values.shape)}; "
                "is its preprocess.json that of another model?"
            )
        mat = ncnn.Mat(values)
        return (mat if self._lends else mat.clone()), values

    def _extractor(self, image: Floats) -> tuple[Any, list[Any]]:
        """ncnn's extractor with the image in it, and what has to live as long."""
        mat, values = self.mat(image)
        extractor = self.net.create_extractor()
        extractor.input(self.input, mat)
        return extractor, [mat, values]


def known_shape(layers: Sequence[Layer]) -> Shape:
    """What a model's files say of the shape of its input, as (C, H, W); () where they say nothing.

    That is what its Input layer says (pnnx's says nothing), and how many channels the layers that read it have weights for.
    """
    entry = next(layer for layer in layers if layer.type == "Input")
    width, height, channels = (entry.int(key) or None for key in (0, 1, 2))
    channels = channels or next((count for count in map(input_channels, _readers(layers)) if count), None)
    return (channels, height, width) if channels else ()


def _readers(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that read the network's input."""
    entry = next(layer for layer in layers if layer.type == "Input")
    return [layer for layer in layers if entry.outputs[0] in layer.inputs]


def _fits(known: Shape, actual: Shape) -> bool:
    """Has an input the known shape? Where nothing is known, every one has."""
    if not known:
        return True
    return len(known) == len(actual) and all(a in (None, b) for a, b in zip(known, actual, strict=True))


def _words(shape: Shape) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape)


def logits(engine: Engine, images: Sequence[Floats], what: str) -> Floats:
    """Runs a network on images, on all cores.

    Args:
        engine: The network.
        images: Its inputs, fp32 of shape (C, H, W).
        what: Who asks, for the progress bar.

    Returns:
        The logits, fp32 of shape (n, classes).
    """
    return np.stack(
        list(map_blocks(lambda block: engine.each([images[k] for k in block]), len(images), TOGETHER, what))
    )
