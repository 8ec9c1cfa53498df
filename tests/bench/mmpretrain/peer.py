"""Runs mmpretrain, in an environment of its own: checkpoints with random weights, and what it computes with them.

    python peer.py FOLDER

FOLDER/rows.json has, by name, a config: a file, or a name in mmpretrain's zoo. FOLDER/images/ has the images. Written are
NAME.py (the config), NAME.pth (a checkpoint as mmengine's Runner writes it) and NAME.npz (`pixels`, uint8, before they
are normalized; `inputs` and `logits`, fp32).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # torchvision's CUDA build beside torch's CPU build: mmpretrain needs none of its operators
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import mmcv
import mmengine
import mmpretrain
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmpretrain.registry import MODELS

ZOO = Path(mmpretrain.__file__).parent / ".mim" / "configs"


def network(config):
    """The config's model with random weights that depend on nothing else; none is constant."""
    model = config.model.copy()
    if config.get("data_preprocessor"):
        model.setdefault("data_preprocessor", config.data_preprocessor)
    torch.manual_seed(0)
    built = MODELS.build(model).eval()
    with torch.no_grad():
        for name, value in built.state_dict().items():
            if value.is_floating_point() and name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and (name.endswith("running_mean") or value.float().std() == 0):
                value.add_(torch.randn_like(value) * 0.1)
    return built


def save(built, config, classes, path):
    """A checkpoint as Runner.save_checkpoint has it, of a training that did one step with a gradient of 0."""
    wrapper = OptimWrapper(torch.optim.SGD(built.parameters(), lr=0.1))
    hub = MessageHub.get_instance(path.stem)
    for step in range(3):
        hub.update_scalar("train/loss", 1.0 / (step + 1))
    hub.update_info("iter", 3)
    meta = {"cfg": config.pretty_text, "dataset_meta": {"classes": classes}, "seed": 0, "experiment_name": "peer"}
    meta |= {"epoch": 1, "iter": 3, "mmengine_version": mmengine.__version__, "hook_msgs": {"last_ckpt": "epoch_1.pth"}}
    content = {"meta": meta, "state_dict": built.state_dict(), "message_hub": hub.state_dict()}
    save_checkpoint(content | {"optimizer": wrapper.state_dict(), "param_schedulers": []}, str(path))


def main():
    folder = Path(sys.argv[1])
    init_default_scope("mmpretrain")
    torch.set_num_threads(1)
    images = sorted((folder / "images").iterdir())
    for name, place in json.loads((folder / "rows.json").read_text()).items():
        config = Config.fromfile(place if Path(place).is_file() else ZOO / place)
        built = network(config)
        with torch.no_grad():
            pipeline = Compose(config.test_dataloader.dataset.pipeline)
            pixels = [pipeline({"img_path": str(path)})["inputs"] for path in images]
            inputs = built.data_preprocessor({"inputs": pixels, "data_samples": None})["inputs"]
            logits = torch.cat([built(x[None]) for x in inputs])
        if built.data_preprocessor.to_rgb:
            pixels = [x.flip(0) for x in pixels]
        np.savez_compressed(folder / f"{name}.npz", pixels=torch.stack(pixels), inputs=inputs, logits=logits)
        save(built, config, [f"class {k}" for k in range(logits.shape[1])], folder / f"{name}.pth")
        config.dump(str(folder / f"{name}.py"))
        print(name, flush=True)
    modules = (mmpretrain, mmengine, mmcv, torch, np)
    versions = {module.__name__: module.__version__ for module in modules}
    (folder / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main()
