"""`websockets` with its default configuration, but that it accepts no compression unless that is measured."""

import asyncio
import sys

from websockets.asyncio.server import broadcast, serve

MODE = sys.argv[1]


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def send_to_all(connection):
    async for message in connection:
        broadcast(connection.server.connections, message)


async def main():
    handler = send_to_all if MODE == "broadcast" else echo
    compression = "deflate" if MODE == "deflate" else None
    async with serve(handler, "127.0.0.1", 0, compression=compression) as server:
        print("PORT", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if MODE not in ("echo", "deflate", "broadcast"):
    sys.exit(f"no mode {MODE}")
asyncio.run(main())
