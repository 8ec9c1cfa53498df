"""export: the trained model becomes fp32.onnx and preprocess.json."""

from octet.core.errors import run
from octet.core.stage import arguments, begin
from octet.export.export import export
from octet.export.sources import source_of


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    source, folder = source_of(stage.entry), stage.folder
    entry = stage.entry
    difference = export(source, entry.export.opset, folder.onnx, folder.preprocess, entry.splits, stage.name)
    print(
        f"{stage.name}: fp32.onnx gives what {source.engine} computes with the model itself, within "
        f"{difference:.1e} of their spread"
    )


if __name__ == "__main__":
    run(main)
