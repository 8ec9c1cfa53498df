"""What slow tests of devices share: an ssh server on loopback, and a stand-in for adb."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from octet.device.devices import Adb, Ssh

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@pytest.fixture
def server(tmp_path):
    """An ssh server with keys of its own, on a port of its own."""
    if not Path(SSHD).exists():
        pytest.skip("no ssh server: install Debian's openssh-server")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copyfile(tmp_path / "user.pub", tmp_path / "authorized")
    (tmp_path / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile {tmp_path}/pid\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "config")], stderr=subprocess.DEVNULL)
    host_key = (tmp_path / "host.pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {host_key[0]} {host_key[1]}\n")
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    options = (f"IdentityFile={tmp_path}/user", f"UserKnownHostsFile={tmp_path}/known", "ConnectTimeout=5")
    yield Ssh(kind="ssh", host="127.0.0.1", port=port, options=options, folder=str(tmp_path / "on board"), silence_s=20)
    process.terminate()
    process.wait()


ADB = r"""#!/bin/sh
# Speaks adb's command line: [-s SERIAL] shell -T COMMAND | push FROM TO | pull FROM TO
[ "$1" = -s ] && { [ "$2" = "$OCTET_SERIAL" ] || { echo "adb: device '$2' not found" >&2; exit 1; }; shift 2; }
case $OCTET_ADB in
unauthorized) echo "adb: device unauthorized." >&2; echo "This adb server's \$ADB_VENDOR_KEYS is not set" >&2; exit 1 ;;
offline) echo "adb: device offline" >&2; exit 1 ;;
none) echo "adb: no devices/emulators found" >&2; exit 1 ;;
esac
verb=$1; shift
case $verb in
shell) [ "$1" = -T ] && shift; exec sh -c "$*" ;;
push) cp "$1" "$2" && echo "$1: 1 file pushed, 0 skipped. 10.0 MB/s" ;;
pull) cp "$1" "$2" && echo "$1: 1 file pulled, 0 skipped. 10.0 MB/s" ;;
esac
"""


@pytest.fixture
def phone(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "adb").write_text(ADB)
    (tmp_path / "bin" / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OCTET_SERIAL", "12ab")
    return Adb(kind="adb", serial="12ab", folder=str(tmp_path / "data local"))
