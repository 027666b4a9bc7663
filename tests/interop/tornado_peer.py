"""Tornado behind the command line that every peer has; see tests/README.md."""

import asyncio

from tornado.httpclient import HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

import python_scenarios
from python_scenarios import Ended, Refused


class Connection(python_scenarios.Connection):
    """A connection of either side. What arrives is queued, None at the end."""

    def __init__(self, ws):
        self.ws, self.messages, self.pongs = ws, asyncio.Queue(), asyncio.Queue()
        self.ended = asyncio.Event()
        ws.on_pong = self.pongs.put_nowait

    async def send(self, message):
        try:
            await self.ws.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            await self.messages.put(None)
            raise Ended from None

    async def recv(self):
        message = await self.messages.get()
        if message is not None:
            return message
        self.end()
        raise Ended

    def take(self, message):
        self.messages.put_nowait(message)
        if message is None:
            self.end()

    def end(self):
        if self.ws.close_code is not None:
            self.received = self.ws.close_code, self.ws.close_reason or ""
        self.ended.set()

    async def ping(self, payload):
        self.ws.ping(payload)
        got = await self.pongs.get()
        if got != payload:
            raise AssertionError(f"the pong of {payload!r} has {got!r}")

    async def close(self, code, reason):
        self.ws.close(code, reason)
        await self.ended.wait()


async def connect(url, *, deflate, limit, subprotocols):
    queued = []
    try:
        ws = await websocket_connect(
            url, connect_timeout=10, compression_options=None if deflate is None else {}, max_message_size=limit,
            subprotocols=subprotocols or None, on_message_callback=lambda message: queued[0].take(message),
        )
    except HTTPClientError as error:
        raise Refused(error.code, error.response.body) from None
    connection = Connection(ws)
    queued.append(connection)
    connection.subprotocol = ws.selected_subprotocol
    connection.extensions = ws.headers.get("Sec-WebSocket-Extensions", "")
    return connection


async def serve(*, deflate, limit):
    class Handler(WebSocketHandler):
        def prepare(self):
            if refusal := python_scenarios.refusal(self.request.path):
                self.set_status(refusal[0])
                self.finish(refusal[1])

        def check_origin(self, origin):
            return True

        def get_compression_options(self):
            return None if deflate is None else {}

        def select_subprotocol(self, subprotocols):
            return python_scenarios.select(subprotocols)

        def open(self, *_):
            self.connection = Connection(self)
            self.conversing = asyncio.create_task(python_scenarios.converse(self.connection, self.request.uri))

        def on_message(self, message):
            self.connection.take(message)

        def on_close(self):
            self.connection.take(None)

    app = Application([("/.*", Handler)], websocket_max_message_size=limit)
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(app).add_sockets(sockets)
    return sockets[0].getsockname()[1]


if __name__ == "__main__":
    python_scenarios.main(connect, serve)
