"""qdq: the int8 ONNX models for the engines beside ncnn that `engines` names, checked and run before they are kept."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from octet.core.engines.files import EngineLayers
from octet.core.errors import run
from octet.core.files import new_folder, write_bytes, write_json
from octet.core.plan import read_plan
from octet.core.registry import calibrator_needs
from octet.core.stage import Stage, arguments, begin

if TYPE_CHECKING:
    from octet.qdq.quantize import Int8

COSTS = 128  # images that say what a layer costs. It needs no parameter: the models do not depend on it


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    names = stage.entry.onnx_engines
    layers: dict[str, EngineLayers] = {}
    with new_folder(stage.folder.engines) as folder:
        for name, (int8, of_layers) in (int8_models(stage, names) if names else {}).items():
            model, placement = int8.model.SerializeToString(deterministic=True), int8.placement
            write_bytes(folder / f"{name}.onnx", model)
            sha256 = hashlib.sha256(model).hexdigest()
            layers[name] = EngineLayers(placement.layers, placement.float_layers, sha256, of_layers)
        content = {name: asdict(of) for name, of in layers.items()}
        write_json(folder / stage.folder.engine_layers.name, content)  # a folder with nothing in it makes DVC warn


def int8_models(stage: Stage, names: list[str]) -> dict[str, tuple[Int8, dict[str, float]]]:
    """The models by engine, each with what its layers cost; said on standard output too."""
    from octet.data import preprocess
    from octet.data.images import report_source, some_training_images, training_images
    from octet.graph.equalize import fp32_net
    from octet.qdq.costs import costs
    from octet.qdq.network import load
    from octet.qdq.profiles import PROFILES
    from octet.qdq.quantize import check, check_method, kept, quantize
    from octet.qdq.words import lines

    folder, entry = stage.folder, stage.entry
    check_method(entry.calibrate.method)
    steps, needs = preprocess.load(folder.preprocess), calibrator_needs(entry.calibrate.method)
    steps.needs_classes(f"models.{stage.name}: engines: {', '.join(names)}")
    network = load(folder.onnx)
    layers = [*entry.keep_fp32, *read_plan(folder.plan)]
    keep_float = kept(network, fp32_net(folder, False), layers) if layers else []
    images = training_images(
        entry.data, steps, entry.calibrate.images, "calibrate.images", f"calibrate by {needs.title}", needs.least_images
    )
    report_source(f"{stage.name}: train split", images)
    learned_from = None
    if entry.rounding.method != "nearest":
        learned_from = training_images(entry.data, steps, entry.rounding.images, "rounding.images", "round")
    models = quantize(
        network, [PROFILES[name] for name in names], images, entry.calibrate, keep_float, gptq_images=learned_from
    )
    for name, int8 in zip(names, models, strict=True):
        check(int8, steps(steps.noise(1)[0]), name)
    of_layers = costs(network, models, some_training_images(entry.data, steps, COSTS, "qdq"))
    for int8, of_engine in zip(models, of_layers, strict=True):
        print(f"{stage.name}: " + "\n".join(lines(network, int8, of_engine)))
    return dict(zip(names, zip(models, of_layers, strict=True), strict=True))


if __name__ == "__main__":
    run(main)
