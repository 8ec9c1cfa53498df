"""quantize: the fp32 model and int8.table become int8.param and int8.bin, read back and run before they are kept."""

from octet import format, preprocess
from octet.errors import run
from octet.format import table
from octet.quantize import is_int8, quantize, write
from octet.split import exchanged
from octet.stage import arguments, begin
from octet.targets import quantizable, target


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder = stage.models
    net = format.load(folder / "fp32.param", folder / "fp32.bin", "the stage convert makes it")
    where = folder / "int8.table"
    apart = exchanged(net, stage.entry.cuts, str(folder / "fp32.param"))
    profile, kept = target(stage.params.target), list(stage.entry.keep_fp32)
    result = quantize(net, table.load(where), profile, kept, str(where), exchanged=apart)
    steps = preprocess.load(folder / "preprocess.json")
    write(result, folder / "int8.param", folder / "int8.bin", steps(steps.noise(1)[0]))
    layers = quantizable(result.layers)
    requantized = sum(layer.int(8) > 100 for layer in layers)
    fp32 = [layer.name for layer in layers if not is_int8(layer)]
    left = f"; fp32: {', '.join(fp32)}" if fp32 else ""
    print(f"{stage.name}: {len(layers) - len(fp32)} of {len(layers)} layers int8, {requantized} requantized{left}")


if __name__ == "__main__":
    run(main)
