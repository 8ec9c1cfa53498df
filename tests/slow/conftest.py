"""What slow tests of devices share: an ssh server on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from octet.device.devices import Ssh

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
