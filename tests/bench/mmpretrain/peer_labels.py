"""Runs mmpretrain, in an environment of its own: what its data sets say of images and labels.

    python peer_labels.py FOLDER

FOLDER/layouts.json has, by name, a config. Written is FOLDER/labels.json: by name, for each image in order, its path in the data
set's folder ('' where there are no files), its label, and the sha256 of its pixels ('' where there are files).
"""

import hashlib
import json
import sys
from pathlib import Path

from peer import mmpretrain  # first: it gives torchvision a stand-in where it has to

# isort: split
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.datasets import CIFAR10, CIFAR100, build_dataset


def image(info, root):
    if "img_path" in info:
        return [Path(info["img_path"]).relative_to(root).as_posix(), int(info["gt_label"]), ""]
    return ["", int(info["gt_label"]), hashlib.sha256(info["img"].tobytes()).hexdigest()]


def main():
    folder = Path(sys.argv[1])
    init_default_scope("mmpretrain")
    for kind in (CIFAR10, CIFAR100):  # the images here are others than those of the published checksums
        kind.train_list, kind.test_list = (
            [[name, None] for name, _ in files] for files in (kind.train_list, kind.test_list)
        )
        kind.meta = kind.meta | {"md5": None}
    labels = {}
    for name, config in json.loads((folder / "layouts.json").read_text()).items():
        dataset = build_dataset(Config.fromfile(config).test_dataloader.dataset)
        labels[name] = [image(dataset.get_data_info(k), folder / name) for k in range(len(dataset))]
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "versions.json").write_text(json.dumps({"mmpretrain": mmpretrain.__version__}))


if __name__ == "__main__":
    main()
