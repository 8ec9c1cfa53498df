"""benchmark: batch-1 latency of fp32 and int8 on this machine, in turn, at one thread and at all cores, and of other engines."""

from functools import partial

from octet.benchmark.benchmark import benchmark, latency_json, ncnn, samples_csv, speeds
from octet.core.engines.engine import load, timed
from octet.core.engines.files import check_models
from octet.core.errors import run
from octet.core.files import write_json, write_text
from octet.core.folder import PRECISIONS
from octet.core.stage import arguments, begin
from octet.data import preprocess

IMAGES = 8  # of noise: no kernel's time depends on the image


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    folder, settings = stage.folder, stage.entry.benchmark
    steps = preprocess.load(folder.preprocess)
    images = [steps(image) for image in steps.noise(IMAGES)]
    models = {precision: ncnn(folder.ncnn(precision)) for precision in PRECISIONS}
    engines = timed(stage.entry.onnx_engines)
    check_models(folder, engines)
    models |= {name: partial(load, name, folder.engine(name)) for name in engines}
    runs = benchmark(models, images, settings.runs, settings.warmup)
    write_text(folder.latency_samples, samples_csv(runs))
    write_json(folder.latency, latency_json(runs))
    one = speeds(runs)[1]
    print(f"{stage.name}: one thread, {', '.join(f'{name} {speed.fps:.1f} FPS' for name, speed in one.items())}")


if __name__ == "__main__":
    run(main)
