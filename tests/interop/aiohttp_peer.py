"""aiohttp behind the command line that every peer has; see tests/README.md."""

from aiohttp import ClientSession, ClientWSTimeout, TraceConfig, WSMsgType, WSServerHandshakeError, web

import python_scenarios
from python_scenarios import Ended, Refused

MESSAGES = (WSMsgType.TEXT, WSMsgType.BINARY)


class Connection(python_scenarios.Connection):
    """With pings and Close frames answered here, so that their contents can be compared."""

    def __init__(self, ws, session=None):
        self.ws, self.session = ws, session

    async def send(self, message):
        await (self.ws.send_str if isinstance(message, str) else self.ws.send_bytes)(message)

    async def recv(self):
        got = await self.next()
        if got.type in MESSAGES:
            return got.data
        raise AssertionError(f"{got.type.name} came where a message was due")

    async def next(self):
        """The next message or pong."""
        while True:
            got = await self.ws.receive()
            if got.type is WSMsgType.PING:
                await self.ws.pong(got.data)
            elif got.type is WSMsgType.CLOSE:
                self.received = got.data or 1005, got.extra or ""
                await self.ws.close(code=got.data or 1000)
                raise Ended
            elif got.type in MESSAGES or got.type is WSMsgType.PONG:
                return got
            else:
                raise Ended

    async def ping(self, payload):
        await self.ws.ping(payload)
        got = await self.next()
        if got.type is not WSMsgType.PONG or got.data != payload:
            raise AssertionError(f"{got.type.name} came where the pong of {payload!r} was due")

    async def close(self, code, reason):
        await self.ws.close(code=code, message=reason.encode())
        # The reason of the response is not returned.
        self.received = self.ws.close_code, ""
        if self.session:
            await self.session.close()

    async def failed_with(self):
        return self.ws.close_code


async def connect(url, *, deflate, limit, subprotocols):
    compress = 0 if deflate is None else deflate.get("server_max_window_bits", 15)
    headers = {}

    async def keep_headers(_session, _context, params):
        headers.update(params.response.headers)

    trace = TraceConfig()
    trace.on_request_end.append(keep_headers)
    session = ClientSession(trace_configs=[trace])
    try:
        ws = await session.ws_connect(
            url, protocols=subprotocols, compress=compress, max_msg_size=limit, autoping=False, autoclose=False,
            timeout=ClientWSTimeout(ws_close=5),
        )
    except WSServerHandshakeError as error:
        await session.close()
        raise Refused(error.status, None) from None
    connection = Connection(ws, session)
    connection.subprotocol = ws.protocol
    connection.extensions = headers.get("Sec-WebSocket-Extensions", "")
    return connection


async def serve(*, deflate, limit):
    async def handle(request):
        if refusal := python_scenarios.refusal(request.path):
            return web.Response(status=refusal[0], body=refusal[1])
        ws = web.WebSocketResponse(
            protocols=[python_scenarios.SUBPROTOCOL], compress=deflate is not None, max_msg_size=limit,
            autoping=False, autoclose=False, timeout=5,
        )
        await ws.prepare(request)
        await python_scenarios.converse(Connection(ws), request.path_qs)
        return ws

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1]


if __name__ == "__main__":
    python_scenarios.main(connect, serve)
