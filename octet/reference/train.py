"""Trains the embedded reference models: SGD, most epochs at lower resolution.

Lower resolutions first is progressive resizing (Howard, fast.ai DAWNBench 2018): a 16x16 epoch costs a third of a
32x32 one, and the convolutions' weights carry over. The last epochs have the resolution of the config's test pipeline.
"""

from __future__ import annotations

import io
import math
from typing import Any

import torch
import torch.nn.functional as F

from octet.core.progress import progress
from octet.data.cifar import Cifar
from octet.data.preprocess import Preprocess
from octet.reference.params import Recipe


def _augment(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Shifts by up to 2 pixels, permutes the colour channels and inverts: none of it changes which digit it is."""
    n = len(images)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    dy, dx = (int(v) for v in torch.randint(0, 5, (2,), generator=random))
    images = padded[:, :, dy : dy + images.shape[2], dx : dx + images.shape[3]]
    images = images[:, torch.randperm(3, generator=random)]
    invert = torch.randint(0, 2, (n, 1, 1, 1), generator=random).bool()
    return torch.where(invert, 255 - images, images)


def train(model: Any, dataset: Cifar, steps: Preprocess, recipe: Recipe) -> None:
    """Trains a classifier in place.

    Args:
        model: One of mmcls's.
        dataset: The training split.
        steps: The test pipeline's, of which the mean and std are taken.
        recipe: How it is trained.
    """
    torch.manual_seed(recipe.seed)
    random = torch.Generator().manual_seed(recipe.seed)
    model.init_weights()
    model.train().to(memory_format=torch.channels_last)
    images = torch.stack([torch.from_numpy(dataset.image(k)).permute(2, 0, 1) for k in range(len(dataset))])
    labels = torch.from_numpy(dataset.labels)
    shift, scale = (torch.tensor(v, dtype=torch.float32).reshape(1, 3, 1, 1) for v in (steps.mean, steps.std))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    sizes = [size for size, count in recipe.epochs for _ in range(count)]
    per_epoch = len(images) // recipe.batch
    total = per_epoch * len(sizes)
    for epoch, size in enumerate(sizes):
        order = torch.randperm(len(images), generator=random)
        seen = right = 0
        for k in progress(range(per_epoch), f"epoch {epoch + 1}/{len(sizes)} at {size}x{size}", unit="batch"):
            done = (epoch * per_epoch + k) / total
            rate = recipe.lr * (done / 0.15 if done < 0.15 else 0.5 * (1 + math.cos(math.pi * (done - 0.15) / 0.85)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            pick = order[k * recipe.batch : (k + 1) * recipe.batch]
            x = (_augment(images[pick].float(), random) - shift) / scale
            if size < x.shape[-1]:
                x = F.interpolate(x, size=(size, size), mode="area")
            elif size > x.shape[-1]:
                x = F.interpolate(x, size=(size, size), mode="bilinear")
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.dtype == "bfloat16"):
                logits = model.head.fc(model.extract_feat(x.to(memory_format=torch.channels_last))[-1])
            loss = F.cross_entropy(logits.float(), labels[pick], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            seen += len(pick)
            right += int((logits.argmax(1) == labels[pick]).sum())
        print(
            f"epoch {epoch + 1}/{len(sizes)} at {size}x{size}: {100 * right / seen:.2f} % of training images",
            flush=True,
        )
    model.eval()


@torch.no_grad()
def top1_pct(model: Any, dataset: Cifar, steps: Preprocess) -> float:
    """fp32's top-1 on all images of a split, each taken through the test pipeline's steps, in percent."""
    right = 0
    for at in progress(range(0, len(dataset), 100), "test", unit="batch"):
        batch = range(at, min(at + 100, len(dataset)))
        x = torch.stack([torch.from_numpy(steps(dataset.image(k))) for k in batch])
        logits = model.simple_test(x, softmax=False, post_process=False)
        right += int((logits.argmax(1).numpy() == dataset.labels[at : at + 100]).sum())
    return 100 * right / len(dataset)


def half_checkpoint(model: torch.nn.Module, classes: tuple[str, ...], meta: dict[str, object]) -> bytes:
    """An mmcls checkpoint with the weights in half precision, to be kept in git; same bytes for the same weights.

    Rounds the model's own weights too, so that what is measured afterwards is what was saved.
    """
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.copy_(value.half().float())
    state = {k: v.contiguous().half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    buffer = io.BytesIO()  # torch.save writes a file's name into the archive, a buffer has none
    torch.save({"meta": {"CLASSES": list(classes), **meta}, "state_dict": state}, buffer)
    return buffer.getvalue()
