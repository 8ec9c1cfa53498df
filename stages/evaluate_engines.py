"""evaluate_engines: int8 in the engines beside ncnn that `engines` names, on the split of evaluate: engines.json."""

from octet.core.errors import run
from octet.core.files import write_json
from octet.core.stage import Stage, arguments, begin
from octet.evaluate.engines import EngineFigures, engines_json


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    names = stage.entry.onnx_engines
    write_json(stage.folder.engine_figures, engines_json(figures(stage, names) if names else {}))


def figures(stage: Stage, names: list[str]) -> dict[str, EngineFigures]:
    """What int8 loses beside ncnn's fp32, by engine."""
    from octet.core.engines.engine import load
    from octet.core.engines.files import check_models
    from octet.core.errors import OctetError
    from octet.data import preprocess
    from octet.data.images import split_images
    from octet.evaluate.evaluate import evaluate
    from octet.evaluate.predictions import distinct, read_predictions

    folder, settings = stage.folder, stage.entry.evaluate
    check_models(folder, names)
    steps = preprocess.load(folder.preprocess)
    steps.needs_classes(f"models.{stage.name}: engines: {', '.join(names)}")
    fp32 = read_predictions(folder.predictions("fp32"))
    images = split_images(stage.entry.data, settings.split, steps, settings.limit, "evaluate.limit", stage.entry)
    result = {}
    for name in names:
        path = folder.engine(name)
        top = evaluate(load(name, path), images, f"evaluate int8, {name}")
        read = images.pick(top.indices)
        int8 = top.predictions(read.names, read.labels, distinct(steps.classes))
        if [row.image for row in int8] != [row.image for row in fp32]:
            raise OctetError(
                f"{folder.metrics}: fp32 and {name} were not evaluated on the same images; run 'dvc repro'"
            )
        result[name] = EngineFigures.of(list(zip(fp32, int8, strict=True)), path.stat().st_size)
        print(f"{stage.name}: {name}: agrees with ncnn's fp32 on {result[name].agreement_pct:.2f} %")
    return result


if __name__ == "__main__":
    run(main)
