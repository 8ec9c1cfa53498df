"""round: the weights' integers, where they are learned and not rounded to the nearest: rounding.npz."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import balanced
from octet.quantize import gptq, rounded
from octet.quantize.recipe import Maker


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    out, settings, found = stage.models / "rounding.npz", stage.params.rounding, {}
    if settings.method == "learned":
        maker, steps = Maker.load(stage, learned=False), preprocess.load(stage.models / "preprocess.json")
        data = open_split(stage.entry.data, "train", steps.classes, steps.color_type)
        picked = readable(data, balanced(data.labels, settings.images, "rounding.images"), "round")
        image = inputs(data, steps, picked)
        found = gptq.learn(maker.net, maker.table, maker.target, maker.keep_fp32, image, len(picked))
    rounded.save(found, out)
    print(f"{stage.name}: " + (f"rounded {len(found)} layers' weights" if found else "weights round to the nearest"))


if __name__ == "__main__":
    run(main)
