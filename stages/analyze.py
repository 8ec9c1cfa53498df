"""analyze: what every int8 layer costs, on calibration images: analyze.json, and a table on the terminal."""

from octet.analyze.analyze import analyze, table_text
from octet.calibrate.observe import histograms
from octet.core.errors import run
from octet.core.files import write_json
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import training_images
from octet.quantize.recipe import Maker


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, entry = stage.folder, stage.entry
    maker = Maker.load(folder, stage.params.target, stage.params.equalize, entry.keep_fp32, entry.cuts)
    steps = preprocess.load(folder.preprocess)
    images = training_images(entry.data, steps, stage.params.analyze.images, "analyze.images", "analyze")
    read = histograms(maker.net, images)
    found = analyze(maker.net, maker.int8, maker.table, read, images)
    write_json(folder.analysis, found)
    print(f"{stage.name}, the layers that cost most first:\n{table_text(found)}")


if __name__ == "__main__":
    run(main)
