"""analyze: what every int8 layer costs, on calibration pictures: analyze.json, and a table on the terminal."""

from octet import format, preprocess
from octet.analyze import analyze, table_text
from octet.calibrate.own import histograms
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import balanced
from octet.errors import run
from octet.files import write_json
from octet.format import table
from octet.quantize import quantize
from octet.stage import arguments, begin
from octet.targets import target


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder, count = stage.models, stage.params.analyze.images
    files = folder / "fp32.param", folder / "fp32.bin"
    net, scales = format.load(*files, "the stage convert makes it"), table.load(folder / "int8.table")
    steps = preprocess.load(folder / "preprocess.json")
    data = open_split(stage.entry.data, "train", steps.classes, steps.color_type)
    picked = readable(data, balanced(data.labels, count, "analyze.images"), "analyze")
    image, profile, kept = inputs(data, steps, picked), target(stage.params.target), list(stage.entry.keep_fp32)

    def make(more):
        return quantize(net, scales, profile, [*kept, *more], str(folder / "int8.table"))

    found = analyze(net, make, scales, histograms(net, *files, image, len(picked)), image, len(picked))
    write_json(stage.metrics / "analyze.json", found)
    print(f"{stage.name}, the layers that cost most first:\n{table_text(found)}")


if __name__ == "__main__":
    run(main)
