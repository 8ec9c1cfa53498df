"""calibrate: training images give int8.table, ncnn's calibration table, and what the layers read."""

from octet.calibrate import observe
from octet.calibrate.activations import activations_csv
from octet.core.errors import run
from octet.core.files import write_text
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import training_images
from octet.graph.equalize import fp32_net
from octet.graph.layers import quantizable
from octet.graph.scales import silent
from octet.graph.targets import target
from octet.ncnn import table


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, settings = stage.folder, stage.params.calibrate
    net = fp32_net(folder, stage.params.equalize)
    steps = preprocess.load(folder.preprocess)
    images = training_images(stage.entry.data, steps, settings.images, "calibrate.images", "calibrate")
    profile = target(stage.params.target)
    profile.check(net)
    histograms = observe.histograms(net, images, scheduler=stage.params.parallel.scheduler)
    if settings.method == "ppq":
        from octet.calibrate import ppq  # imports torch

        found = ppq.calibrate(folder.onnx, net, images, settings.ppq.algorithm, settings.ppq.batch, profile)
    else:
        how = observe.How(settings.method, settings.weights, settings.percentile)
        found = observe.table(net, histograms, how, profile)
    write_text(folder.activations, activations_csv(net, histograms, found))
    table.save(found, folder.table)
    print("".join(f"{stage.name}: {line}\n" for line in silent(found, quantizable(net.layers))), end="")
    print(f"{stage.name}: scales of {len(found.inputs)} layers from {len(images)} images by {settings.method}")


if __name__ == "__main__":
    run(main)
