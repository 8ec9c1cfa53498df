"""Which kind of source an entry of params.yaml names: one line for each."""

from __future__ import annotations

from octet.core.params import Model
from octet.export.source import Source


def source_of(entry: Model) -> Source:
    """The source that an entry of params.yaml names; only its own libraries are imported."""
    if entry.onnx is not None:
        from octet.export.onnx_source import OnnxSource

        return OnnxSource.of(entry)
    if entry.timm is not None or entry.torchvision is not None:
        from octet.export.library_source import LibrarySource

        return LibrarySource.of(entry)
    from octet.export.mmcls_source import MmclsSource

    return MmclsSource.of(entry)
