"""summary: fp32 beside int8 - top-1, frames per second and size; by class; the images on which they differ."""

from octet.core.errors import run
from octet.core.files import write_bytes, write_json, write_text
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import indices_of, open_split
from octet.evaluate.evaluate import distinct
from octet.summary.differences import SHOWN, classes_csv, confusion_csv, differing, sheet
from octet.summary.summary import read_pairs, summarize, table
from octet.zoo import catalogue


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, settings = stage.folder, stage.params.evaluate
    pairs, found = read_pairs(folder), summarize(folder)
    if (settings.split, settings.limit) == ("test", None):
        found |= catalogue.compare(found["fp32_top1_pct"], stage.entry.checkpoint)
    steps = preprocess.load(folder.preprocess)
    classes = distinct(steps.classes)
    data = open_split(stage.entry.data, settings.split, steps.classes, steps.color_type)
    shown = differing(pairs)[:SHOWN]
    images = [data.image(k) for k in indices_of(data, [fp32.image for fp32, _ in shown])]
    write_text(folder.classes, classes_csv(pairs, classes))
    write_text(folder.confusion, confusion_csv(pairs, classes))
    write_bytes(folder.differing, sheet(images, shown))
    write_json(folder.summary, found)
    print(table({stage.name: found}))


if __name__ == "__main__":
    run(main)
