"""benchmark: batch-1 latency of fp32 and int8 on this machine, the two in turn, at one thread and at all cores."""

from octet.benchmark.benchmark import benchmark, figures, samples_csv
from octet.core.errors import run
from octet.core.files import write_json, write_text
from octet.core.stage import arguments, begin
from octet.data import preprocess


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    folder, settings = stage.models, stage.params.benchmark
    steps = preprocess.load(folder / "preprocess.json")
    noise = steps.noise(8)  # no kernel's time depends on the image
    files = {p: (folder / f"{p}.param", folder / f"{p}.bin") for p in ("fp32", "int8")}
    rows = benchmark(files, lambda k: steps(noise[k]), settings.runs, settings.warmup)
    found = figures(rows)
    write_text(stage.metrics / "latency_samples.csv", samples_csv(rows))
    write_json(stage.metrics / "latency.json", found)
    one = found["threads_1"]
    print(f"{stage.name}: one thread, fp32 {one['fp32']['fps']:.1f} FPS, int8 {one['int8']['fps']:.1f} FPS")


if __name__ == "__main__":
    run(main)
