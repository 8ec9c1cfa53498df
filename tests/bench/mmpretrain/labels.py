"""mmpretrain's data sets beside Octet's reading of the same configs: which images, in which order, with which labels."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError
from octet.data.images import split_images
from octet.export.mmcls_model import read_config
from octet.export.mmcls_pipeline import derive
from tests.bench.venv import ROOT, start
from tests.unit.test_mmcls_labels import ANIMALS, Layout, draw

NAMES = ["tench", "goldfish", "great white shark"]
MIXED = ["zebra", "ant", "mole"]


def custom(**settings: object) -> dict[str, object]:
    return {"type": "CustomDataset", "data_root": "{root}"} | settings


def imagenet(**settings: object) -> dict[str, object]:
    return {"type": "ImageNet", "data_root": "{root}", "metainfo": {"classes": NAMES}} | settings


LAYOUTS = [
    Layout("class folders", ANIMALS, ANIMALS, custom(data_prefix="val")),
    Layout(
        "class folders, `metainfo.classes` in another order",
        ANIMALS,
        MIXED,
        custom(data_prefix="val", metainfo={"classes": MIXED}),
    ),
    Layout("class folders, `classes` a file", ANIMALS, MIXED, custom(data_prefix="val", classes="{root}/classes.txt")),
    Layout(
        "class folders `0` to `11`", [str(k) for k in range(12)], [str(k) for k in range(12)], custom(data_prefix="val")
    ),
    Layout("nested and hidden folders", ANIMALS, ANIMALS, custom(data_prefix="val"), nested=".more/and/"),
    Layout("`extensions`", ANIMALS, ANIMALS, custom(data_prefix="val", extensions=[".PNG"])),
    Layout("`data_prefix` a dictionary", ANIMALS, ANIMALS, custom(data_prefix={"img_path": "val"})),
    Layout(
        "`ann_file`",
        ANIMALS,
        MIXED,
        custom(data_prefix="val", ann_file="val.txt", metainfo={"classes": MIXED}),
        "val.txt",
    ),
    Layout(
        "`ann_file`, and no `data_root`",
        ANIMALS,
        ANIMALS,
        {
            "type": "CustomDataset",
            "data_prefix": "{root}/val",
            "ann_file": "{root}/val.txt",
            "metainfo": {"classes": ANIMALS},
        },
        "val.txt",
    ),
    Layout("ImageNet, `split`: class folders", ["n01440764", "n01443537", "n01484850"], NAMES, imagenet(split="val")),
    Layout("ImageNet, `split`: `meta/val.txt`", ["."], NAMES, imagenet(split="val"), "meta/val.txt"),
    Layout(
        "ImageNet, `split` and `ann_file`",
        ["."],
        NAMES,
        imagenet(split="val", ann_file="meta/mine.txt"),
        "meta/mine.txt",
    ),
    Layout(
        "ImageNet, `data_prefix` and `ann_file`",
        ["."],
        NAMES,
        imagenet(data_prefix="val", ann_file="meta/val.txt"),
        "meta/val.txt",
    ),
    Layout(
        "ImageNet21k, class folders", ANIMALS, ANIMALS, custom(type="ImageNet21k", data_prefix="val", classes=ANIMALS)
    ),
]
CIFAR = {
    f"{kind}, {words}": (kind, settings)
    for kind in ("CIFAR10", "CIFAR100")
    for words, settings in (
        ("`split='test'`", {"split": "test"}),
        ("`split='test'`, `test_mode=True`", {"split": "test", "test_mode": True}),
        ("no `split`, which is the training one", {"test_mode": True}),
    )
}
CONFIG = """
model = dict(type="ImageClassifier", backbone=dict(type="ResNet", depth=18), head=dict(type="LinearClsHead", num_classes={count}))
data_preprocessor = dict(mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True)
test_dataloader = dict(dataset={dataset!r})
"""
TEXT = """## Labels

mmpretrain's own data sets beside Octet's reading of the same configs, in {versions}: which images, in which order, with which
labels. `make bench-mmpretrain` made the table, with small data sets; for CIFAR the pixels are compared, too.

{table}
"""


def write_cifar(root: Path, hundred: bool) -> None:
    """A small CIFAR, python version, with the published one's file names."""
    random, folder = (
        np.random.Generator(np.random.PCG64(3)),
        root / ("cifar-100-python" if hundred else "cifar-10-batches-py"),
    )
    folder.mkdir(parents=True)
    for name in ("train", "test") if hundred else (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        labels = random.integers(0, 100 if hundred else 10, 11).tolist()
        pixels = random.integers(0, 256, (11, 3 * 32 * 32), dtype=np.uint8)
        (folder / name).write_bytes(
            pickle.dumps({"data": pixels, "fine_labels" if hundred else "labels": labels}, protocol=2)
        )
    key, count = ("fine_label_names", 100) if hundred else ("label_names", 10)
    (folder / ("meta" if hundred else "batches.meta")).write_bytes(
        pickle.dumps({key: [f"c{k}" for k in range(count)]}, protocol=2)
    )


def filled(value: object, root: Path) -> object:
    """The settings with the data set's folder in them."""
    if isinstance(value, dict):
        return {key: filled(inner, root) for key, inner in value.items()}
    return value.replace("{root}", str(root)) if isinstance(value, str) else value


def write(root: Path, settings: dict, count: int, pipeline: list) -> Path:
    """A config of that data set, as mmpretrain has it, beside the data set's folder."""
    config = root.with_suffix(".py")
    dataset = filled(settings, root) | {"pipeline": [*pipeline, {"type": "PackInputs"}]}
    config.write_text(CONFIG.format(count=count, dataset=dataset))
    return config


def of_octet(config: Path, root: Path, count: int) -> list[list]:
    """What Octet says of the config's test split, in the form of peer_labels.py."""
    steps = derive(read_config(str(config)), str(config), [f"class {k}" for k in range(count)])
    images = split_images(root, "test", steps, None, "evaluate.limit")
    if images.labels is None:
        raise OctetError(f"{config}: the images have no labels")
    prefix = images.dataset.root.relative_to(root) if hasattr(images.dataset, "root") else None
    return [
        [(prefix / name).as_posix(), int(label), ""]
        if prefix is not None
        else ["", int(label), hashlib.sha256(np.ascontiguousarray(images.pixels(k)).tobytes()).hexdigest()]
        for k, (name, label) in enumerate(zip(images.names, images.labels, strict=True))
    ]


def compare(folder: Path, python: Path) -> list[list[str]]:
    """Writes the data sets, runs mmpretrain and Octet on them, and returns the table's rows.

    Args:
        folder: An empty one.
        python: That of mmpretrain's environment.
    """
    configs, counts = {}, {}
    for k, layout in enumerate(LAYOUTS):
        root = folder / f"{k}"
        root.mkdir()
        draw(root, layout)
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in layout.classes))
        configs[layout.words] = write(
            root, layout.settings, len(layout.classes), [{"type": "LoadImageFromFile"}, {"type": "Resize", "scale": 8}]
        )
        counts[layout.words] = len(layout.classes)
    for k, (words, (kind, settings)) in enumerate(CIFAR.items(), len(LAYOUTS)):
        counts[words] = 100 if kind == "CIFAR100" else 10
        write_cifar(folder / f"{k}", kind == "CIFAR100")
        configs[words] = write(folder / f"{k}", {"type": kind, "data_root": "{root}"} | settings, counts[words], [])
    (folder / "layouts.json").write_text(json.dumps({path.stem: str(path) for path in configs.values()}))
    start([python, Path(__file__).with_name("peer_labels.py"), folder], ROOT)
    theirs, rows = json.loads((folder / "labels.json").read_text()), []
    for words, config in configs.items():
        ours, wanted = of_octet(config, config.with_suffix(""), counts[words]), theirs[config.stem]
        if ours != wanted:
            first = next(
                (pair for pair in zip(ours, wanted, strict=False) if pair[0] != pair[1]), "one has more images"
            )
            raise OctetError(f"{words}: Octet and mmpretrain differ: {first}")
        rows.append([words, str(len(ours)), "the same"])
        print(*rows[-1], flush=True)
    return rows
