"""Lets mmcv 1.7.2's setup.py read its own version on Python 3.13.

It calls exec on mmcv/version.py in a function, and looks for the result in locals(). Since 3.13 exec writes to a copy there
(PEP 667). The Makefile names this folder in PYTHONPATH for that build alone, so that Python runs this file before setup.py.
"""

import builtins
import sys
from types import CodeType
from typing import Any

_exec = builtins.exec


def _exec_in_caller(code: Any, *namespaces: Any, **options: Any) -> None:
    """As exec, but what mmcv/version.py defines becomes local names of the caller."""
    if isinstance(code, CodeType) and code.co_filename == "mmcv/version.py" and not namespaces:
        defined: dict[str, Any] = {}
        _exec(code, defined)
        sys._getframe(1).f_locals.update(defined)
    else:
        _exec(code, *namespaces, **options)


if sys.version_info >= (3, 13):
    builtins.exec = _exec_in_caller
