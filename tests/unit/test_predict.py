"""Which images `make predict` looks at, how it reads them, and what it shows."""

import io
import warnings

import cv2
import numpy as np
import pytest
from matplotlib.font_manager import FontEntry
from PIL import Image

from octet.core.errors import OctetError
from octet.data.geometry import CenterCrop
from octet.data.preprocess import Preprocess
from octet.evaluate.predictions import Prediction
from octet.predict import fonts
from octet.predict.draw import png
from octet.predict.fonts import Fonts
from octet.predict.images import NamedImage, files, fit, load, telling
from octet.predict.show import text

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path):
    gradient = np.add.outer(np.arange(20), np.arange(30))[..., None] * [1, 2, 3]
    for name in ("b.png", "a.JPG", "c.txt.png"):
        Image.fromarray(gradient.astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_files_and_folders(folder):
    result = files([str(folder), str(folder / "notes.txt")])
    assert [path.name for path in result] == ["a.JPG", "b.png", "c.txt.png", "notes.txt"]
    (folder / "empty").mkdir()
    with pytest.raises(OctetError, match=r"empty: no image in this folder; expected files ending in \.jpg"):
        files([str(folder / "empty")])
    with pytest.raises(OctetError, match="none.png: no such file or folder"):
        files([str(folder / "none.png")])


def test_several_files_and_patterns_in_one_text(folder, monkeypatch):
    """As make hands over IMAGE: a name that is there is that file, whatever is in it."""
    monkeypatch.chdir(folder)
    names = ["Bob's photo (1).png", "a b.png", "a", "*.JPG", "[x].png", "two\nlines.png", "$(x); `y`.png"]
    for name in names:
        (folder / name).write_bytes((folder / "b.png").read_bytes())
        assert files([name]) == [folder.joinpath(name).relative_to(folder)]
    for several, expected in (
        ("a.JPG b.png", ["a.JPG", "b.png"]),
        ("  a.JPG\n\nb.png\n", ["a.JPG", "b.png"]),
        ("a b.png b.png", ["a b.png", "b.png"]),
        ("a Bob's photo (1).png", ["a", "Bob's photo (1).png"]),
        ("?.txt.png", ["c.txt.png"]),
        ("*.JPG ?.txt.png", ["*.JPG", "c.txt.png"]),
    ):
        assert [str(path) for path in files([several])] == expected, several
    for wrong, missing in (
        ("a.JPG none.png b.png", "none.png"),
        ("*.gif", r"\*.gif"),
        ("x" * 5000, "x{5000}"),
        ("\0", "\0"),
    ):
        with pytest.raises(OctetError, match=f"^{missing}: no such file or folder"):
            files([wrong])


def steps(order="RGB", geometry=()):
    channels = 1 if order == "GREY" else 3
    return Preprocess(order, [0.0] * channels, [1.0] * channels, [20, 30], ["a"], geometry=list(geometry))


def test_images_are_read_as_the_network_takes_them(folder):
    assert np.array_equal(load(folder / "b.png", steps("BGR")).pixels, np.asarray(Image.open(folder / "b.png")))
    assert load(folder / "b.png", steps("GREY")).pixels.shape == (20, 30)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:20])
    with pytest.raises(OctetError, match="b.png: not an image"):
        load(folder / "b.png", steps())


def test_only_a_network_without_a_resize_gets_images_cut_and_scaled(folder):
    Image.new("RGB", (100, 40)).save(folder / "wide.png")
    assert load(folder / "wide.png", steps()).pixels.shape == (20, 30, 3)
    assert load(folder / "wide.png", steps(geometry=[CenterCrop(20, 30)])).pixels.shape == (40, 100, 3)


def test_other_sizes_are_cut_and_scaled_and_say_so():
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 200  # the middle square
    result = fit(NamedImage("x.png", pixels), [10, 10])
    assert result.pixels.shape == (10, 10, 3)
    assert (result.pixels == 200).all()
    assert result.name == "x.png (100x40, cut and scaled to 10x10)"
    same = NamedImage("y.png", pixels[:, 30:70])
    assert fit(same, [40, 40]) is same


def say(label, *top, shares=(0.5, 0.25)):
    return Prediction("x", label, list(top), list(shares))


def test_half_of_the_images_are_those_on_which_the_two_differ():
    pairs = [(say("a", "a", "b"), say("a", "a", "b"))] * 100
    for row, share in ((10, 0.4), (20, 0.1), (30, 0.3), (40, 0.2)):
        pairs[row] = say("a", "a", "b", shares=(0.5, 0.25)), say("a", "b", "a", shares=(0.5 + share, 0.25))
    assert {10, 30} <= set(telling(pairs, 4))
    assert not {20, 40} & set(telling(pairs, 4))
    assert len(telling(pairs, 50)) == 50
    assert {10, 20, 30, 40} <= set(telling(pairs, 50))
    assert telling(pairs[:1], 8) == [0]
    assert telling(pairs[10:11], 8) == [0]


def answers(*tops):
    return dict(zip(("torch", "ncnn fp32", "ncnn int8"), tops, strict=True))


def test_the_text_shows_the_three_side_by_side():
    same = answers(*[say("cat", "cat", "dog")] * 3)
    other = answers(say("", "cat", "a very long name of a dog"), say("", "cat", "owl"), say("", "owl", "cat"))
    images = [
        NamedImage("x.png", np.zeros((4, 4, 3), np.uint8), "cat"),
        NamedImage("y.png", np.zeros((4, 4, 3), np.uint8)),
    ]
    one, two = text(images, [same, other]).split("\n\n")
    assert one.splitlines()[0] == "x.png, label: cat"
    assert "differ" not in one
    assert one.splitlines()[2].split() == ["cat", "50.00", "%"] * 3
    assert two.splitlines()[0] == "y.png"
    assert two.splitlines()[3].startswith("  a very long name of a d…  25.00 %  owl ")
    assert two.splitlines()[-1] == "  differ: torch says cat, ncnn fp32 says cat, ncnn int8 says owl"


def test_the_png_holds_the_images():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    output = answers(*[say("", "cat", "dog")] * 3)
    data = png([NamedImage("x.png", red)] * 3, [output] * 3, "title")
    drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert (drawn == [0, 0, 255]).all(axis=2).sum() > 3 * 90 * 90
    assert Image.open(io.BytesIO(data)).format == "PNG"
    assert data == png([NamedImage("x.png", red)] * 3, [output] * 3, "title")


def margin(data):
    """How many pixels at the left and the right edge are white."""
    white = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == 255).all(axis=(0, 2))
    return int(np.argmin(white)), int(np.argmin(white[::-1]))


@pytest.mark.parametrize(
    "name",
    ["a_name_that_is_much_longer_than_its_image_is_wide_0123456789.png (500x375, cut and scaled to 32x32)", "W" * 90],
)
def test_a_long_name_is_not_cut(name):
    wide = answers(*[say("W" * 60, "W" * 60, "i" * 60)] * 3)
    data = png([NamedImage(f"folder/{name}", np.zeros((32, 32, 3), np.uint8), "W" * 60)], [wide], "title")
    assert min(margin(data)) >= 3


CHINESE = "虎斑猫"


# The fonts of a machine that has none but matplotlib's own, which it has to find.
MATPLOTLIB_S = [entry for entry in fonts.fontManager.ttflist if entry.name == fonts.OWN]


def test_what_no_font_has_is_escaped_and_said_once(capsys, monkeypatch):
    monkeypatch.setattr(fonts.fontManager, "ttflist", MATPLOTLIB_S)
    result = Fonts.of(["cat", CHINESE, "naïve ±"])
    assert result == Fonts([fonts.OWN], frozenset(CHINESE))
    assert result.drawable(f"{CHINESE[0]} cat") == "\\u864e cat"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where it draws a box
        images = [NamedImage(f"{CHINESE}.png", np.zeros((32, 32, 3), np.uint8), CHINESE)] * 2
        png(images, [answers(*[say(CHINESE, CHINESE, "dog")] * 3)] * 2, CHINESE)
    told = capsys.readouterr().err
    assert told.count("no font on this machine has") == 1
    assert all(letter in told for letter in CHINESE)


def test_a_font_of_boxes_is_none():
    """matplotlib has one for everything; no font has a character of a private area."""
    assert Fonts.of(["cat \U000f1234"]).missing == {"\U000f1234"}


def test_a_font_of_this_machine_has_what_matplotlib_s_has_not(monkeypatch):
    """A font as an installed one is listed, if it has a character that matplotlib's own lacks: here a made one."""
    real = fonts._has
    monkeypatch.setattr(fonts, "_has", lambda path, wanted: {"虎"} & wanted if path == "t.ttf" else real(path, wanted))
    entries = [FontEntry(fname="t.ttf", name="Tiger Sans"), FontEntry(fname="broken.ttf", name="Broken")]
    monkeypatch.setattr(fonts.fontManager, "ttflist", entries + MATPLOTLIB_S)
    assert Fonts.of(["a tiger: 虎"]) == Fonts([fonts.OWN, "Tiger Sans"], frozenset())
    assert Fonts.of(["cat"]).families == [fonts.OWN]
    assert Fonts.of([CHINESE]).missing == {"斑", "猫"}
