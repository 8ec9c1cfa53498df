"""quantize: the fp32 model and int8.table become int8.param and int8.bin, read back and run before they are kept."""

from octet.core.errors import run
from octet.core.files import read_json
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.graph.targets import quantizable
from octet.quantize.quantize import is_int8, write
from octet.quantize.recipe import Maker


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder, steps = stage.models, preprocess.load(stage.models / "preprocess.json")
    planned = read_json(folder / "plan.json", "the stage plan makes it")["keep_fp32"]
    result = Maker.load(stage).int8(planned)
    write(result, folder / "int8.param", folder / "int8.bin", steps(steps.noise(1)[0]))
    layers = quantizable(result.layers)
    requantized = sum(layer.int(8) > 100 for layer in layers)
    fp32 = [layer.name for layer in layers if not is_int8(layer)]
    left = f"; fp32: {', '.join(fp32)}" if fp32 else ""
    print(f"{stage.name}: {len(layers) - len(fp32)} of {len(layers)} layers int8, {requantized} requantized{left}")


if __name__ == "__main__":
    run(main)
