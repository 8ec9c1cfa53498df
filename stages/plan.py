"""plan: which layers stay in fp32 so that int8 keeps params.yaml's budget of loss: plan.json."""

from octet.core.errors import run
from octet.core.files import write_json
from octet.core.stage import Stage, arguments, begin
from octet.data import preprocess
from octet.data.images import hold_out_images, some_training_images
from octet.graph.equalize import fp32_net
from octet.ncnn.engine import Engine, logits
from octet.quantize.fp32_costs import fp32_costs
from octet.quantize.mixed_precision import HoldOut, Plan, plan
from octet.quantize.recipe import Recipe
from octet.quantize.sensitivity import sensitivities

IMAGES = 128  # rank the layers. It needs no parameter: hold-out images judge, so a poorer order never breaks the budget


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    if stage.entry.mixed_precision.metric == "none":
        write_json(stage.folder.plan, {"keep_fp32": []})
        return print(f"{stage.name}: mixed_precision is off")
    result = search(stage)
    write_json(stage.folder.plan, result.to_json())
    print(f"{stage.name}: {result}")


def search(stage: Stage) -> Plan:
    """The plan that keeps the budget."""
    entry, settings = stage.entry, stage.entry.mixed_precision
    recipe = Recipe.load(stage.folder, entry.target, entry.equalize, entry.keep_fp32, entry.partition)
    steps = preprocess.load(stage.folder.preprocess)
    steps.needs_classes(f"mixed_precision.metric: {settings.metric}")
    images = hold_out_images(entry.data, steps, settings.images, "mixed_precision.images", "plan", entry)
    fp32 = fp32_net(
        stage.folder, False
    )  # not the recipe's: equalization through ReLU6 is not exact, and counts as loss
    hold_out = HoldOut(images, logits(Engine.of(fp32), images, "plan, fp32"), images.labels)
    layers = sensitivities(recipe.net, recipe.int8, some_training_images(entry.data, steps, IMAGES, "plan"))
    costs = fp32_costs(recipe.net, layers, recipe.target.fp32_costs_us)
    return plan(recipe.int8, layers, costs, hold_out, settings.metric, settings.budget)


if __name__ == "__main__":
    run(main)
