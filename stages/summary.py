"""summary: fp32 beside int8 - top-1, frames per second and size; by class; the images on which they differ."""

from dataclasses import replace

from octet.core.errors import run
from octet.core.files import write_bytes, write_json, write_text
from octet.core.folder import PRECISIONS
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import named_images
from octet.evaluate.pairs import read_pairs
from octet.evaluate.predictions import distinct
from octet.ncnn.net import load_net
from octet.summary.differences import SHOWN, classes_csv, confusion_csv, differing, sheet
from octet.summary.summary import summarize
from octet.zoo import catalogue


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, settings = stage.folder, stage.entry.evaluate
    for precision in PRECISIONS:
        load_net(*folder.ncnn(precision))  # a damaged one has no size
    pairs, summary = read_pairs(folder), summarize(folder)
    if (settings.split, settings.limit) == ("test", None) and summary.fp32_top1_pct is not None:
        published = catalogue.published_top1_pct(stage.entry.checkpoint, summary.fp32_top1_pct)
        summary = replace(summary, published_top1_pct=published)
    steps = preprocess.load(folder.preprocess)
    classes, shown = distinct(steps.classes), differing(pairs)[:SHOWN]
    images = named_images(stage.entry.data, settings.split, steps, [fp32.image for fp32, _ in shown])
    write_text(folder.classes, classes_csv(pairs, classes))
    write_text(folder.confusion, confusion_csv(pairs, classes))
    write_bytes(folder.differing, sheet([images.pixels(k) for k in range(len(images))], shown))
    write_json(folder.summary, summary.to_json())
    write_json(folder.comparison, summary.comparison())
    print(f"{stage.name}: int8 {summary.loss()} and is {summary.speedup_1_thread:.2f} times as fast on one thread")


if __name__ == "__main__":
    run(main)
