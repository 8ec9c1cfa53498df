"""summary: fp32 beside int8 - top-1, frames per second and size; by class; the images on which they differ."""

from dataclasses import replace

from octet.core.errors import run
from octet.core.files import write_bytes, write_json, write_text
from octet.core.folder import PRECISIONS
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import named_images
from octet.evaluate.pairs import Pair, read_pairs
from octet.evaluate.predictions import distinct
from octet.ncnn.net import load_net
from octet.summary.differences import SHOWN, captions, classes_csv, confusion_csv, differing, sheet
from octet.summary.summary import summarize
from octet.summary.worst import worst
from octet.zoo import catalogue


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, settings = stage.folder, stage.entry.evaluate
    for precision in PRECISIONS:
        load_net(*folder.ncnn(precision))  # a damaged one has no size
    steps = preprocess.load(folder.preprocess)
    summary = summarize(folder, has_classes=not steps.outputs)
    if (settings.split, settings.limit) == ("test", None) and summary.fp32_top1_pct is not None:
        published = catalogue.published_top1_pct(stage.entry.checkpoint, summary.fp32_top1_pct)
        summary = replace(summary, published_top1_pct=published)
    pairs: list[Pair] = [] if steps.outputs else read_pairs(folder)
    classes, shown = distinct(steps.classes), differing(pairs)[:SHOWN]
    names, lines = [fp32.image for fp32, _ in shown], captions(shown)
    if steps.outputs:
        names, lines = worst(folder.predictions("int8"), SHOWN)
    images = named_images(stage.entry.data, settings.split, steps, names)
    write_text(folder.classes, classes_csv(pairs, classes))
    write_text(folder.confusion, confusion_csv(pairs, classes))
    write_bytes(folder.differing, sheet([images.pixels(k) for k in range(len(images))], lines))
    write_json(folder.summary, summary.to_json())
    write_json(folder.comparison, summary.comparison())
    print(f"{stage.name}: int8 {summary.loss()} and is {summary.speedup_1_thread:.2f} times as fast on one thread")


if __name__ == "__main__":
    run(main)
