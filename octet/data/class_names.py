"""Class names: any text that every file and figure of Octet's can carry unchanged."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from octet.core.errors import OctetError

# Cc: control characters, tabs and line breaks among them; Cs: halves of characters, which no UTF-8 has; line and
# paragraph separators.
_REFUSED = ("Cc", "Cs", "Zl", "Zp")


def problem(name: str) -> str:
    r"""What is wrong with a class name; '' where nothing is.

    >>> problem("cat\nfish"), problem("crane | bird, $5")
    ("has the control character '\\n'", '')
    """
    if not name.strip():
        return "is empty"
    wrong = next((character for character in name if unicodedata.category(character) in _REFUSED), None)
    return f"has the control character {wrong!r}" if wrong else ""


def check_names(classes: Sequence[str], where: str) -> None:
    """Checks the names of a model's classes.

    Args:
        classes: The names.
        where: Where they stand, for the error.

    Raises:
        OctetError: A name is empty, or has a control character: labels.txt has one line a class.
    """
    for label, name in enumerate(classes):
        if wrong := problem(name):
            raise OctetError(
                f"{where}: the name of class {label}, {name!r}, {wrong}; a class name is one line of text. Change it in the "
                "checkpoint's meta.CLASSES, in the config's data.test.classes or in 'classes' of 'preprocess', whichever it is "
                "from"
            )
