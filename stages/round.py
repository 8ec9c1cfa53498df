"""round: the weights' integers, where they are learned and not rounded to the nearest: rounding.npz."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import training_images
from octet.quantize import gptq, rounded
from octet.quantize.recipe import Maker


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, entry, settings, found = stage.folder, stage.entry, stage.params.rounding, {}
    if settings.method == "learned":
        maker = Maker.load(folder, stage.params.target, stage.params.equalize, entry.keep_fp32, entry.cuts, False)
        steps = preprocess.load(folder.preprocess)
        images = training_images(entry.data, steps, settings.images, "rounding.images", "round")
        found = gptq.learn(maker.net, maker.table, maker.target, maker.keep_fp32, images)
    rounded.save(found, folder.rounding)
    print(f"{stage.name}: " + (f"rounded {len(found)} layers' weights" if found else "weights round to the nearest"))


if __name__ == "__main__":
    run(main)
