"""How a model is calibrated, and for which engines, looked at before any stage runs: what stages would end with after minutes."""

from __future__ import annotations

from octet.calibrate.methods import check_installed
from octet.core.engines import open_vino
from octet.core.errors import OctetError
from octet.core.params import FILE, Model
from octet.core.settings import check_table_path, table_path
from octet.ncnn import table


def check_calibration(name: str, entry: Model) -> None:
    """Checks that the model's calibrator can run here and, where it reads a table, that this is one.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.

    Raises:
        OctetError: It cannot.
    """
    settings = entry.calibrate
    try:
        check_installed(settings.method)
        if settings.method == "file":
            path = table_path(name, settings.file)
            check_table_path(path)
            table.load(path)
    except OctetError as error:
        raise OctetError(f"{FILE}: models.{name}: {error}") from None
    if entry.onnx_engines:
        from octet.qdq.quantize import check_method  # imports onnx

        check_method(settings.method)


def check_engines(name: str, entry: Model) -> None:
    """Checks that the engines which the model names are installed, and that its opset is new enough for them.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.

    Raises:
        OctetError: One is not.
    """
    if entry.onnx_engines:
        from octet.qdq.network import check_opset  # imports onnx

        check_opset(entry.export.opset, f"{FILE}: models.{name}")
    if "openvino" in entry.onnx_engines:
        try:
            open_vino.require()
        except OctetError as error:
            raise OctetError(f"{FILE}: models.{name}: engines: {error}") from None
