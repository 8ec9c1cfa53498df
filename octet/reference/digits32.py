"""digits32: a data set that the project draws itself.

32x32 RGB images of one house-number-like digit in the middle, with parts of its neighbours, in the
fonts that matplotlib ships; position, size, rotation, shear, colours, background, blur and noise vary.

The images are byte-identical from their seed on every machine: positions and colours come from PCG64's
uniform numbers, and every step is an elementwise IEEE operation (no sine, no exponential, no matrix
product, whose last bit depends on the processor). Glyphs are drawn by FreeType, which uses integers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

CLASSES = tuple("0123456789")
SIZE = 32
CHUNK = 500  # images drawn from one random stream; a multiple of the number of classes

_FONTS = (
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSans.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono-Oblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSerif.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralBolIta.ttf",
    "STIXGeneralItalic.ttf",
    "cmb10.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmti10.ttf",
    "cmtt10.ttf",
)
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
# As matplotlib's cmti10.ttf draws the ten digits, side by side: its last release for Python 3.10 lacks that font.
_CMTI10 = Path(__file__).with_name("cmti10_digits.png")
_CELL, _GLYPH = 48, 28  # a glyph of 28 pixels' height in the middle of a cell of 48x48


def _glyphs() -> Floats:
    """Every font's ten digits as coverage in [0, 1], shape (fonts, 10, 48, 48), all of the same height."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [folder / name for name in _FONTS]
    return np.stack([_drawn(file) if file.is_file() or file.stem != "cmti10" else _stored(_CMTI10) for file in files])


def _drawn(font_file: Path) -> Floats:
    """One font's ten digits, of shape (10, 48, 48)."""
    cells = np.zeros((len(CLASSES), _CELL, _CELL), np.float32)
    font = ImageFont.truetype(str(font_file), 120, layout_engine=ImageFont.Layout.BASIC)
    for d, text in enumerate(CLASSES):
        left, top, right, bottom = font.getbbox(text)
        large = Image.new("L", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(large).text((-left, -top), text, fill=255, font=font)
        width = max(1, min(_CELL - 4, round(large.width * _GLYPH / large.height)))
        small = np.asarray(large.resize((width, _GLYPH), Image.Resampling.BOX), np.float32) / 255
        y, x = (_CELL - _GLYPH) // 2, (_CELL - width) // 2
        cells[d, y : y + _GLYPH, x : x + width] = small
    return cells


def _stored(image_file: Path) -> Floats:
    """The same from an image of the ten digits side by side, in levels of 255."""
    levels = np.asarray(Image.open(image_file), np.float32)
    return (levels / 255).reshape(_CELL, len(CLASSES), _CELL).transpose(1, 0, 2)


def _between(rng: np.random.Generator, low: float, high: float, *shape: int) -> Floats:
    values: Floats = (low + (high - low) * rng.random(shape)).astype(np.float32)
    return values


def _bell(rng: np.random.Generator, *shape: int) -> Floats:
    """Numbers of mean 0 and variance 1 without a logarithm: the sum of three uniform ones."""
    values: Floats = ((rng.random((3, *shape), np.float32).sum(axis=0) - 1.5) * 2).astype(np.float32)
    return values


def _bilinear(images: Floats, index: npt.NDArray[np.int64], v: Floats, u: Floats) -> Floats:
    """images[index] at row v, column u (in pixels), bilinear, zero outside."""
    height, width = images.shape[-2:]
    flat = images.reshape(-1)
    v0, u0 = np.floor(v), np.floor(u)
    fv, fu = v - v0, u - u0
    out = np.zeros(v.shape, np.float32)
    for dv in (0, 1):
        for du in (0, 1):
            y, x = v0.astype(np.int64) + dv, u0.astype(np.int64) + du
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            where = (index * height + np.clip(y, 0, height - 1)) * width + np.clip(x, 0, width - 1)
            weight = (fv if dv else 1 - fv) * (fu if du else 1 - fu)
            out += np.where(inside, flat[where], np.float32(0)) * weight
    return out


def _background(rng: np.random.Generator, n: int, xs: Floats, ys: Floats) -> Floats:
    """A colour with a gradient and soft blotches, shape (n, 3, 32, 32), in grey levels 0..255."""
    colour = _between(rng, 20, 235, n, 3, 1, 1)
    slope_x, slope_y = _between(rng, -1.2, 1.2, n, 3, 1, 1), _between(rng, -1.2, 1.2, n, 3, 1, 1)
    blotches = _bell(rng, n, 7, 7) * _between(rng, 0, 22, n, 1, 1)
    index = np.arange(n).reshape(n, 1, 1)
    v = np.broadcast_to(ys * np.float32(5 / 31) + np.float32(0.5), (n, SIZE, SIZE))
    u = np.broadcast_to(xs * np.float32(5 / 31) + np.float32(0.5), (n, SIZE, SIZE))
    soft = _bilinear(blotches, index, v, u)
    return colour + slope_x * (xs - 16) + slope_y * (ys - 16) + soft[:, None]


def _draw_chunk(glyphs: Floats, seed: int, split: int, chunk: int) -> tuple[Bytes, Bytes]:
    """CHUNK images, of shape (CHUNK, 3, 32, 32), and their labels."""
    rng = np.random.Generator(np.random.PCG64([seed, split, chunk]))
    n = CHUNK
    labels = rng.permutation(np.arange(n) % len(CLASSES))
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)

    font = rng.integers(0, len(_FONTS), n)
    height = _between(rng, 13, 25, n, 1, 1)
    turn = _between(rng, -0.16, 0.16, n, 1, 1)  # tan of half the angle: up to 18 degrees either way
    cos, sin = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
    shear = _between(rng, -0.25, 0.25, n, 1, 1)
    stretch = _between(rng, 0.75, 1.2, n, 1, 1)
    cx, cy = 15.5 + _between(rng, -3.5, 3.5, n, 1, 1), 15.5 + _between(rng, -3.5, 3.5, n, 1, 1)

    # The pixel's place in the number's own frame: turned upright, in units of the digits' height.
    right, down = xs - cx, ys - cy
    along = (right * cos + down * sin) / height / stretch
    across = (down * cos - right * sin) / height
    along = along + shear * across
    cover = np.zeros((n, SIZE, SIZE), np.float32)
    for place in (-1, 0, 1):
        digit = labels if place == 0 else rng.integers(0, len(CLASSES), n)
        gap = place * _between(rng, 0.68, 1.0, n, 1, 1)
        shown = 1 if place == 0 else (rng.random((n, 1, 1)) < 0.65)
        index = (font * len(CLASSES) + digit).reshape(n, 1, 1)
        mask = _bilinear(
            glyphs.reshape(-1, _CELL, _CELL),
            index,
            across * _GLYPH + np.float32((_CELL - 1) / 2),
            (along - gap) * _GLYPH + np.float32((_CELL - 1) / 2),
        )
        cover = np.maximum(cover, mask * shown)

    back = _background(rng, n, xs, ys)
    contrast = _between(rng, 22, 150, n, 1, 1, 1) * np.where(rng.random((n, 1, 1, 1)) < 0.5, -1, 1)
    level = back.mean(axis=(2, 3), keepdims=True, dtype=np.float64).mean(axis=1, keepdims=True)
    contrast = np.where((level + contrast < 0) | (level + contrast > 255), -contrast, contrast)
    ink = back + contrast + _between(rng, -35, 35, n, 3, 1, 1)
    image = back + (ink - back) * cover[:, None]

    blurs = rng.integers(0, 4, n).reshape(n, 1, 1, 1)
    for times in (1, 2, 3):
        wide = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        tall = (wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]) / 4
        soft = (tall[..., :-2] + 2 * tall[..., 1:-1] + tall[..., 2:]) / 4
        image = np.where(blurs >= times, soft, image)
    image = image + _bell(rng, n, 3, SIZE, SIZE) * _between(rng, 2, 26, n, 1, 1, 1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels.astype(np.uint8)


def draw(n: int, seed: int, split: int, workers: int = 2) -> tuple[Bytes, Bytes]:
    """Draws images, always the same ones.

    >>> images, labels = draw(500, seed=0, split=1)
    >>> images.shape, labels[:5].tolist()
    ((500, 3, 32, 32), [4, 2, 3, 8, 3])

    Args:
        n: How many; a multiple of CHUNK.
        seed: Another one draws other images.
        split: Separates the random streams of training (0) and test (1).
        workers: How many threads draw; the result does not depend on it.

    Returns:
        The images, RGB of shape (n, 3, 32, 32), and their labels, of shape (n,).
    """
    if n % CHUNK:
        raise ValueError(f"n must be a multiple of {CHUNK}, not {n}")
    glyphs = _glyphs()
    with ThreadPoolExecutor(workers) as pool:
        chunks = list(pool.map(lambda c: _draw_chunk(glyphs, seed, split, c), range(n // CHUNK)))
    return np.concatenate([c[0] for c in chunks]), np.concatenate([c[1] for c in chunks])
