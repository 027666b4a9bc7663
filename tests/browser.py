"""Chromium, headless, steered through the WebDriver protocol: what the runners share that need a browser."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from peers import install_debian

# What one answer of the driver may take. A bound, not a measure.
SECONDS = 70

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]


class BrowserError(Exception):
    """The browser did not do what it was told to."""


def install_browser(also=()):
    """Installs Debian's browser where it is missing; `also` are further commands, named as their packages."""
    needed = {"chromium": "chromium", "chromedriver": "chromium-driver", **{name: name for name in also}}
    missing = [package for command, package in needed.items() if not shutil.which(command)]
    if missing:
        install_debian(*missing)


class Browser:
    """A browser with a profile of its own below the folder, for as long as it is entered."""

    def __init__(self, folder):
        self.folder, self.session = folder, None

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="profile-", dir=self.folder)
        with open(self.folder / "browser.log", "ab") as log:
            # In a group of their own, so that nothing of the browser is left behind.
            self.process = subprocess.Popen(
                ["chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True, start_new_session=True,
            )
        try:
            self.open_session()
        except BaseException:
            self.__exit__()
            raise
        return self

    def open_session(self):
        self.url = f"http://127.0.0.1:{self.port()}/session"
        options = {"binary": shutil.which("chromium"), "args": [*CHROMIUM, f"--user-data-dir={self.profile.name}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        session = self.ask("POST", "", wanted)["sessionId"]
        self.url += f"/{session}"
        self.session = session

    def port(self):
        for line in self.process.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rpartition(" ")[2])
        raise BrowserError("the driver of the browser did not start")

    def __exit__(self, *_):
        try:
            if self.session:
                self.ask("DELETE", "")
        except BrowserError:
            pass
        finally:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.profile.cleanup()

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(f"{method} {path}: {error.read().decode(errors='replace')[:300]}") from None
        except OSError as error:
            raise BrowserError(f"{method} {path}: {error}") from None

    def script(self, script, *arguments, kind="sync"):
        """What a function with this body returns, or, of kind async, gives to its last argument."""
        return self.ask("POST", f"/execute/{kind}", {"script": script, "args": arguments})
