"""Trains an embedded reference model and writes its half-precision checkpoint."""

import argparse

import torch

from octet.core import errors, files
from octet.data.cifar import Cifar
from octet.export.mmcls_model import build, read_config
from octet.export.mmcls_pipeline import derive
from octet.reference import params
from octet.reference.train import half_checkpoint, top1_pct, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="mmcls config")
    parser.add_argument("--data", required=True, help="folder in the layout of CIFAR-10's binary version")
    parser.add_argument("--recipe", required=True, help="YAML file with one recipe a model")
    parser.add_argument("--model", required=True, help="whose recipe to take")
    parser.add_argument("--threads", type=int, default=2, help="the weights' last bits depend on it")
    parser.add_argument("--checkpoint", required=True, help=".pth to write")
    parser.add_argument("--metrics", required=True, help="JSON to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe, as_written = params.recipe(args.recipe, args.model)
    config = read_config(args.config)
    model = build(config, args.config)
    images = Cifar(args.data, "train")
    steps = derive(config, args.config, images.classes)
    train(model, images, steps, recipe)
    checkpoint = half_checkpoint(model, images.classes, {"recipe": as_written})
    test = Cifar(args.data, "test")
    score = top1_pct(model, test, steps)
    files.write_bytes(args.checkpoint, checkpoint)
    files.write_json(args.metrics, {"n_images": len(test.labels), "top1_pct": files.decimals(score, 4)})
    print(f"top-1 {score:.2f} % on {len(test.labels)} test images")


if __name__ == "__main__":
    errors.run(main)
