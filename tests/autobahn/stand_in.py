"""Python's `websockets` in the place of our peer, to try the runner itself: it is known not to get every case right.

    PYTHON=target/interop/python/bin/python          (from a run of tests/interop/run)
    tests/autobahn/run --peer "$PYTHON tests/autobahn/stand_in.py" --cases '1.*' '7.*' 12.1.1
"""

import asyncio
import sys
import threading

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

LIMITS = {"max_size": 32 << 20, "ping_interval": None}


async def echo(ws):
    try:
        async for message in ws:
            await ws.send(message)
    except ConnectionClosed:
        pass


async def server():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=lambda: (sys.stdin.buffer.read(), loop.call_soon_threadsafe(stop.set)), daemon=True
    ).start()
    async with serve(echo, "127.0.0.1", 0, **LIMITS) as listening:
        print("PORT", listening.sockets[0].getsockname()[1], flush=True)
        await stop.wait()


async def client(url):
    async with connect(f"{url}/getCaseCount", proxy=None) as ws:
        count = int(await ws.recv())
    for case in range(1, count + 1):
        async with connect(f"{url}/runCase?case={case}&agent=sansock", proxy=None, **LIMITS) as ws:
            await echo(ws)
    async with connect(f"{url}/updateReports?agent=sansock", proxy=None) as ws:
        await ws.wait_closed()


asyncio.run(server() if sys.argv[1] == "server" else client(sys.argv[2]))
