"""analyze: what every int8 layer costs, on calibration images: analyze.json, and a table on the terminal."""

from octet.analyze.analyze import analyze
from octet.core.errors import run
from octet.core.files import write_json
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import training_images
from octet.graph import ranges
from octet.graph.layers import quantizable
from octet.quantize.recipe import Recipe


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, entry = stage.folder, stage.entry
    recipe = Recipe.load(folder, entry.target, entry.equalize, entry.keep_fp32, entry.partition)
    steps = preprocess.load(folder.preprocess)
    images = training_images(entry.data, steps, entry.analyze.images, "analyze.images", "analyze")
    limits = ranges.load(folder.ranges, [layer.name for layer in quantizable(recipe.net.layers)])
    analysis = analyze(recipe.net, recipe.int8, limits, images, steps.sizes if steps.outputs else None)
    write_json(folder.analysis, analysis.to_json())
    print(f"{stage.name}, the layers that cost most first:\n{analysis}")


if __name__ == "__main__":
    run(main)
