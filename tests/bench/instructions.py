"""make bench-instructions: how many instructions one image costs on each family of Arm processors, by target.

The runner (`make runner`) under Debian's qemu-user, with a plugin that counts (tests/bench/instructions.c). A count is no speed:
instructions take different times, and memory takes its own. It shows which kernels run and how much work they are.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from octet.core import params
from octet.core.errors import OctetError, run
from octet.core.folder import ModelFolder, NcnnFiles
from octet.core.text import table
from octet.data import preprocess
from octet.device.build import ENVIRONMENT, FOLDER, build, compiler
from octet.device.inputs import write_inputs
from octet.graph.layers import is_depthwise, quantizable
from octet.graph.targets import TARGETS, Choice
from octet.ncnn.net import load_net, save_net
from octet.ncnn.table import load
from octet.tune.bench import Bench

# qemu's processors: without dot products, with them, with i8mm, and with all that qemu has.
PROCESSORS = {
    "no dot product (cortex-a53)": "cortex-a53",
    "dot product (cortex-a76)": "cortex-a76",
    "i8mm (max,sve=off)": "max,sve=off",
    "SVE2 (max)": "max",
}
PLUGIN = Path(__file__).with_suffix(".c")


def models(name: str, folder: Path) -> dict[str, tuple[NcnnFiles, str]]:
    """What is counted: the files, and ncnn's options. The weights' scales are absmax, which changes no count."""
    of = ModelFolder(name)
    net = load_net(of.fp32.param, of.fp32.bin)
    bench = Bench(net, load(of.table).inputs, np.zeros(0, np.float32), folder)
    files = {"fp32": of.fp32}
    deep = {layer.name: Choice(int8=True) for layer in quantizable(net.layers) if is_depthwise(layer)}
    targets = TARGETS | ({"dotprod, int8 depthwise": replace(TARGETS["dotprod"], layers=deep)} if deep else {})
    for key, target in targets.items():
        files[key] = NcnnFiles.named(folder, key.replace(", ", "_").replace(" ", "_"))
        save_net(bench.int8(target), *files[key])
    return {f"{key}, {words}": (of, options) for key, of in files.items() for options, words in OPTIONS.items()}


OPTIONS = {"fp32": "fp16 off", "fp16": "ncnn's default"}


def count(cpu: str, plugin: Path, files: NcnnFiles, options: str, folder: Path) -> int:
    """The instructions of one image: those of two runs less those of one."""
    net, counts = load_net(files.param, files.bin), []
    for runs in (1, 2):
        words = [
            "--images",
            str(folder / "inputs"),
            "--report",
            str(folder / "report.json"),
            "--warm-up",
            "0",
            "--runs",
            str(runs),
        ]
        words += [
            "--model",
            "m",
            options,
            str(files.param),
            str(files.bin),
            net.input,
            net.output,
            str(folder / "logits"),
        ]
        subprocess.run(
            ["qemu-aarch64", "-cpu", cpu, "-plugin", str(plugin), str(build("aarch64")), "run", *words],
            env=os.environ | {"COUNT_OUT": str(folder / "count")},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        counts.append(int((folder / "count").read_text()))
    return counts[1] - counts[0]


def plugin(folder: Path) -> Path:
    """The plugin, compiled with the runner's compiler; qemu has what it calls."""
    path = folder / "libcount.so"
    command = [
        str(compiler()),
        "cc",
        "-O2",
        "-shared",
        "-fPIC",
        "-target",
        "x86_64-linux-gnu.2.31",
        "-Wl,--allow-shlib-undefined",
    ]
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str((FOLDER / "zig-cache").resolve())}
    subprocess.run([*command, "-o", str(path), str(PLUGIN)], env=environment, check=True)
    return path


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a model of params.yaml (default: all)")
    args = parser.parse_args()
    if shutil.which("qemu-aarch64") is None or not ENVIRONMENT.exists():
        raise OctetError("make bench-instructions: needs Debian's qemu-user, and the runner: 'make runner' builds it")
    for name in [args.model] if args.model else params.load().models:
        with tempfile.TemporaryDirectory(prefix="octet-count-") as temporary:
            folder = Path(temporary)
            counter, shape = plugin(folder), preprocess.load(ModelFolder(name).preprocess).shape
            image = np.random.Generator(np.random.PCG64(0)).normal(0, 1, shape).astype(np.float32)
            write_inputs(folder / "inputs", 1, shape, [image])
            rows = [
                [what, *(f"{count(cpu, counter, *of, folder) / 1e6:.1f}" for cpu in PROCESSORS.values())]
                for what, of in models(name, folder).items()
            ]
        print(f"{name}, millions of instructions for one image:")
        print(table(rows, ["", *PROCESSORS], "l" + "r" * len(PROCESSORS)))


if __name__ == "__main__":
    run(main)
