"""evaluate: fp32 or int8 on the test split (or evaluate.split), in ncnn: mmcls's metrics, and every prediction.

Of a network that gives no class scores: how far int8's outputs are from fp32's.
"""

from octet.core.errors import run
from octet.core.files import write_json, write_text
from octet.core.folder import PRECISIONS
from octet.core.stage import Stage, arguments, begin
from octet.data import preprocess
from octet.data.images import Images, report_source, split_images
from octet.evaluate.accuracy import accuracy
from octet.evaluate.evaluate import evaluate
from octet.evaluate.fidelity import compare, fidelity, outputs_csv
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
    images = split_images(stage.entry.data, settings.split, steps, settings.limit, "evaluate.limit", stage.entry)
    report_source(f"{stage.name}: {settings.split} split", images)
    if steps.outputs:
        return compare_outputs(stage, images, precision, args.workers, args.readers)
    engine = runner(folder.ncnn(precision), stage.entry.partition, steps.shape)
    top = evaluate(engine, images, f"evaluate {precision}", args.workers, args.readers, stage.params.parallel.scheduler)
    read, classes = images.pick(top.indices), distinct(steps.classes)
    figures = accuracy(read.labels, top.classes, classes, len(images) - len(read), str(images.source))
    write_text(folder.predictions(precision), predictions_csv(top.predictions(read.names, read.labels, classes)))
    write_json(folder.figures(precision), figures.to_json())
    told = "no labels, so no top-1, on" if figures.top1_pct is None else f"top-1 {figures.top1_pct:.2f} % of"
    print(f"{stage.name}: {precision} {told} {figures.n_images} images")


def compare_outputs(stage: Stage, images: Images, precision: str, workers: int | None, readers: int) -> None:
    """The same for a network that gives no class scores."""
    folder, steps, is_int8 = stage.folder, images.preprocess, precision == "int8"
    fp32, int8 = (runner(folder.ncnn(p), stage.entry.partition, steps.shape) for p in ("fp32", precision))
    what, scheduler = f"evaluate {precision}", stage.params.parallel.scheduler
    compared = compare(fp32, int8 if is_int8 else None, images, steps.outputs, what, workers, readers, scheduler)
    read = images.pick(compared.indices)
    figures = fidelity(compared, steps.outputs, is_int8, len(images) - len(read), str(images.source))
    write_text(folder.predictions(precision), outputs_csv(compared, read.names, steps.outputs, is_int8))
    write_json(folder.figures(precision), figures.to_json())
    print(
        f"{stage.name}: {precision}, {len(steps.outputs)} outputs that are no class scores, on {figures.n_images} images"
    )


if __name__ == "__main__":
    run(main)
