"""What the runners of this folder share: the life of a proxy's process, and its certificate."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import TARGET, PeerError, install_debian  # noqa: E402

FOLDER = TARGET / "proxies"


def install_missing(packages):
    """Installs the Debian packages of which a command, or a file, is missing."""
    missing = [package for name, package in packages.items() if not (shutil.which(name) or Path("/", name).exists())]
    if missing:
        install_debian(*missing)


def make_certificate(host, certificate, key):
    """Makes a certificate for a host, which is its own root."""
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-addext", "basicConstraints=critical,CA:FALSE",
        "-keyout", str(key), "-out", str(certificate),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)


class Proxy:
    """A running proxy, which listens on loopback at `port`."""

    def __init__(self, name, command_at):
        self.port = free_port()
        with open(FOLDER / f"{name}.log", "wb") as log:
            self.process = subprocess.Popen(
                command_at(self.port), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        end = time.monotonic() + 10
        while not is_listening(self.port):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise PeerError(f"{name} does not listen: see {FOLDER}/{name}.log")
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
