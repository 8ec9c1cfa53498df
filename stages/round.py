"""round: the weights' integers, where GPTQ or fine-tuning chooses them and they do not round to the nearest: rounding.npz."""

from dataclasses import replace

import numpy as np

from octet.core.errors import OctetError, run
from octet.core.stage import Stage, arguments, begin
from octet.data import preprocess
from octet.data.images import hold_out_images, training_images
from octet.graph.profiles import target
from octet.quantize import gptq, gptq_weights
from octet.quantize.gptq_weights import GptqWeights
from octet.quantize.recipe import Recipe


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    method, words = stage.entry.rounding.method, "weights round to the nearest"
    weights: dict[str, GptqWeights] = {}
    if method == "auto":
        method = "nearest" if target(stage.entry.target).ncnn2int8_files else "gptq"
    if method != "nearest":
        weights, words = (_by_gptq if method == "gptq" else _by_finetuning)(stage)
    gptq_weights.save(weights, stage.folder.rounding)
    print(f"{stage.name}: {words}")


def _by_gptq(stage: Stage) -> tuple[dict[str, GptqWeights], str]:
    weights = _gptq_weights(stage, _recipe(stage))
    return weights, f"GPTQ chose the integers of {len(weights)} layers' weights"


def _by_finetuning(stage: Stage) -> tuple[dict[str, GptqWeights], str]:
    from octet.quantize.finetune import finetune  # imports torch, which takes seconds

    data, settings, key = stage.entry.data, stage.entry.rounding.finetune, "rounding.finetune"
    steps = preprocess.load(stage.folder.preprocess)
    if not steps.classes:
        raise OctetError("rounding.method: finetune is for networks that give class scores; take gptq")
    images = training_images(data, steps, settings.images, f"{key}.images", "round")
    hold_out = hold_out_images(data, steps, settings.hold_out, f"{key}.hold_out", "round", stage.entry)
    # Of a small split both are nearly all: those that judge do not teach.
    taught = images.pick(np.flatnonzero(~np.isin(images.indices, hold_out.indices)))
    if not len(taught):
        raise OctetError(f"{key}.images: {settings.images}, and each of them is a hold-out image, too; take more")
    recipe = _recipe(stage)
    result = finetune(replace(recipe, gptq_weights=_gptq_weights(stage, recipe)), taught, hold_out, settings)
    return result.weights, str(result)


def _gptq_weights(stage: Stage, recipe: Recipe) -> dict[str, GptqWeights]:
    steps, count = preprocess.load(stage.folder.preprocess), stage.entry.rounding.images
    images = training_images(stage.entry.data, steps, count, "rounding.images", "round")
    return gptq.gptq_weights(recipe.net, recipe.table, recipe.target, recipe.keep_fp32, images)


def _recipe(stage: Stage) -> Recipe:
    entry = stage.entry
    return Recipe.load(stage.folder, entry.target, entry.equalize, entry.keep_fp32, entry.partition, False)


if __name__ == "__main__":
    run(main)
