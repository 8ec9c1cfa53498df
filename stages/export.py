"""export: the mmcls config and checkpoint become fp32.onnx and preprocess.json."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.export.export import export


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    entry, folder = stage.entry, stage.folder
    difference = export(
        entry.config,
        entry.checkpoint,
        entry.trusted,
        stage.entry.export.opset,
        folder.onnx,
        folder.preprocess,
    )
    print(f"{stage.name}: ONNX Runtime's logits are torch's within {difference:.1e} of their spread")


if __name__ == "__main__":
    run(main)
