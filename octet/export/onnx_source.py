"""An ONNX file as the source of a model, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from octet.core import yaml
from octet.core.errors import OctetError
from octet.core.outputs import flat
from octet.core.params import Model as Entry
from octet.core.preprocessing import LARGEST_EDGE, PRESETS, Preprocessing
from octet.core.text import printable
from octet.core.trained_scales import TrainedScales, with_trained_scales
from octet.data.class_names import check_names
from octet.data.preprocess import Preprocess
from octet.export.onnx_file import check_operators, external_files, read, read_graph
from octet.export.onnx_input import Input, only_input
from octet.export.onnx_normalize import computes_in_half, normalized, not_finite, to_fp32
from octet.export.onnx_opset import Model
from octet.export.onnx_quantized import is_quantized, underneath
from octet.export.onnx_scores import cut, plain_outputs, scores
from octet.export.onnx_session import run, session
from octet.export.onnx_underneath import compare
from octet.export.own_preprocess import own_preprocess
from octet.export.source import Array, Exported


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX file and what happens to an image before it.

    Args:
        path: The file.
        given: What happens to an image; None: it was not said.
    """

    engine: ClassVar[str] = "ONNX Runtime"
    path: str
    given: Preprocessing | None

    @classmethod
    def of(cls, entry: Entry) -> OnnxSource:
        """The one of an entry in params.yaml, which has 'onnx'.

        Raises:
            OctetError: Tensors of it lie in another file, which DVC would not see.
        """
        path = str(entry.onnx)
        if files := external_files(read_graph(path)):
            raise OctetError(
                f"{path}: tensors of it lie in {', '.join(map(printable, files))}, where DVC does not see that they change. Name a "
                f"model in one file as 'onnx', which this writes: python -c \"import onnx; onnx.save(onnx.load('{path}'), "
                f"'{Path(path).with_suffix('')}_whole.onnx')\""
            )
        return cls(path, entry.preprocess)

    def look(self) -> Preprocess:
        """As Source.look."""
        return self._read().steps

    def export(self, opset: int) -> Exported:
        """As Source.export: the reference is the file itself, run by ONNX Runtime, without a softmax at its end.

        Of a file with fake quantization it is the network underneath, which is compared with the file first.
        """
        known = self._read()
        images = [known.steps(image) for image in known.steps.noise(8)]
        if known.input.dtype == np.uint8 and any((x != np.clip(np.rint(x), 0, 255)).any() for x in images):
            raise OctetError(
                f"{self.path}: takes grey levels (uint8) and normalizes them itself; expected 'preprocess: none', or "
                f"mean 0 and std 1"
            )
        size = known.steps.size[0], known.steps.size[1]
        data = normalized(known.network, known.input, size, opset, self.path, known.steps.outputs)
        if known.trained:
            data = with_trained_scales(data, known.trained)
        reference = np.stack([known.run(x) for x in images])
        if not known.steps.outputs and (reference >= 0).all() and np.allclose(reference.sum(axis=1), 1, atol=1e-4):
            raise OctetError(
                f"{self.path}: its outputs are probabilities, of a softmax in pieces, and Octet compares what comes "
                f"before it. Export it "
                "without its softmax"
            )
        if not np.isfinite(reference).all():
            raise OctetError(
                f"{self.path}: its outputs are not finite (NaN or infinite){_where(not_finite(known.network))}"
            )
        if known.file is not None:
            compare(known.file, known.network, known.input, known.steps, known.run, self.path)
        tolerance = 1e-2 if computes_in_half(known.network) else 1e-4
        return Exported(data, known.steps, images, reference, self.path, tolerance)

    def run(self) -> Callable[[Array], Array]:
        """As Source.run."""
        return self._read().run

    def _read(self) -> _Known:
        model = read(self.path)
        check_operators(model, self.path)
        file = model if is_quantized(model) else None
        model, trained = underneath(file, self.path) if file is not None else (model, [])
        entry = only_input(model, self.path, self.given.layout if self.given else None)
        if self.given is None:
            raise OctetError(f"{self.path}: {_what_to_write(entry)}")
        size = _size(self.given, entry, self.path)
        channels = 1 if self.given.channel_order == "GREY" else 3
        if channels != entry.channels:
            raise OctetError(
                f"{self.path}: the input {entry.name!r} has {entry.channels} channel{'s' * (entry.channels > 1)}, and "
                f"'channel_order: "
                f"{self.given.channel_order}' in 'preprocess' means {channels}"
            )
        network = model
        if entry.dtype == np.float64:  # in which ONNX Runtime has few operators
            network, entry = to_fp32(model), replace(entry, dtype=np.float32)
        blank = entry.feed(np.zeros((channels, *size), np.float32))
        values = run(session(network, self.path), entry.name, blank, self.path)
        names = self.given.classes
        outputs = plain_outputs(model, names, values, self.path)
        if not outputs:
            network, names = cut(network, scores(model, self.path)), names or tuple(map(str, range(values[0].size)))
            if len(names) != values[0].size:
                raise OctetError(
                    f"{self.path}: {len(names)} class names in 'preprocess', but the model has {values[0].size} outputs"
                )
            check_names(names, self.path)
        engine = session(network, self.path)

        def compute(x: Array) -> Array:
            return flat(run(engine, entry.name, entry.feed(x), self.path))

        return _Known(network, entry, own_preprocess(self.given, size, names or (), outputs), compute, trained, file)


@dataclass(frozen=True)
class _Known:
    """What is known of a model once it was read.

    Args:
        network: The model, without a softmax at its end where it gives class scores.
        input: Its input.
        steps: What happens to an image.
        run: From a network input to the logits, or to its outputs, flat, one after the other.
        trained: The scales that it was trained with, where it was trained with fake quantization.
        file: As it was read, with its fake quantization; None: it has none.
    """

    network: Model
    input: Input
    steps: Preprocess
    run: Callable[[Array], Array]
    trained: Sequence[TrainedScales] = ()
    file: Model | None = None


def _size(given: Preprocessing, entry: Input, path: str) -> tuple[int, int]:
    """(height, width) of the network's input, which the entry and the model have to agree on."""
    fixed = entry.height, entry.width
    size = given.size or fixed
    if size[0] is None or size[1] is None:
        raise OctetError(
            f"{path}: the input {entry.name!r} takes images of any size. Write which into 'preprocess', as 'size: "
            f"[224, 224]' (height, width)"
        )
    if max(size[0], size[1]) > LARGEST_EDGE:
        raise OctetError(
            f"{path}: the input {entry.name!r} is {size[0]} x {size[1]}; expected at most {LARGEST_EDGE:,} pixels an edge"
        )
    if any(of_model not in (None, asked) for of_model, asked in zip(fixed, size, strict=True)):
        shown = " x ".join(str(edge or "any") for edge in fixed)
        raise OctetError(
            f"{path}: 'size' in 'preprocess' is {list(size)} (height, width), and the input {entry.name!r} is {shown}"
        )
    return size[0], size[1]


def _where(tensors: Sequence[str]) -> str:
    """What an error says of tensors with numbers that are not finite."""
    if not tensors:
        return " for an image of random grey levels. Are 'mean' and 'std' in 'preprocess' right?"
    more = f" and {len(tensors) - 5} more" * (len(tensors) > 5)
    return f", as are numbers in {', '.join(map(printable, tensors[:5]))}{more}. Train the model again, or take earlier weights"


def _what_to_write(entry: Input) -> str:
    """That the pre-processing is missing, with an example that has the model's own size and channels."""
    example: dict[str, Any] = {"size": [entry.height or 224, entry.width or 224]} | PRESETS["imagenet"]
    if entry.channels == 1:
        example |= {"channel_order": "GREY", "mean": [127.5], "std": [127.5]}
    lines = "\n".join(f"  {line}" for line in yaml.dumps({"preprocess": example}).splitlines())
    return (
        "an ONNX model does not say what happens to an image before it. Write it into the model's entry as "
        "'preprocess': a preset "
        f"({', '.join(PRESETS)}), a YAML file, or, as it was trained,\n{lines}"
    )
