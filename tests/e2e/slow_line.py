"""A slow line between a browser and the server: so many bytes a second each way, and each of them late.

Its buffers are small, so the server feels how slow the line is, as it does behind a router.
"""

import asyncio
import socket
import time

from proxy import Proxy

_PIECE = 2_048
_BUFFER = 16_384  # of each socket, and of what is on its way


class SlowLine(Proxy):
    """Forwards TCP connections to a port of this computer; used as a context manager.

    All connections share the line, as they would in a telephone. `carried` counts the bytes to the browser.
    """

    def __init__(self, target: int, bytes_per_second: int = 50_000, delay: float = 0.4) -> None:
        self.url = ""
        self.carried = 0
        self._target, self._rate, self._delay = target, bytes_per_second, delay
        self._free_at = {"up": 0.0, "down": 0.0}  # when the line has carried what it was given, each way
        super().__init__("slow line", limit=_PIECE)

    async def _cut(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _accept(self, browser: asyncio.StreamReader, to_browser: asyncio.StreamWriter) -> None:
        plug = socket.socket()
        plug.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER
        )  # before it connects, or it has no effect
        plug.setblocking(False)
        await self._loop.sock_connect(plug, ("127.0.0.1", self._target))
        server, to_server = await asyncio.open_connection(sock=plug, limit=_PIECE)
        writers = (to_browser, to_server)
        for writer in writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            writer.transport.set_write_buffer_limits(_PIECE)
        ways = [
            asyncio.ensure_future(way)
            for way in (self._carry(browser, to_server, "up"), self._carry(server, to_browser, "down"))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in writers:
                writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: str) -> None:
        """Reads no faster than the line carries; what was read arrives `delay` later, in order."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arrivals = asyncio.ensure_future(self._arrive(on_the_way, target, way))
        try:
            while data := await source.read(_PIECE):
                now = time.monotonic()
                self._free_at[way] = max(now, self._free_at[way]) + len(data) / self._rate
                on_the_way.put_nowait((self._free_at[way] + self._delay / 2, data))
                await asyncio.sleep(self._free_at[way] - now)
            on_the_way.put_nowait((0, b""))
            await arrivals
        except ConnectionError:
            pass
        finally:
            arrivals.cancel()

    async def _arrive(
        self, on_the_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter, way: str
    ) -> None:
        while True:
            due, data = await on_the_way.get()
            if not data:
                return
            await asyncio.sleep(max(0, due - time.monotonic()))
            target.write(data)
            await target.drain()
            if way == "down":
                self.carried += len(data)
