"""What a figure's JSON says of the machine that it was measured on."""

from __future__ import annotations

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
