"""convert: fp32.onnx becomes ncnn's fp32.param and fp32.bin, checked on real pictures."""

from octet import preprocess
from octet.convert import convert
from octet.data.cifar import Cifar
from octet.data.subset import balanced
from octet.errors import run
from octet.stage import arguments, begin, inputs

PICTURES = 16


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder, data = stage.models, Cifar(stage.entry.data, "train")
    steps = preprocess.load(folder / "preprocess.json")
    count = min(PICTURES, len(data))
    image = inputs(data, steps, balanced(data.labels, count, stage.entry.data))
    images = [image(k) for k in range(count)]
    difference = convert(folder / "fp32.onnx", folder / "fp32.param", folder / "fp32.bin", images)
    print(f"{stage.name}: ncnn's logits are ONNX Runtime's within {difference:.1e} of their spread")


if __name__ == "__main__":
    run(main)
