"""make summary's text: the result tables of all models, what is wrong with them, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from octet.check.verdicts import figure_files, summary_of
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.params import Params
from octet.evaluate.engines import NotRun
from octet.ncnn.machine import machine
from octet.project.provenance import check_current
from octet.summary.engines import engines_table
from octet.summary.summary import summary_table


def tables(loaded: Params, names: Sequence[str], asked: str | None) -> Iterator[str]:
    """What there is to say of models, a paragraph at a time.

    Args:
        loaded: All parameters.
        names: The models.
        asked: The one that the user named; None: all.

    Raises:
        OctetError: None of them is quantized yet, or its figures are damaged.
    """
    is_there = [name for name in names if ModelFolder(name).summary.is_file()]
    quantized = is_there or list(names)  # of none: the error names the first
    yield summary_table({name: summary_of(name) for name in quantized}, machine())
    for about in (_other_engines, _not_of_its_files):
        yield from filter(None, (about(name, loaded) for name in quantized))
    for name in names:
        if name not in quantized:
            yield f"{name}: not quantized yet; make quantize MODEL={name}"
    given = asked or (quantized[0] if len(quantized) == 1 else "name")
    only = f" MODEL={given}" if asked or quantized != list(names) else ""
    yield f"Next: make check{only} (is the drop allowed?), make report{only} (a page), make package{only} (a zip to ship)"


def _other_engines(name: str, loaded: Params) -> str:
    entry = loaded.models[name]
    try:
        return engines_table(ModelFolder(name), entry.onnx_engines, entry.max_drop_pt)
    except NotRun as error:
        return f"{name}: no figures of its other engines. {error}"


def _not_of_its_files(name: str, loaded: Params) -> str:
    try:
        check_current(name, figure_files(name, loaded.models[name]))
    except OctetError as error:
        return f"{name}: these figures are not of its files. {error}"
    return ""
