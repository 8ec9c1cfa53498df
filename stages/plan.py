"""plan: which layers stay in fp32 so that int8 keeps params.yaml's budget of loss: plan.json."""

from octet.core.errors import run
from octet.core.files import read_json, write_json
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import held_out_images
from octet.ncnn.engine import Engine, logits
from octet.quantize.mixed_precision import Held, costs, plan, text
from octet.quantize.recipe import Recipe


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, entry, settings = stage.folder, stage.entry, stage.params.mixed_precision
    if settings.metric == "none":
        write_json(folder.plan, {"keep_fp32": []})
        return print(f"{stage.name}: mixed_precision is off")
    recipe = Recipe.load(folder, stage.params.target, stage.params.equalize, entry.keep_fp32, entry.cuts)
    rows = read_json(folder.analysis, "the stage analyze makes it")["layers"]
    steps = preprocess.load(folder.preprocess)
    images = held_out_images(entry.data, steps, settings.images, "mixed_precision.images", "plan")
    held = Held(images, logits(Engine.of(recipe.net), images, "plan, fp32"), images.labels)
    found = plan(recipe.int8, rows, costs(rows, recipe.target.fp32_costs_us), held, settings.metric, settings.budget)
    write_json(folder.plan, found)
    print(f"{stage.name}: {text(found)}")


if __name__ == "__main__":
    run(main)
