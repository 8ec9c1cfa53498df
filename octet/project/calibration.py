"""How a model is calibrated, looked at before any stage runs: what the stage calibrate would end with after minutes."""

from __future__ import annotations

from octet.calibrate.methods import check_installed
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
