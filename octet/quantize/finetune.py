"""Fine-tuning: quantization-aware training with ncnn's own int8 arithmetic, taught by the fp32 model.

It begins with the int8 model that calibration and GPTQ gave and learns, by gradients straight through ncnn's rounding
(octet/quantize/simulation.py), the int8 layers' weights and biases and all scales. The fp32 model is the teacher: what falls
is the KL divergence of the probabilities from its own (Hinton et al., «Distilling the knowledge in a neural network», 2015),
so no labels are needed. Images are taken as they are: mixed in pairs, they lack the large activations that few of them have.

The optimizer is Adam (Kingma and Ba, ICLR 2015), its rate falls with a cosine. Hold-out images of the training split decide, by
ncnn itself, which state is kept; where none is better than the beginning, nothing is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import cos, pi

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from octet.core.errors import OctetError
from octet.core.logits import kl_divergence
from octet.core.params import Finetune as Settings
from octet.core.progress import progress
from octet.ncnn.engine import Engine, logits
from octet.quantize.gptq_weights import GptqWeights
from octet.quantize.recipe import Recipe
from octet.quantize.simulation import CPU, Simulation

Images = Sequence[npt.NDArray[np.float32]]
THREADS = 2  # fixed: with another number torch may add in another order
JUDGED = 8  # times that the hold-out images are asked
WARM_UP = 20  # steps in which the rate rises


@dataclass(frozen=True)
class Rates:
    """How far one step of Adam moves what is learned.

    Args:
        weights: In steps of the integers.
        biases: In the layer's output's unit.
        weight_scales: Of logarithms.
        input_scales: Of logarithms.
    """

    weights: float = 0.003
    biases: float = 0.00003
    weight_scales: float = 0.00002
    input_scales: float = 0.001


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning gave.

    >>> print(Finetuned({}, 100, 0, 1000, 1.2e-3, 1.2e-3))
    fine-tuning found nothing better than GPTQ's model in 100 steps (KL 1.20e-03 nats on 1000 hold-out images)
    >>> print(Finetuned({}, 24, 12, 100, 2.84e-7, 1.5e-8))
    fine-tuned, step 12 of 24: KL 2.84e-07 to 1.50e-08 nats on 100 hold-out images

    Args:
        weights: By layer; those of the beginning where nothing was better.
        steps: How many were taken.
        kept: After how many of them the state that is kept was.
        n_images: How many hold-out images judged.
        before: Their mean KL divergence from fp32 at the beginning, in nats.
        after: The same of what is kept.
    """

    weights: dict[str, GptqWeights]
    steps: int
    kept: int
    n_images: int
    before: float
    after: float

    def __str__(self) -> str:
        where = f"on {self.n_images} hold-out images"
        if not self.kept:
            before = f"KL {self.before:.2e} nats {where}"
            return f"fine-tuning found nothing better than GPTQ's model in {self.steps} steps ({before})"
        change = f"KL {self.before:.2e} to {self.after:.2e} nats {where}"
        return f"fine-tuned, step {self.kept} of {self.steps}: {change}"


def finetune(recipe: Recipe, images: Images, hold_out: Images, settings: Settings) -> Finetuned:
    """Fine-tunes an int8 model.

    On a GPU where torch finds one (CUDA), else on the processor. There the same on one machine in every run.

    Args:
        recipe: Of the int8 model to begin with: its gptq_weights are GPTQ's.
        images: Training images: network inputs, fp32 of shape (C, H, W).
        hold_out: Others, which judge.
        settings: How many steps of how many images, at which rate.

    Raises:
        OctetError: The network has several outputs, or a layer that gradients cannot pass.
    """
    if len(recipe.net.outputs) > 1:
        raise OctetError("rounding.method: finetune is for networks with one output, class scores; take gptq")
    steps, int8 = settings.steps, recipe.target.int8_layers(recipe.net).difference(recipe.keep_fp32)
    device = _device()
    with _deterministic(device):
        simulation = Simulation(recipe.net, recipe.table, recipe.target, int8, recipe.gptq_weights, device)
        judge, start = _Judge(recipe, hold_out), dict(recipe.gptq_weights)
        best = Finetuned(start, steps, 0, len(hold_out), before := judge(start), before)
        every = max(steps // JUDGED, 1)
        for step in _train(simulation, images, settings, device):
            if step % every == 0 or step == steps:
                weights = simulation.weights()
                after = judge(weights)
                if after < best.after:
                    best = replace(best, weights=weights, kept=step, after=after)
    return best


def _device() -> torch.device:
    """A GPU, where there is one that this build of torch has kernels for: of one too old, a trial alone tells."""
    if torch.cuda.is_available():
        try:
            torch.ones(1, device="cuda").add_(1).item()
            return torch.device("cuda")
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            print(f"note: fine-tuning computes on the processor: the GPU does not ({reason})", file=sys.stderr)
    return CPU


class _Judge:
    """How far ncnn's int8 is from fp32 on images."""

    def __init__(self, recipe: Recipe, images: Images):
        self.recipe, self.images = recipe, images
        self.fp32 = logits(Engine.of(recipe.net), images, "fine-tuning, fp32")

    def __call__(self, weights: dict[str, GptqWeights]) -> float:
        net = replace(self.recipe, gptq_weights=weights).int8([])
        return kl_divergence(self.fp32, logits(Engine.of(net), self.images, "fine-tuning, hold-out"))


def _train(simulation: Simulation, images: Images, settings: Settings, device: torch.device) -> Iterator[int]:
    """Takes one step after the other; yields how many were taken."""
    steps, rates, times = settings.steps, Rates(), settings.rate
    groups = [
        {"params": [*simulation.steps.values()], "lr": times * rates.weights},
        {"params": [*simulation.biases.values()], "lr": times * rates.biases},
        {"params": [*simulation.weight_scales.values()], "lr": times * rates.weight_scales},
        {"params": [*simulation.input_scales.values()], "lr": times * rates.input_scales},
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _fall(steps))
    batches = _batches(images, settings.batch, torch.Generator().manual_seed(settings.seed))
    for step in progress(range(1, steps + 1), "fine-tuning", steps, "step"):
        seen = next(batches).to(device)
        wanted = F.log_softmax(simulation.fp32(seen), 1)
        loss = F.kl_div(F.log_softmax(simulation(seen), 1), wanted, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield step


def _fall(steps: int) -> Callable[[int], float]:
    """The rate, as a share of the first: it rises in a few steps and falls to 0 with a cosine."""
    return lambda step: min((step + 1) / WARM_UP, 1.0) * (1 + cos(pi * step / steps)) / 2


def _batches(images: Images, batch: int, random: torch.Generator) -> Iterator[Tensor]:
    """Images, in a new order each time that all were seen."""
    while True:
        order = torch.randperm(len(images), generator=random).tolist()
        for at in range(0, max(len(order) - batch, 0) + 1, batch):
            yield torch.from_numpy(np.stack([images[k] for k in order[at : at + batch]]))


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """torch computes the same in every run on one machine, as far as the device can; afterwards it is as it was."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32 = torch.backends.cudnn.allow_tf32
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(device == CPU)  # on a GPU some layers' gradients have no such algorithm
    torch.backends.cudnn.allow_tf32 = False  # whose products of integers are not exact
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.allow_tf32 = tf32
