"""evaluate: fp32 or int8 on the test split (or evaluate.split), in ncnn: mmcls's metrics, by class, every prediction."""

from octet import preprocess
from octet.data.cifar import Cifar
from octet.data.subset import balanced, held_out
from octet.engine import Engine
from octet.errors import run
from octet.evaluate import by_class, classes_csv, distinct, evaluate, figures, predictions_csv
from octet.files import write_json, write_text
from octet.stage import arguments, begin, inputs


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--precision", choices=("fp32", "int8"), required=True, help="which of the two models")
    parser.add_argument("--workers", type=int, help="threads (default: all cores); the figures do not depend on it")
    args = parser.parse_args()
    stage = begin(args)
    split, limit = stage.params.evaluate.split, stage.params.evaluate.limit
    data = Cifar(stage.entry.data, split)
    picked = (held_out if split == "train" else balanced)(data.labels, limit, "evaluate.limit")
    steps = preprocess.load(stage.models / "preprocess.json")
    engine = Engine(stage.models / f"{args.precision}.param", stage.models / f"{args.precision}.bin")
    what = f"evaluate {args.precision}"
    order, probabilities = evaluate(engine, inputs(data, steps, picked), len(picked), what, args.workers)
    labels, classes = data.labels[picked], distinct(steps.classes)
    found = figures(labels, order, classes)
    pictures = [str(k) for k in picked]
    name = stage.metrics / args.precision
    write_text(f"{name}.predictions.csv", predictions_csv(pictures, labels, order, probabilities, classes))
    write_text(f"{name}.classes.csv", classes_csv(by_class(labels, order[:, 0], classes)))
    write_json(f"{name}.json", found)
    print(f"{stage.name}: {args.precision} top-1 {found['top1_pct']:.2f} % of {found['n_images']} pictures")


if __name__ == "__main__":
    run(main)
