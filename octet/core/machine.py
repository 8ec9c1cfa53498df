"""What a figure's JSON says of the machine that it was measured on."""

from __future__ import annotations

from collections.abc import Mapping

_TYPES = {"cpu": str, "cores": int, "features": list, "ncnn": str, "system": str}


def is_machine(content: object, *keys: str) -> bool:
    """Does it say these of the things that octet.ncnn.machine writes?

    >>> is_machine({"cpu": "x", "cores": 2, "features": ["avx2"]}, "cpu", "cores", "features")
    True
    >>> is_machine({"cpu": "x"}, "cpu", "cores")
    False
    """
    if not isinstance(content, dict) or not all(isinstance(content.get(key), _TYPES[key]) for key in keys):
        return False
    return all(isinstance(name, str) for name in content.get("features", ()))


def machine_changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What two runs' machines differ in, ncnn's version included; nothing where their speeds can be compared.

    >>> machine_changes({"cpu": "A", "cores": 2, "ncnn": "1"}, {"cpu": "A", "cores": 8, "ncnn": "2"})
    'cores 2, then 8; ncnn 1, then 2'
    """
    changes = [(key, before.get(key), after.get(key)) for key in _TYPES if before.get(key) != after.get(key)]
    return "; ".join(f"{key} {_words(old)}, then {_words(new)}" for key, old, new in changes)


def _words(value: object) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return words or "none"
