"""calibrate: training images give int8.table, ncnn's calibration table, ranges.json, and what the layers read."""

from octet.calibrate.activations import activations_csv
from octet.calibrate.calibrate import remarks, table
from octet.calibrate.job import Job
from octet.calibrate.ranges import ranges
from octet.core.errors import run
from octet.core.files import write_text
from octet.core.registry import calibrator_needs
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import report_source, training_images
from octet.graph.equalize import fp32_net
from octet.graph.profiles import target
from octet.graph.ranges import save as save_ranges
from octet.ncnn.table import save as save_table


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, settings = stage.folder, stage.entry.calibrate
    net, profile = fp32_net(folder, stage.entry.equalize), target(stage.entry.target)
    profile.check(net)
    steps = preprocess.load(folder.preprocess)
    needs = calibrator_needs(settings.method)
    images = training_images(
        stage.entry.data, steps, settings.images, "calibrate.images", f"calibrate by {needs.title}", needs.least_images
    )
    report_source(f"{stage.name}: train split", images)
    job = Job(net, images, settings, profile, folder.onnx, scheduler=stage.params.parallel.scheduler, model=stage.name)
    histograms = job.histograms  # first: it names a blob whose values are not finite
    scales = table(job)
    write_text(folder.activations, activations_csv(net, histograms, scales))
    save_ranges(ranges(net, histograms, scales), folder.ranges)
    save_table(scales, folder.table)
    print("".join(f"{stage.name}: {line}\n" for line in remarks(job, scales)), end="")
    print(f"{stage.name}: scales of {len(scales.inputs)} layers from {len(images)} images by {settings.method}")


if __name__ == "__main__":
    run(main)
