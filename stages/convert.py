"""convert: fp32.onnx becomes ncnn's fp32.param and fp32.bin, checked on real images."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.dataset import inputs, open_split, readable
from octet.data.subset import balanced
from octet.ncnn.convert import convert

IMAGES = 16


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder = stage.models
    steps = preprocess.load(folder / "preprocess.json")
    data = open_split(stage.entry.data, "train", steps.classes, steps.color_type)
    picked = readable(data, balanced(data.labels, min(IMAGES, len(data)), stage.entry.data), "convert")
    image = inputs(data, steps, picked)
    images = [image(k) for k in range(len(picked))]
    difference = convert(folder / "fp32.onnx", folder / "fp32.param", folder / "fp32.bin", images)
    print(f"{stage.name}: ncnn's logits are ONNX Runtime's within {difference:.1e} of their spread")


if __name__ == "__main__":
    run(main)
