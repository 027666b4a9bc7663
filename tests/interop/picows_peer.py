"""picows behind the command line that every peer has; see tests/README.md.

Its interface has frames: this script puts messages together, and answers a Close.
"""

import asyncio

from picows import (
    WSHandshakeError, WSListener, WSMsgType, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_connect,
    ws_create_server,
)

import python_scenarios
from python_scenarios import Ended, Refused

END = None


class Connection(python_scenarios.Connection, WSListener):
    def __init__(self, opened=None):
        self.opened = opened
        self.messages, self.pongs = asyncio.Queue(), asyncio.Queue()
        self.ended, self.writable = asyncio.Event(), asyncio.Event()
        self.writable.set()
        self.kind, self.pieces = None, []

    # What picows calls

    def on_ws_connected(self, transport):
        self.transport = transport
        if self.opened:
            self.opened(self)

    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind == WSMsgType.PONG:
            self.pongs.put_nowait(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self.received = int(frame.get_close_code()) or 1005, frame.get_close_reason() or ""
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code(), None)
            if not transport.is_client_side:
                transport.disconnect()
            self.messages.put_nowait(END)
        elif kind != WSMsgType.PING and not transport.is_close_frame_sent:
            self.take(kind, frame)

    def on_ws_disconnected(self, transport):
        self.messages.put_nowait(END)
        self.writable.set()
        self.ended.set()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def take(self, kind, frame):
        begins = kind != WSMsgType.CONTINUATION
        if begins == bool(self.pieces):
            raise AssertionError(f"{kind} came at piece {len(self.pieces)} of a message")
        if begins:
            self.kind = kind
        self.pieces.append(frame.get_payload_as_bytes())
        if frame.fin:
            data, self.pieces = b"".join(self.pieces), []
            self.messages.put_nowait(data.decode() if self.kind == WSMsgType.TEXT else data)

    # What the scenarios call

    async def send(self, message):
        await self.send_fragment(message, True, True, isinstance(message, str))

    async def send_fragment(self, data, first, last, text):
        kind = (WSMsgType.TEXT if text else WSMsgType.BINARY) if first else WSMsgType.CONTINUATION
        self.transport.send(kind, data, last)
        await self.writable.wait()

    async def recv(self):
        message = await self.messages.get()
        if message is not END:
            return message
        self.messages.put_nowait(END)
        await self.ended.wait()
        raise Ended

    async def ping(self, payload):
        self.transport.send_ping(payload)
        got = await self.pongs.get()
        if got != payload:
            raise AssertionError(f"the pong of {payload!r} has {got!r}")

    async def close(self, code, reason):
        self.transport.send_close(code, reason)
        await self.ended.wait()

    async def failed_with(self):
        sent = self.transport.close_handshake and self.transport.close_handshake.sent
        return int(sent.code) if sent else 1006


async def connect(url, *, deflate, limit, subprotocols):
    headers = {"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else None
    try:
        transport, connection = await ws_connect(Connection, url, max_frame_size=limit, extra_headers=headers)
    except WSHandshakeError as error:
        if error.response is None:
            raise
        raise Refused(error.response.status, error.raw_body) from None
    headers = transport.response.headers
    connection.extensions = headers.get("Sec-WebSocket-Extensions", "")
    connection.subprotocol = headers.get("Sec-WebSocket-Protocol")
    return connection


async def serve(*, deflate, limit):
    conversations = set()

    def answer(request):
        target = request.path.decode()
        path = target.partition("?")[0]
        if refusal := python_scenarios.refusal(path):
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(*refusal), None)

        def converse(connection):
            task = asyncio.create_task(python_scenarios.converse(connection, target))
            conversations.add(task)
            task.add_done_callback(conversations.discard)

        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        chosen = python_scenarios.select([each.strip() for each in offered.split(",")])
        headers = {"Sec-WebSocket-Protocol": chosen} if chosen else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), Connection(converse))

    server = await ws_create_server(answer, "127.0.0.1", 0, max_frame_size=limit)
    return server.sockets[0].getsockname()[1]


if __name__ == "__main__":
    python_scenarios.main(connect, serve)
