"""What the runners share: where things are built, what is recorded, and the life of a peer's server process."""

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


class PeerError(Exception):
    """A peer did not do what its command line promises."""


def build(binary, profile="dev"):
    """Builds one of our peers and returns its path."""
    command = ["cargo", "build", "--quiet", "--profile", profile, "-p", "sansock-tests", "--bin", binary]
    if subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"{binary} cannot be built")
    return TARGET / ("debug" if profile == "dev" else profile) / binary


def install_debian(*packages):
    """Installs what a bare machine may lack; needs root."""
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "check": True}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], **quiet)


def record(what, amount, result):
    """Writes a row of the ledger."""
    subprocess.run([ROOT / "tests" / "record", what, amount, result], stdin=subprocess.DEVNULL, check=True)


class Process:
    """A running peer, which prints lines, and ends when its standard input closes."""

    def __init__(self, command, log, env=None):
        self.log = Path(log)
        with open(self.log, "wb") as stderr:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env,
                encoding="utf-8", errors="replace",
            )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self, word, seconds):
        """The rest of the next line, which must begin with `word`."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise PeerError(f"the peer printed no {word} line in {seconds} s") from None
        if line is None:
            raise PeerError(f"the peer ended: {self.last_words()}")
        first, _, rest = line.partition(" ")
        if first != word:
            raise PeerError(f"the peer printed {line!r} where a {word} line was due")
        return rest

    def forget_lines(self):
        while not self.lines.empty():
            self.lines.get()

    def is_running(self):
        return self.process.poll() is None

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"nothing on standard error, exit status {self.process.poll()}"

    def stop(self):
        """Ends the process; true if it went by itself, with exit status 0."""
        self.process.stdin.close()
        try:
            return self.process.wait(timeout=3) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


class Server(Process):
    """A running server: it has printed `PORT n`."""

    def __init__(self, command, log, env=None):
        super().__init__(command, log, env)
        try:
            self.port = int(self.line("PORT", seconds=20))
        except (PeerError, ValueError):
            self.stop()
            raise
