"""round: the weights' integers, where GPTQ chooses them and they do not round to the nearest: rounding.npz."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import training_images
from octet.quantize import gptq, gptq_weights
from octet.quantize.recipe import Recipe


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, entry, settings, weights = stage.folder, stage.entry, stage.entry.rounding, {}
    if settings.method == "gptq":
        recipe = Recipe.load(folder, entry.target, entry.equalize, entry.keep_fp32, entry.partition, False)
        steps = preprocess.load(folder.preprocess)
        images = training_images(entry.data, steps, settings.images, "rounding.images", "round")
        weights = gptq.gptq_weights(recipe.net, recipe.table, recipe.target, recipe.keep_fp32, images)
    gptq_weights.save(weights, folder.rounding)
    by_gptq = f"GPTQ chose the integers of {len(weights)} layers' weights"
    print(f"{stage.name}: {by_gptq if weights else 'weights round to the nearest'}")


if __name__ == "__main__":
    run(main)
