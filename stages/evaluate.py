"""evaluate: fp32 or int8 on the test split (or evaluate.split), in ncnn: mmcls's metrics, and every prediction."""

from octet.core.errors import OctetError, run
from octet.core.files import write_json, write_text
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import inputs, open_split
from octet.data.subset import balanced, held_out
from octet.evaluate.evaluate import distinct, evaluate, figures, predictions_csv
from octet.ncnn.partition import runner
from octet.zoo import catalogue


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--precision", choices=("fp32", "int8"), required=True, help="which of the two models")
    parser.add_argument("--workers", type=int, help="threads (default: all cores); the figures do not depend on it")
    parser.add_argument(
        "--readers", type=int, default=0, help="threads that read ahead (default: each worker reads its own)"
    )
    args = parser.parse_args()
    stage = begin(args)
    split, limit = stage.params.evaluate.split, stage.params.evaluate.limit
    steps = preprocess.load(stage.models / "preprocess.json")
    data = open_split(stage.entry.data, split, steps.classes, steps.color_type)
    if not data.labelled:
        raise OctetError(
            f"{stage.entry.data}: the images of the {split} split have no labels; nothing can be evaluated on them"
        )
    picked = (held_out if split == "train" else balanced)(data.labels, limit, "evaluate.limit")
    files = (stage.models / f"{args.precision}.{ending}" for ending in ("param", "bin"))
    engine = runner(*files, stage.entry.cuts)
    what, image = f"evaluate {args.precision}", inputs(data, steps, picked)
    kept, order, probabilities = evaluate(
        engine, image, len(picked), what, args.workers, args.readers, stage.params.parallel.scheduler
    )
    labels, images = data.labels[picked[kept]], [data.name(k) for k in picked[kept]]
    classes = distinct(steps.classes)
    found = figures(labels, order, classes) | {"n_unreadable": len(picked) - len(kept)}
    if (args.precision, split, limit) == ("fp32", "test", None):
        found |= catalogue.compare(found["top1_pct"], stage.entry.checkpoint)
    csv = predictions_csv(images, labels, order, probabilities, classes)
    write_text(stage.metrics / f"{args.precision}.predictions.csv", csv)
    write_json(stage.metrics / f"{args.precision}.json", found)
    print(f"{stage.name}: {args.precision} top-1 {found['top1_pct']:.2f} % of {found['n_images']} images")


if __name__ == "__main__":
    run(main)
