"""calibrate: images of the training split give int8.table, ncnn's calibration table, and what the layers read."""

from octet.calibrate import observe
from octet.calibrate.activations import activations_csv
from octet.core.errors import run
from octet.core.files import write_text
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import balanced
from octet.graph.targets import quantizable, target
from octet.ncnn import table
from octet.quantize.recipe import source


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder, settings = stage.models, stage.params.calibrate
    net = source(stage)
    steps = preprocess.load(folder / "preprocess.json")
    data = open_split(stage.entry.data, "train", steps.classes, steps.color_type)
    picked = readable(data, balanced(data.labels, settings.images, "calibrate.images"), "calibrate")
    image = inputs(data, steps, picked)
    profile = target(stage.params.target)
    profile.check(quantizable(net.layers))
    histograms = observe.histograms(net, image, len(picked), scheduler=stage.params.parallel.scheduler)
    if settings.method == "ppq":
        from octet.calibrate import ppq  # imports torch

        found = ppq.calibrate(
            folder / "fp32.onnx", net, image, len(picked), settings.ppq.algorithm, settings.ppq.batch, profile
        )
    else:
        how = observe.How(settings.method, settings.weights, settings.percentile)
        found = observe.table(net, histograms, how, profile)
    write_text(stage.metrics / "activations.csv", activations_csv(net, histograms, found))
    table.save(found, folder / "int8.table")
    print("".join(f"{stage.name}: {line}\n" for line in table.silent(found, quantizable(net.layers))), end="")
    print(f"{stage.name}: scales of {len(found.inputs)} layers from {len(picked)} images by {settings.method}")


if __name__ == "__main__":
    run(main)
