"""settings: what of params.yaml counts for this model, its own where its entry has some: settings/*.json."""

from octet.core import settings
from octet.core.errors import run
from octet.core.stage import arguments, begin


def main() -> None:
    stage = begin(arguments(__doc__).parse_args().model)
    settings.write(stage.folder, stage.entry)


if __name__ == "__main__":
    run(main)
