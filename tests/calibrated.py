"""A project with one calibrated model and one device, for tests of make tune DEVICE=."""

from pathlib import Path

from octet.calibrate.calibrate import calibrate
from octet.core.files import write_json
from octet.core.folder import NcnnFiles
from octet.graph.targets import TARGETS
from octet.ncnn import table
from octet.ncnn.net import save_net
from tests import nets


def write(folder: Path, device: str, there: str) -> None:
    """Writes the model `small`, tests.nets.small(), and configs/devices.

    Args:
        folder: The project's, which need not be there.
        device: The device's name; it is this machine.
        there: The device's folder.
    """
    net = nets.small()
    (folder / "models/small").mkdir(parents=True)
    (folder / "configs/devices").mkdir(parents=True)
    save_net(net, *NcnnFiles.named(folder / "models/small", "fp32"))
    scales = calibrate(net, nets.images(8), nets.settings("minmax"), TARGETS["dotprod"], workers=1)
    table.save(scales, folder / "models/small/int8.table")
    write_json(folder / "models/small/preprocess.json", {"channel_order": "RGB", "size": [8, 8]})
    (folder / f"configs/devices/{device}.yaml").write_text(f"kind: local\nfolder: {there}\n")
