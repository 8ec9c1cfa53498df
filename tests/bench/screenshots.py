"""make screenshots: the README's images of the report and of predict, from what `make quantize MODEL=name` made.

Writes docs/images/report.png and report-dark.png, an excerpt of the report as a real browser shows it, and predict.png.
Needs a browser: Debian's package `chromium`.
"""

import argparse
import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from octet.core import params
from octet.core.errors import OctetError, run
from octet.core.files import write_bytes
from octet.predict.predict import predict
from octet.report import page
from tests import browser

ROOT = Path(__file__).parents[2]
FOLDER = Path("docs/images")
MOST_BYTES = 200_000  # of an image
WIDTH = 1280  # CSS pixels
SECTIONS = ("confusion", "differ")  # of the report, below its tiles
IMAGES = 4  # that predict looks at
# Hides what stands between the links and the sections, and behind these; says where they end.
EXCERPT = """
(sections => {
  const last = document.querySelector("nav");
  let shown = true, end = 0;
  for (const node of document.body.children) {
    if (node.tagName === "H2") shown = sections.includes(node.id);
    if (!shown) node.style.display = "none"; else end = node.getBoundingClientRect().bottom;
    if (node === last) shown = false;
  }
  return end + 24;
})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18_digits32")
    name = parser.parse_args().model
    os.chdir(ROOT)
    if browser.find() is None:
        raise OctetError(f"no browser: none of {', '.join(browser.NAMES)} is there; Debian's package is chromium")
    settings = params.load()
    entry = params.model(settings, name)
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "report.html"
        page.write(name, entry, report)
        with browser.browser() as started:
            for dark in (False, True):
                opened = started.open(report.as_uri(), WIDTH, dark=dark)
                end = opened.run(f"{EXCERPT}({list(SECTIONS)})")
                save(opened.screenshot(end), FOLDER / f"report{'-dark' * dark}.png")
        drawn = Path(temporary) / "predict.png"
        predict(name, entry, settings.evaluate.split, [], drawn, IMAGES)
        save(drawn.read_bytes(), FOLDER / "predict.png")


def save(png: bytes, path: Path) -> None:
    """Writes an image, with as few colours as its size asks for."""
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (None, 256, 128, 64, 32):
        buffer = io.BytesIO()
        shown = whole.quantize(colours, dither=Image.Dither.NONE) if colours else whole
        shown.save(buffer, "PNG", optimize=True)
        if len(buffer.getvalue()) <= MOST_BYTES:
            break
    write_bytes(path, buffer.getvalue())
    print(f"{path}: {whole.width} x {whole.height}, {len(buffer.getvalue()) / 1e3:.0f} KB")


if __name__ == "__main__":
    run(main)
