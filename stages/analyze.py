"""analyze: what every int8 layer costs, on calibration images: analyze.json, and a table on the terminal."""

from octet.analyze.analyze import analyze, table_text
from octet.calibrate.observe import histograms
from octet.core.errors import run
from octet.core.files import write_json
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import balanced
from octet.quantize.recipe import Maker


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    maker, steps = Maker.load(stage), preprocess.load(stage.models / "preprocess.json")
    data = open_split(stage.entry.data, "train", steps.classes, steps.color_type)
    picked = readable(data, balanced(data.labels, stage.params.analyze.images, "analyze.images"), "analyze")
    image = inputs(data, steps, picked)
    read = histograms(maker.net, image, len(picked))
    found = analyze(maker.net, maker.int8, maker.table, read, image, len(picked))
    write_json(stage.metrics / "analyze.json", found)
    print(f"{stage.name}, the layers that cost most first:\n{table_text(found)}")


if __name__ == "__main__":
    run(main)
