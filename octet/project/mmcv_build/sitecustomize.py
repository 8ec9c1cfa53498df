"""Lets mmcv 1.7.2's setup.py read its own version on Python 3.13.

It calls exec on mmcv/version.py in a function, and looks for the result in locals(). Since 3.13 exec writes to a copy there
(PEP 667). The Makefile names this folder in PYTHONPATH for that build alone, so that Python runs this file before setup.py.
"""

import builtins
import sys
from typing import Any

_exec = builtins.exec


def _exec_in_caller(code: Any, *namespaces: Any, **options: Any) -> None:
    """As exec; without namespaces, what the code defines becomes local names of the caller, as before 3.13."""
    caller = sys._getframe(1)
    _exec(code, *(namespaces or (caller.f_globals, caller.f_locals)), **options)


if sys.version_info >= (3, 13):
    builtins.exec = _exec_in_caller
