"""Ctrl-C while Python itself still starts: no traceback, and what starts so is otherwise as by `python -m`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.unit

AT_START = (
    "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30 if 'WAIT' in os.environ else 0)\n"
)
WHERE = "import sys\nprint(__name__, __spec__.name, sys.argv, sys.path[0], sys.prefix, 'site' in sys.modules)\n"


def started(folder, *words, ignored=False, **env):
    """What stages/python does in a folder, where Ctrl-C counts or is ignored, as by nohup."""
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    return subprocess.run(
        [ROOT / "stages/python", *words],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **env},
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("module", ["stages.settings", "octet", "dvc", "octet.project.quick_dvc"])
def test_ctrl_c_while_python_starts(module, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_START)
    done = started(tmp_path, "-m", module, "--help", PYTHONPATH=f"{tmp_path}:{ROOT}", WAIT="")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_where_ctrl_c_is_ignored_it_stays_so(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_START)
    done = started(tmp_path, "-m", "stages.settings", "--help", ignored=True, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


def test_a_module_is_run_as_python_itself_runs_it(tmp_path):
    (tmp_path / "octet_where.py").write_text(WHERE)
    words = ("-m", "octet_where", "--a", "b c")
    plain = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert plain.returncode == 0
    assert started(tmp_path, *words).stdout == plain.stdout
    assert started(tmp_path, "-c", "print(1)").stdout == "1\n"


def test_a_locale_that_is_not_utf_8_changes_no_file_that_is_read(tmp_path):
    """As in a locale that is not UTF-8: Python then reads text files as that, unless it is told how."""
    (tmp_path / "params.yaml").write_text("models: {}\ncalibrate:\n  method: nonsense\n")
    env = {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = started(tmp_path, "-m", "octet", "summary", **env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: params.yaml: ")
    assert "calibrate.method" in done.stderr
