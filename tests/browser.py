"""Browsers, headless, for the runners that need one: Chromium through the WebDriver protocol, Firefox through Marionette."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from peers import install_debian

# What one answer of the driver may take. A bound, not a measure.
SECONDS = 70

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]

# Nothing but the page is loaded: no updates, lists, reports or guesses.
FIREFOX = {
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "app.update.disabledForTesting": True,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "marionette.port": 0,  # chosen by the system, and written into the profile
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}


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

    def open(self, url, seconds):
        """Opens a page, whose scripts may take this long."""
        self.ask("POST", "/timeouts", {"script": int(seconds * 1000)})
        self.ask("POST", "/url", {"url": url})

    def script(self, script, *arguments, kind="sync"):
        """What a function with this body returns, or, of kind async, gives to its last argument."""
        return self.ask("POST", f"/execute/{kind}", {"script": script, "args": arguments})


def install_firefox():
    if not shutil.which("firefox-esr"):
        install_debian("firefox-esr")


class Firefox:
    """The same of Firefox, as far as the runners need it."""

    def __init__(self, folder):
        self.folder, self.connection, self.asked = folder, None, 0

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="profile-", dir=self.folder)
        preferences = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in FIREFOX.items())
        Path(self.profile.name, "user.js").write_text("".join(preferences))
        command = [
            "firefox-esr", "--headless", "--no-remote", "--new-instance", "--marionette", "--profile", self.profile.name,
        ]
        # Its caches go into the profile too.
        env = {**os.environ, "HOME": self.profile.name, "MOZ_CRASHREPORTER_DISABLE": "1"}
        with open(self.folder / "browser.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.connection = socket.create_connection(("127.0.0.1", self.port()), SECONDS)
            self.read()  # a greeting
            self.ask("WebDriver:NewSession", {})
        except (OSError, ValueError, BrowserError) as error:
            self.__exit__()
            raise BrowserError(f"Firefox did not start: {error}") from None
        return self

    def port(self):
        written = Path(self.profile.name, "MarionetteActivePort")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if written.exists() and (text := written.read_text()):
                return int(text)
            time.sleep(0.1)
        raise BrowserError("no port in its profile")

    def __exit__(self, *_):
        if self.connection:
            self.connection.close()
        # What has ended by itself leaves no group.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.profile.cleanup()

    def ask(self, command, arguments):
        """Each packet is a list in JSON, with its length in front: kind, number, command, arguments."""
        self.asked += 1
        packet = json.dumps([0, self.asked, command, arguments]).encode()
        try:
            self.connection.sendall(b"%d:" % len(packet) + packet)
            _, number, error, result = self.read()
        except (OSError, ValueError) as failure:
            raise BrowserError(f"{command}: {failure}") from None
        if error or number != self.asked:
            raise BrowserError(f"{command}: {json.dumps(error)[:300]}")
        return result

    def read(self):
        length = b""
        while (byte := self.receive(1)) != b":":
            length += byte
        return json.loads(self.receive(int(length)))

    def receive(self, size):
        received = b""
        while len(received) < size:
            part = self.connection.recv(size - len(received))
            if not part:
                raise OSError("the browser has closed the connection")
            received += part
        return received

    def open(self, url, seconds):
        self.ask("WebDriver:SetTimeouts", {"script": int(seconds * 1000)})
        self.ask("WebDriver:Navigate", {"url": url})

    def script(self, script, *arguments, kind="sync"):
        command = {"sync": "WebDriver:ExecuteScript", "async": "WebDriver:ExecuteAsyncScript"}[kind]
        return self.ask(command, {"script": script, "args": arguments, "sandbox": None})["value"]
