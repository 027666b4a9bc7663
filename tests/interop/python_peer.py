"""Python's `websockets` behind the command line that every peer has; see tests/README.md."""

import asyncio
import functools

from websockets.asyncio import client, server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

import python_scenarios
from python_scenarios import CLOSE_SECONDS, Ended, Refused

OPTIONS = {"compression": None, "ping_interval": None, "close_timeout": CLOSE_SECONDS}
LAST = None


def ends(method):
    """Has the method of a connection raise `Ended`."""

    @functools.wraps(method)
    async def wrapped(self, *arguments):
        try:
            return await method(self, *arguments)
        except ConnectionClosed:
            await self.ws.wait_closed()
            raise Ended from None

    return wrapped


class Connection(python_scenarios.Connection):
    def __init__(self, ws):
        self.ws, self.subprotocol = ws, ws.subprotocol

    @property
    def received(self):
        frame = self.ws.protocol.close_rcvd
        return frame and (frame.code, frame.reason)

    @ends
    async def send(self, message):
        await self.ws.send(message)

    @ends
    async def recv(self):
        return await self.ws.recv()

    @ends
    async def recv_fragments(self):
        return [piece async for piece in self.ws.recv_streaming(decode=False)]

    @ends
    async def ping(self, payload):
        await (await self.ws.ping(payload))

    async def close(self, code, reason):
        await self.ws.close(code, reason)

    async def failed_with(self):
        sent = self.ws.protocol.close_sent
        return sent.code if sent else 1006

    @ends
    async def send_fragments(self, pieces, text):
        await self.ws.send(pieces, text=text)

    async def send_fragment(self, data, first, last, text):
        """Returns when the fragment was sent."""
        if first:
            self.pieces = asyncio.Queue()
            self.sending = asyncio.create_task(self.send_fragments(taken(self.pieces), text))
        self.pieces.put_nowait(data)
        await self.pieces.join()
        if last:
            self.pieces.put_nowait(LAST)
            await self.sending


async def taken(pieces):
    while (piece := await pieces.get()) is not LAST:
        yield piece
        pieces.task_done()


async def connect(url, *, deflate, limit, subprotocols):
    extensions = None
    if deflate is not None:
        # An absent client_max_window_bits would be offered all the same; None is not.
        extensions = [ClientPerMessageDeflateFactory(**{"client_max_window_bits": None, **deflate})]
    try:
        ws = await client.connect(
            url, extensions=extensions, max_size=limit, subprotocols=subprotocols or None, proxy=None, **OPTIONS
        )
    except InvalidStatus as error:
        raise Refused(error.response.status_code, bytes(error.response.body)) from None
    connection = Connection(ws)
    connection.extensions = ws.response.headers.get("Sec-WebSocket-Extensions", "")
    return connection


async def serve(*, deflate, limit):
    def refuse(connection, request):
        if refusal := python_scenarios.refusal(request.path.partition("?")[0]):
            return connection.respond(refusal[0], refusal[1].decode())
        return None

    listener = await server.serve(
        lambda ws: python_scenarios.converse(Connection(ws), ws.request.path), "127.0.0.1", 0, process_request=refuse,
        select_subprotocol=lambda _, offered: python_scenarios.select(offered),
        extensions=None if deflate is None else [ServerPerMessageDeflateFactory(**deflate)], max_size=limit, **OPTIONS,
    )
    return listener.sockets[0].getsockname()[1]


if __name__ == "__main__":
    python_scenarios.main(connect, serve)
