"""plan: which layers stay in fp32 so that int8 keeps params.yaml's budget of loss: plan.json."""

from octet.analyze.analyze import logits
from octet.core.errors import run
from octet.core.files import read_json, write_json
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import held_out
from octet.ncnn.engine import Engine
from octet.quantize.mixed_precision import Held, costs, plan, text
from octet.quantize.recipe import Maker


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    out, settings = stage.models / "plan.json", stage.params.mixed_precision
    if settings.metric == "none":
        write_json(out, {"keep_fp32": []})
        return print(f"{stage.name}: mixed_precision is off")
    maker, steps = Maker.load(stage), preprocess.load(stage.models / "preprocess.json")
    rows = read_json(stage.metrics / "analyze.json", "the stage analyze makes it")["layers"]
    data = open_split(stage.entry.data, "train", steps.classes, steps.color_type)
    picked = readable(data, held_out(data.labels, settings.images, "mixed_precision.images"), "plan")
    image = inputs(data, steps, picked)
    wanted = logits(Engine.of(maker.net), image, len(picked), "plan, fp32")
    held = Held(image, wanted, data.labels[picked] if data.labelled else None)
    found = plan(maker.int8, rows, costs(rows, maker.target.fp32_costs_us), held, settings.metric, settings.budget)
    write_json(out, found)
    print(f"{stage.name}: {text(found)}")


if __name__ == "__main__":
    run(main)
