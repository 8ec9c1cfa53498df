"""Ctrl-C at Python's start, without a traceback: `python -S start.py -m MODULE …` does what `python -m MODULE …` does.

Python's own start takes a tenth of a second, most of it for what packages of the environment want to run at each start
and for the way to the module: KeyboardInterrupt would leave a traceback there. So Python starts without them (-S), Ctrl-C ends the
process as the system ends it, and what was left out follows. octet.core.interrupt takes over where it is imported. A few
milliseconds remain, before the first line below.
"""

import _signal as signal  # signal itself takes longer to import
import sys

waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, as by nohup
if waits:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import runpy  # noqa: E402
import site  # noqa: E402

site.main()

from importlib import import_module  # noqa: E402
from pathlib import Path  # noqa: E402

# Of programs that do not import octet.core before all else: what takes most of DVC's start, and does nothing yet.
DVC = ("dvc.analytics", "dvc.cli.parser", "dvc.config", "dvc.repo", "dvc.scm", "dvc.utils.strictyaml")
BEFORE = {"dvc": DVC, "octet.project.quick_dvc": (*DVC, "dvc_data.hashfile.build", "ruamel.yaml")}

module = sys.argv[2]
sys.path[0] = str(Path.cwd())
if waits and (module in BEFORE or module.split(".")[0] not in ("octet", "stages")):
    for name in BEFORE.get(module, ()):
        import_module(name)
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[:] = ["-m", *sys.argv[3:]]  # as Python itself has it while it looks for the module
runpy.run_module(module, run_name="__main__", alter_sys=True)
