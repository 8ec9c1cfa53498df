"""quantize: the fp32 model and int8.table become int8.param and int8.bin, read back and run before they are kept."""

from octet.core.errors import run
from octet.core.plan import read_plan
from octet.core.stage import arguments, begin
from octet.data import preprocess
from octet.graph.layers import is_int8, is_requantized, quantizable
from octet.quantize.fp32_layers import by_reason, fp32_layers
from octet.quantize.int8_files import write
from octet.quantize.recipe import Recipe


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, entry = stage.folder, stage.entry
    steps = preprocess.load(folder.preprocess)
    planned = read_plan(folder.plan)
    recipe = Recipe.load(folder, entry.target, entry.equalize, entry.keep_fp32, entry.partition)
    result = recipe.int8(planned)
    write(result, *folder.int8, steps(steps.noise(1)[0]))
    layers = quantizable(result.layers)
    requantized = sum(map(is_requantized, layers))
    int8 = sum(map(is_int8, layers))
    print(f"{stage.name}: {int8} of {len(layers)} layers int8, {requantized} requantized")
    for reason, names in by_reason(fp32_layers(result, recipe.target, entry.keep_fp32, planned)).items():
        print(f"  fp32: {', '.join(names)} ({reason.value})")


if __name__ == "__main__":
    run(main)
