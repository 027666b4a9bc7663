"""The server's paths and the client's scenarios for Python libraries; see tests/README.md.

A library is a module with these two functions. Each connection is a `Connection`.

    async def connect(url, *, deflate, limit, subprotocols) -> Connection     raises `Refused`
    async def serve(*, deflate, limit) -> port      calls `converse(connection, path, query)` for each connection

`deflate` is a table of parameters, or None without compression.
"""

import argparse
import asyncio
import random
import sys
import threading
from urllib.parse import parse_qs, urlsplit

SUBPROTOCOL = "interop.two"
LONG_REASON = "é" * 61 + "!"  # 123 bytes, the longest possible reason
REFUSED = (403, b"no entry")
PONG_SECONDS = CLOSE_SECONDS = 5


class Ended(Exception):
    """The connection has ended, where a message was due."""


class Refused(Exception):
    """The handshake was refused; `body` is None if the library does not return it."""

    def __init__(self, status, body):
        super().__init__(f"refused with status {status}")
        self.status, self.body = status, body


class Connection:
    """What each library implements."""

    extensions = ""  # Sec-WebSocket-Extensions of the response
    subprotocol = None
    received = None  # code and reason of the peer's Close

    async def send(self, message):
        raise NotImplementedError

    async def recv(self):
        """The next message; raises `Ended`."""
        raise NotImplementedError

    async def ping(self, payload):
        """Returns when the pong with this payload has arrived."""
        raise NotImplementedError

    async def close(self, code, reason):
        """Performs the closing handshake."""
        raise NotImplementedError

    async def failed_with(self):
        """After `Ended`: the code with which this side failed the connection; None if the library does not return it."""
        return None

    # Only if the library can send fragments.
    send_fragment = None  # async (data, first, last, text)

    # Only if the library shows the fragments of a message.
    recv_fragments = None  # async () -> pieces

    async def send_fragments(self, pieces, text):
        for at, piece in enumerate(pieces):
            await self.send_fragment(piece, at == 0, at == len(pieces) - 1, text)


def main(connect, serve):
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("positional", nargs="*", metavar="URL SCENARIO")
    parser.add_argument("--deflate", metavar="PARAMS", type=deflate_options)
    parser.add_argument("--max-message", type=int, default=32 << 20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.role == "server":
        asyncio.run(server(serve, arguments))
        return
    try:
        asyncio.run(client(connect, *arguments.positional, arguments))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}".splitlines()[0][:300])


def deflate_options(params):
    """`a; b=9` as a table: {"a": True, "b": 9}."""
    pairs = (param.strip().partition("=") for param in params.split(";") if param.strip())
    return {name: int(value) if value else True for name, _, value in pairs}


# Server


async def server(serve, arguments):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def wait():
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, daemon=True).start()
    print("PORT", await serve(deflate=arguments.deflate, limit=arguments.max_message))
    await stop.wait()


def select(offered):
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def refusal(path):
    """The status and body with which a handshake is refused, if it is."""
    if path == "/refuse":
        return REFUSED
    return None if path in HANDLERS else (404, b"no such path")


async def converse(connection, target):
    """Serves an accepted connection until it ends."""
    url = urlsplit(target)
    try:
        await HANDLERS[url.path](connection, parse_qs(url.query))
        await connection.recv()
    except Ended:
        pass
    code, reason = connection.received or (1006, "")
    print("CLOSED", f"{code} {reason}".strip())


async def echo(connection, _):
    while True:
        await connection.send(await connection.recv())


async def echo_in_fragments(connection, _):
    while True:
        message = await connection.recv()
        data, third = encoded(message), len(message) // 3
        await connection.send_fragments([data[:third], b"", data[third:]], isinstance(message, str))


async def echo_after_pong(connection, _):
    while True:
        message = await connection.recv()
        await asyncio.wait_for(connection.ping(encoded(message)), PONG_SECONDS)
        await connection.send(message)


async def close(connection, query):
    await connection.recv()
    await connection.close(int(query["code"][0]), query["reason"][0])


async def echo_at_random(connection, query):
    numbers = random.Random(int(query["seed"][0]))
    while True:
        await send_cut(connection, numbers, await connection.recv())


HANDLERS = {
    "/echo": echo,
    "/fragments": echo_in_fragments,
    "/ping": echo_after_pong,
    "/close": close,
    "/random": echo_at_random,
}


def encoded(message):
    return message.encode() if isinstance(message, str) else message


async def send_cut(connection, numbers, message):
    """Sends the message whole, or in fragments, some of which may be empty, if the library can do that."""
    if connection.send_fragment is None or numbers.randrange(3) == 0:
        await connection.send(message)
        return
    data = encoded(message)
    cuts = sorted(numbers.randint(0, len(data)) for _ in range(numbers.randrange(1 << numbers.randrange(6))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]
    await connection.send_fragments(pieces, isinstance(message, str))


# Client


async def client(connect, base, scenario, arguments):
    path, run = SCENARIOS[scenario]
    seed = f"?seed={arguments.seed}" if scenario == "random" else ""
    subprotocols = ["unknown.one", SUBPROTOCOL] if scenario == "subprotocol" else []
    opening = connect(
        base + path + seed, deflate=arguments.deflate, limit=arguments.max_message, subprotocols=subprotocols
    )
    if scenario == "refused":
        await refused(opening)
        return
    connection = await asyncio.wait_for(opening, 10)
    print("EXTENSIONS", connection.extensions)
    await (run(connection, arguments.seed) if scenario == "random" else run(connection))
    if scenario not in CLOSING:
        await close_with(connection, 1000, "")


def check(holds, reason):
    if not holds:
        raise AssertionError(reason)


def same(got, sent, what="message"):
    check(got == sent and type(got) is type(sent), f"{what}: sent {brief(sent)}, got {brief(got)}")


def brief(value):
    return f"{type(value).__name__} of {len(value)}: {value[:20]!r}"


def same_code(connection, code):
    received = connection.received
    check(received is not None and received[0] == code, f"peer's Close was {received}, not {code}")


async def close_with(connection, code, reason):
    await asyncio.wait_for(connection.close(code, reason), CLOSE_SECONDS)
    same_code(connection, code)


async def expect_close(connection, code):
    try:
        got = await connection.recv()
    except Ended:
        same_code(connection, code)
        return
    check(False, f"got {brief(got)}, not a Close")


async def exchange(connection, *messages):
    for message in messages:
        await connection.send(message)
        same(await connection.recv(), message)


async def text(connection):
    await exchange(connection, "Hello, world", "a" * 125, "b" * 126, "c" * 65535, "d" * 65536)


async def multibyte(connection):
    edges = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
    await exchange(connection, edges, "Zoë isst 寿司 🍣 " * 5000)


async def binary(connection):
    everything = bytes(range(256))
    await exchange(connection, everything, *(random.randbytes(n) for n in (1, 125, 126, 127, 65535, 65536)))


async def empty(connection):
    await exchange(connection, "", b"", "after", b"")


async def fragments(connection):
    """Empty first, middle and last fragments, characters cut in two, and a ping in between."""
    sent = "Fragmente: ä寿🍣" * 20
    data = sent.encode()
    await connection.send_fragment(b"", True, False, True)
    await connection.send_fragment(data[:12], False, False, True)
    await asyncio.wait_for(connection.ping(b"between"), PONG_SECONDS)
    for piece in (b"", *(data[at : at + 7] for at in range(12, len(data), 7))):
        await connection.send_fragment(piece, False, False, True)
    await connection.send_fragment(b"", False, True, True)
    same(await connection.recv(), sent)
    blob = random.randbytes(100_000)
    await connection.send_fragments([blob[:1], blob[1:70_000], b"", blob[70_000:]], False)
    same(await connection.recv(), blob)


async def fragments_back(connection):
    for sent in ("Fragmente: ä寿🍣" * 20, random.randbytes(100_000)):
        if connection.recv_fragments is None:
            await exchange(connection, sent)
            continue
        await connection.send(sent)
        pieces = await connection.recv_fragments()
        check(len(pieces) >= 3, f"came back in {len(pieces)} fragments, not in three or more")
        check(b"" in pieces[:-1], "none of the fragments was empty")
        same(b"".join(pieces), encoded(sent))


async def burst(connection):
    sent = [f"message {n}" for n in range(1000)]

    async def send():
        for message in sent:
            await connection.send(message)

    sending = asyncio.create_task(send())
    for message in sent:
        same(await connection.recv(), message)
    await sending


async def ping(connection):
    for payload in (b"", b"ping", random.randbytes(125)):
        await asyncio.wait_for(connection.ping(payload), PONG_SECONDS)


async def pong(connection):
    await exchange(connection, "", "one", "x" * 125, random.randbytes(125))


async def mib_1(connection):
    await exchange(connection, "ö" * (1 << 19), random.randbytes(1 << 20))


async def mib_16(connection):
    await exchange(connection, random.randbytes(16 << 20), "0123456789abcdef" * (1 << 20))


async def subprotocol(connection):
    same(connection.subprotocol, SUBPROTOCOL, "subprotocol")
    await exchange(connection, "spoken")


async def at_random(connection, seed):
    """Messages that are small more often than large, and mostly have something in common with others."""
    numbers = random.Random(seed)
    words = ['{"id":', "寿司", "🍣", "Zoë ", "true,", "null}", "\0", " "]
    for number in range(16):
        size = numbers.randint(0, 1 << numbers.randrange(21))
        if numbers.randrange(4) == 0:
            size = numbers.choice([0, 1, 125, 126, 65_535, 65_536, 1 << 20])
        kind = numbers.randrange(4)
        if kind == 0:
            message = numbers.randbytes(size)
        elif kind == 1:
            message = b"=" * size
        else:
            text = "".join(numbers.choices(words, k=size // 3 + 1)).encode()[:size].decode(errors="ignore")
            message = text if kind == 2 else text.encode()
        await send_cut(connection, numbers, message)
        same(await connection.recv(), message, f"message {number}")


async def close_by_client(connection):
    await exchange(connection, "last")
    await close_with(connection, 4321, LONG_REASON)


async def close_by_server(connection):
    await connection.send("go")
    await expect_close(connection, 1001)
    same(connection.received[1], "bye", "reason")


async def too_big_for_server(connection):
    await connection.send(b"x" * 2048)
    await expect_close(connection, 1009)


async def too_big_for_client(connection):
    await connection.send(b"x" * 2048)
    try:
        await connection.recv()
    except Ended:
        code = await connection.failed_with()
        # The server reports the code that it was sent.
        check(code in (None, 1009), f"this client failed the connection with {code}, not 1009")
        return
    check(False, "this client took a message over its own limit")


async def refused(opening):
    try:
        await opening
    except Refused as refusal:
        check(refusal.status == REFUSED[0], f"status {refusal.status}, not {REFUSED[0]}")
        if refusal.body is not None:
            same(refusal.body.strip(), REFUSED[1], "body")
        return
    check(False, "the handshake was accepted")


SCENARIOS = {
    "text": ("/echo", text),
    "multibyte": ("/echo", multibyte),
    "binary": ("/echo", binary),
    "empty": ("/echo", empty),
    "fragments": ("/echo", fragments),
    "fragments-back": ("/fragments", fragments_back),
    "burst": ("/echo", burst),
    "ping": ("/echo", ping),
    "pong": ("/ping", pong),
    "1-mib": ("/echo", mib_1),
    "16-mib": ("/echo", mib_16),
    "subprotocol": ("/echo", subprotocol),
    "random": ("/random", at_random),
    "close-by-client": ("/echo", close_by_client),
    "close-by-server": ("/close?code=1001&reason=bye", close_by_server),
    "too-big-for-server": ("/echo", too_big_for_server),
    "too-big-for-client": ("/echo", too_big_for_client),
    "refused": ("/refuse", None),
}
CLOSING = {"close-by-client", "close-by-server", "too-big-for-server", "too-big-for-client"}
