"""How a command ends: Ctrl-C at any moment, output that nobody takes, a terminal that is not UTF-8, too little memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
STOPPED = "stopped; what is finished is kept, and the same command goes on from there\n"
INTERRUPT = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(30)\n"


def python(*arguments: str, **how) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""} | how.pop("env", {})
    usual = {"capture_output": True, "text": True, "cwd": ROOT, "env": environment, "timeout": 60}
    return subprocess.run([sys.executable, *arguments], **usual | {"preexec_fn": heeds_ctrl_c} | how)


def heeds_ctrl_c() -> None:
    """In a shell's background job Ctrl-C is ignored, and so it would be by what the tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def runs(body: str, **how) -> subprocess.CompletedProcess:
    """A command whose main function has that body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return python(
        "-c", f"import os, signal, sys, time\nfrom octet.core.errors import run\ndef main():\n{lines}run(main)\n", **how
    )


@pytest.mark.parametrize(
    ("module", "imported"),
    [("stages.export", "onnxruntime"), ("stages.evaluate", "ncnn"), ("octet", "pydantic"), ("octet.tune", "ncnn")],
)
@pytest.mark.parametrize("becomes", ["KeyboardInterrupt", "nothing", "ImportError"])
def test_ctrl_c_while_modules_are_imported(tmp_path, module, imported, becomes):
    """The module that is imported presses Ctrl-C itself; compiled modules make other errors of it."""
    handled = {"nothing": "pass", "ImportError": "raise ImportError('numpy.core.multiarray failed to import')"}
    code = INTERRUPT
    if becomes in handled:
        code = f"try:\n    {INTERRUPT}except BaseException:\n    {handled[becomes]}\n"
    (tmp_path / f"{imported}.py").write_text(code)
    result = python("-m", module, "--model", "x", env={"PYTHONPATH": str(tmp_path)})
    assert (result.returncode, result.stdout, result.stderr) == (130, "", STOPPED)


@pytest.mark.parametrize(
    "body",
    [
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(30)",
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(30)\nexcept KeyboardInterrupt:\n    raise ImportError('x')",
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(30)\nfinally:\n    os.kill(os.getpid(), signal.SIGINT)",
        "class Late:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT); time.sleep(1)\nLate()\ntime.sleep(30)",
        "import threading\nthreading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "from octet.core.parallel import map_ordered\nlist(map_ordered(time.sleep, [2] * 9, 'sleep'))",
        "import atexit\natexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(30)))",
        "raise KeyboardInterrupt",
    ],
)
def test_ctrl_c_at_work_and_at_the_end(body):
    result = runs(body)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", STOPPED)


def test_a_program_that_imports_octet_keeps_its_own_ctrl_c():
    result = python(
        "-c", "import signal, octet.core\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    assert result.stdout == "True\n"


def test_where_ctrl_c_is_ignored_it_stays_ignored():
    """As under nohup, or of a job in the background of a script."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom octet.core.errors import run\n"
        "import os\nrun(lambda: (os.kill(os.getpid(), signal.SIGINT), print('done')))"
    )
    assert python("-c", code).stdout == "done\n"


def test_output_that_nobody_reads():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = runs("print('x' * 100_000)", stdout=closed, stderr=subprocess.PIPE, capture_output=False)
    assert (result.returncode, result.stderr) == (141, "")


def test_small_output_that_nobody_reads_is_noticed_at_the_end():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = runs(
            "from octet.core.errors import OctetError\nprint('short')\nraise OctetError('a mistake')",
            stdout=closed,
            stderr=subprocess.PIPE,
            capture_output=False,
        )
    assert (result.returncode, result.stderr) == (1, "error: a mistake\n")


def test_output_onto_a_full_disk_and_into_nothing():
    with Path("/dev/full").open("w") as full:
        result = runs("print('x')", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert result.returncode == 1
    assert (
        result.stderr
        == "error: a file or standard output: No space left on device; the disk is full: make room on it\n"
    )
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        script = f'"{sys.executable}" -c "from octet.core.errors import run; run(lambda: print(5))" {closed}'
        result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=ROOT)
        assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_that_is_not_utf_8(encoding):
    body = "print('± 0.1, 虎'); from octet.core.errors import OctetError; raise OctetError('虎.png: no such file')"
    result = runs(body, env={"PYTHONIOENCODING": encoding}, text=False)
    assert result.returncode == 1
    assert result.stdout.decode(encoding).endswith(" 0.1, 虎\n" if encoding == "utf-8" else " 0.1, ?\n")
    assert (
        result.stderr.decode(encoding)
        == f"error: {'虎' if encoding == 'utf-8' else chr(92) + 'u864e'}.png: no such file\n"
    )


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("open('/nowhere/x')", "error: /nowhere/x: No such file or directory\n"),
        ("open('/')", "error: /: Is a directory\n"),
        ("open('/proc/self/attr/x', 'w')", "error: /proc/self/attr/x: "),
        ("bytearray(1 << 60)", "error: memory does not suffice; end other programs, or take fewer images\n"),
        (
            "import numpy\nnumpy.zeros(1 << 50)",
            "error: memory does not suffice (Unable to allocate 8.00 PiB for an array",
        ),
    ],
)
def test_what_the_system_does_not_give(body, line):
    result = runs(body)
    assert result.returncode == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_a_fault_of_octet_s_own_keeps_its_traceback():
    result = runs("{}['key']")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("KeyError: 'key'\n")
