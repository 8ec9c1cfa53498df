"""convert: fp32.onnx becomes ncnn's fp32.param and fp32.bin, checked on real images."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.data.images import some_training_images
from octet.ncnn.convert import convert

IMAGES = 16


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    steps = preprocess.load(stage.folder.preprocess)
    images = some_training_images(stage.entry.data, steps, IMAGES, "convert")
    difference = convert(stage.folder.onnx, stage.folder.fp32, list(images))
    print(f"{stage.name}: ncnn gives what ONNX Runtime does, within {difference:.1e} of its spread")


if __name__ == "__main__":
    run(main)
