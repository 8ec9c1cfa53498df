"""evaluate: fp32 or int8 on the test split (or evaluate.split), in ncnn: mmcls's metrics, and every prediction."""

from octet.core.errors import run
from octet.core.files import write_json, write_text
from octet.core.folder import PRECISIONS
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import report_source, split_images
from octet.evaluate.accuracy import accuracy
from octet.evaluate.evaluate import evaluate
from octet.evaluate.predictions import distinct, predictions_csv
from octet.ncnn.partition import runner


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--precision", choices=PRECISIONS, required=True, help="which of the two models")
    parser.add_argument("--workers", type=int, help="threads (default: all cores); the figures do not depend on it")
    parser.add_argument(
        "--readers", type=int, default=0, help="threads that read ahead (default: each worker reads its own)"
    )
    args = parser.parse_args()
    stage = begin(args.model)
    folder, settings, precision = stage.folder, stage.entry.evaluate, args.precision
    steps = preprocess.load(folder.preprocess)
    images = split_images(stage.entry.data, settings.split, steps, settings.limit, "evaluate.limit")
    report_source(f"{stage.name}: {settings.split} split", images)
    engine = runner(folder.ncnn(precision), stage.entry.partition, steps.shape)
    top = evaluate(engine, images, f"evaluate {precision}", args.workers, args.readers, stage.params.parallel.scheduler)
    read, classes = images.pick(top.indices), distinct(steps.classes)
    figures = accuracy(read.labels, top.classes, classes, len(images) - len(read), str(images.source))
    write_text(folder.predictions(precision), predictions_csv(top.predictions(read.names, read.labels, classes)))
    write_json(folder.figures(precision), figures.to_json())
    told = "no labels, so no top-1, on" if figures.top1_pct is None else f"top-1 {figures.top1_pct:.2f} % of"
    print(f"{stage.name}: {precision} {told} {figures.n_images} images")


if __name__ == "__main__":
    run(main)
