"""Python's `websockets` behind the command line that every peer has; see tests/README.md."""

import argparse
import asyncio
import functools
import random
import sys
import threading
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

SUBPROTOCOL = "interop.two"
LONG_REASON = "é" * 61 + "!"  # 123 bytes, the longest there can be


def main():
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("positional", nargs="*", metavar="URL SCENARIO")
    parser.add_argument("--deflate", metavar="PARAMS")
    parser.add_argument("--max-message", type=int, default=32 << 20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.role == "server":
        asyncio.run(server(arguments))
        return
    try:
        asyncio.run(client(*arguments.positional, arguments))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}".splitlines()[0][:300])


def deflate_options(params):
    """`a; b=9` as keyword arguments: {"a": True, "b": 9}."""
    pairs = (param.strip().partition("=") for param in params.split(";") if param.strip())
    return {name: int(value) if value else True for name, _, value in pairs}


# Server


async def server(arguments):
    extensions = None
    if arguments.deflate is not None:
        extensions = [ServerPerMessageDeflateFactory(**deflate_options(arguments.deflate))]
    stop = asyncio.Event()
    watch_stdin(stop)
    listener = serve(
        converse, "127.0.0.1", 0, process_request=refuse, select_subprotocol=select,
        extensions=extensions, compression=None,
        max_size=arguments.max_message, ping_interval=None, close_timeout=5,
    )
    async with listener as listening:
        print("PORT", listening.sockets[0].getsockname()[1])
        await stop.wait()


def watch_stdin(stop):
    loop = asyncio.get_running_loop()

    def wait():
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, daemon=True).start()


def select(_, offered):
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def refuse(connection, request):
    path = urlsplit(request.path).path
    if path == "/refuse":
        return connection.respond(403, "no entry")
    if path not in HANDLERS:
        return connection.respond(404, f"no such path: {path}")
    return None


async def converse(ws):
    url = urlsplit(ws.request.path)
    try:
        await HANDLERS[url.path](ws, parse_qs(url.query))
    except ConnectionClosed:
        pass
    await ws.wait_closed()
    received = ws.protocol.close_rcvd
    print("CLOSED", f"{received.code} {received.reason}".strip() if received else 1006)


async def echo(ws, _):
    async for message in ws:
        await ws.send(message)


async def echo_in_fragments(ws, _):
    async for message in ws:
        data = message.encode() if isinstance(message, str) else message
        third = len(data) // 3
        await ws.send([data[:third], b"", data[third:]], text=isinstance(message, str))


async def echo_after_pong(ws, _):
    async for message in ws:
        await asyncio.wait_for(await ws.ping(message), 5)
        await ws.send(message)


async def close(ws, query):
    await ws.recv()
    await ws.close(int(query["code"][0]), query["reason"][0])


async def echo_at_random(ws, query):
    numbers = random.Random(int(query["seed"][0]))
    async for message in ws:
        await send_cut(ws, numbers, message)


HANDLERS = {
    "/echo": echo,
    "/fragments": echo_in_fragments,
    "/ping": echo_after_pong,
    "/close": close,
    "/random": echo_at_random,
}


async def send_cut(ws, numbers, message):
    """Sends the message whole or in fragments, of which some may be empty."""
    if numbers.randrange(3) == 0:
        await ws.send(message)
        return
    data = message.encode() if isinstance(message, str) else message
    cuts = sorted(numbers.randint(0, len(data)) for _ in range(numbers.randrange(1 << numbers.randrange(6))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]
    await ws.send(pieces, text=isinstance(message, str))


# Client


async def client(base, scenario, arguments):
    extensions = None
    if arguments.deflate is not None:
        # An absent client_max_window_bits would be offered all the same; None is not.
        options = {"client_max_window_bits": None, **deflate_options(arguments.deflate)}
        extensions = [ClientPerMessageDeflateFactory(**options)]
    path, run = SCENARIOS[scenario]
    if scenario == "random":
        path, run = f"{path}?seed={arguments.seed}", functools.partial(run, seed=arguments.seed)
    opening = connect(
        base + path, extensions=extensions, compression=None, proxy=None, open_timeout=10, close_timeout=5,
        ping_interval=None, max_size=arguments.max_message,
        subprotocols=["unknown.one", SUBPROTOCOL] if scenario == "subprotocol" else None,
    )
    if scenario == "refused":
        await run(opening)
        return
    async with opening as ws:
        print("EXTENSIONS", ws.response.headers.get("Sec-WebSocket-Extensions", ""))
        await run(ws)
        await ws.close()
    if scenario not in CLOSING:
        same_code(ws, 1000)


def check(holds, reason):
    if not holds:
        raise AssertionError(reason)


def same(got, sent, what="message"):
    if got != sent or type(got) is not type(sent):
        raise AssertionError(f"{what}: sent {brief(sent)}, got {brief(got)}")


def brief(value):
    return f"{type(value).__name__} of {len(value)}: {value[:20]!r}"


async def exchange(ws, *messages):
    for message in messages:
        await ws.send(message)
        same(await ws.recv(), message)


async def text(ws):
    await exchange(ws, "Hello, world", "a" * 125, "b" * 126, "c" * 65535, "d" * 65536)


async def multibyte(ws):
    await exchange(ws, "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff", "Zoë isst 寿司 🍣 " * 5000)


async def binary(ws):
    everything = bytes(range(256))
    await exchange(ws, everything, *(random.randbytes(n) for n in (1, 125, 126, 127, 65535, 65536)))


async def empty(ws):
    await exchange(ws, "", b"", "after", b"")


async def fragments(ws):
    """Empty first, middle and last fragments, characters cut in two, and a ping in between."""
    sent = "Fragmente: ä寿🍣" * 20
    data = sent.encode()

    async def pieces():
        yield b""
        yield data[:12]
        await asyncio.wait_for(await ws.ping(b"between"), 5)
        yield b""
        for at in range(12, len(data), 7):
            yield data[at : at + 7]
        yield b""

    await ws.send(pieces(), text=True)
    same(await ws.recv(), sent)
    blob = random.randbytes(100_000)
    await ws.send([blob[:1], blob[1:70_000], b"", blob[70_000:]])
    same(await ws.recv(), blob)


async def fragments_back(ws):
    for sent in ("Fragmente: ä寿🍣" * 20, random.randbytes(100_000)):
        await ws.send(sent)
        pieces = [piece async for piece in ws.recv_streaming(decode=False)]
        check(len(pieces) >= 3, f"came back in {len(pieces)} fragments, not in three or more")
        check(b"" in pieces[:-1], "none of the fragments was empty")
        same(b"".join(pieces), sent.encode() if isinstance(sent, str) else sent)


async def burst(ws):
    sent = [f"message {n}" for n in range(1000)]

    async def send():
        for message in sent:
            await ws.send(message)

    sending = asyncio.create_task(send())
    for message in sent:
        same(await ws.recv(), message)
    await sending


async def ping(ws):
    for payload in (b"", b"ping", random.randbytes(125)):
        await asyncio.wait_for(await ws.ping(payload), 5)


async def pong(ws):
    await exchange(ws, "", "one", "x" * 125, random.randbytes(125))


async def mib_1(ws):
    await exchange(ws, "ö" * (1 << 19), random.randbytes(1 << 20))


async def mib_16(ws):
    await exchange(ws, random.randbytes(16 << 20), "0123456789abcdef" * (1 << 20))


async def subprotocol(ws):
    same(ws.subprotocol, SUBPROTOCOL, "subprotocol")
    await exchange(ws, "spoken")


async def at_random(ws, seed):
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
        await send_cut(ws, numbers, message)
        same(await ws.recv(), message, f"message {number}")


async def close_by_client(ws):
    await exchange(ws, "last")
    await ws.close(4321, LONG_REASON)
    same_code(ws, 4321)


async def close_by_server(ws):
    await ws.send("go")
    await expect_close(ws, 1001)
    same(ws.protocol.close_rcvd.reason, "bye", "reason")


async def too_big_for_server(ws):
    await ws.send(b"x" * 2048)
    await expect_close(ws, 1009)


async def too_big_for_client(ws):
    await ws.send(b"x" * 2048)
    try:
        await ws.recv()
    except ConnectionClosed:
        sent = ws.protocol.close_sent
        check(sent is not None and sent.code == 1009, f"this client said {sent}, not 1009")
        return
    check(False, "this client took a message over its own limit")


async def refused(opening):
    try:
        await opening
    except InvalidStatus as error:
        check(error.response.status_code == 403, f"status {error.response.status_code}, not 403")
        same(bytes(error.response.body).strip(), b"no entry", "body")
        return
    check(False, "the handshake was accepted")


async def expect_close(ws, code):
    try:
        got = await ws.recv()
    except ConnectionClosed:
        same_code(ws, code)
        return
    check(False, f"got {brief(got)}, not a Close")


def same_code(ws, code):
    received = ws.protocol.close_rcvd
    check(received is not None and received.code == code, f"peer's Close was {received}, not {code}")


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
    "refused": ("/refuse", refused),
}
CLOSING = {"close-by-client", "close-by-server", "too-big-for-server", "too-big-for-client"}


if __name__ == "__main__":
    main()
