"""summary: top-1, frames per second and size, fp32 beside int8."""

from octet.errors import run
from octet.files import write_json
from octet.stage import arguments, begin
from octet.summary import summarize, table


def main() -> None:
    stage = begin(arguments(__doc__).parse_args())
    found = summarize(stage.models, stage.metrics)
    write_json(stage.metrics / "summary.json", found)
    print(table({stage.name: found}))


if __name__ == "__main__":
    run(main)
