"""Fonts for texts in any script: matplotlib's own has Latin, Greek and Cyrillic; the others are looked for on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"  # comes with matplotlib


@dataclass(frozen=True)
class Fonts:
    """What a text can be drawn with.

    Args:
        families: The fonts' names, the first for all that it has, the others for what it lacks.
        missing: The characters that none of them has.
    """

    families: list[str]
    missing: frozenset[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Fonts:
        """matplotlib's own font, and of those on this machine as few as have all other characters of the texts."""
        wanted = {character for text in texts for character in text if not character.isspace()}
        lacking, families = wanted - _has(findfont(FontProperties(family=OWN)), wanted), [OWN]
        fonts = _installed() if lacking else {}
        for path, name in sorted(fonts.items(), key=lambda font: (font[1], font[0])):
            if has := _has(path, lacking):
                families.append(name)
                lacking -= has
            if not lacking:
                break
        return cls(families, frozenset(lacking))

    def drawable(self, text: str) -> str:
        r"""The text with escapes for what no font has, so that no boxes stand for it.

        >>> Fonts([OWN], frozenset("虎")).drawable("虎 (tiger)")
        '\\u864e (tiger)'
        """
        return "".join(_escape(letter) if letter in self.missing else letter for letter in text)


def _installed() -> dict[str, str]:
    """The names of all fonts, by file, without the one that draws a box for everything (unicode.org's, in matplotlib)."""
    return {entry.fname: entry.name for entry in fontManager.ttflist if not entry.name.startswith("Last Resort")}


def _has(path: str, characters: set[str]) -> set[str]:
    """Those of the characters that a font has; none of one that is no outline font (emoji in colour are not)."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return set()
    known = font.get_charmap()
    return {character for character in characters if ord(character) in known} if font.scalable else set()


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
