"""calibrate: pictures of the training split give int8.table, ncnn's calibration table, and what the layers read."""

from octet import preprocess
from octet.calibrate import own
from octet.calibrate.activations import activations_csv
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import balanced
from octet.errors import run
from octet.files import write_text
from octet.format import table
from octet.maker import source
from octet.stage import arguments, begin
from octet.targets import quantizable, target


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
    histograms = own.histograms(net, image, len(picked), scheduler=stage.params.parallel.scheduler)
    if settings.method == "ppq":
        from octet.calibrate import ppq  # imports torch

        found = ppq.calibrate(
            folder / "fp32.onnx", net, image, len(picked), settings.ppq.algorithm, settings.ppq.batch, profile
        )
    else:
        how = own.How(settings.method, settings.weights, settings.percentile)
        found = own.table(net, histograms, how, profile)
    write_text(stage.metrics / "activations.csv", activations_csv(net, histograms, found))
    table.save(found, folder / "int8.table")
    print("".join(f"{stage.name}: {line}\n" for line in table.silent(found, quantizable(net.layers))), end="")
    print(f"{stage.name}: scales of {len(found.inputs)} layers from {len(picked)} pictures by {settings.method}")


if __name__ == "__main__":
    run(main)
