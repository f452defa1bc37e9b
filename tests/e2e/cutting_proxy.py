"""A line between a browser and the server that can be cut: at once, after so many bytes, or for a while."""

import asyncio
import re
from collections import deque

from proxy import Proxy

_STREAM = re.compile(rb"GET /reports/[^/ ]+/events")
_ENCODINGS = re.compile(rb"(?mi)^accept-encoding: [^\r\n]*\r\n")
_LAST_ID = re.compile(rb"(?mi)^last-event-id: ([^\r\n]*)")


class CuttingProxy(Proxy):
    """Forwards TCP connections to a port of this computer; used as a context manager.

    It takes `Accept-Encoding` out of the requests: a number of bytes then is a place in the text, the same in
    every browser and run, and in a compressed stream it would be nowhere in particular. `compressed` leaves
    the header in.
    """

    def __init__(self, target: int) -> None:
        self.url = ""
        self.streams: list[str | None] = []  # the Last-Event-ID of each event stream that was asked for
        self.budgets: deque[int] = deque()  # bytes that each next event stream gets before it is cut
        self.refuses_streams = False
        self.compressed = False
        self._target = target
        self._down = False
        self._silent = False
        self._lines: set[_Line] = set()
        super().__init__("cutting proxy")

    def cut(self) -> None:
        """Every open connection breaks; new ones work."""
        self._do(self._cut())

    def down(self) -> None:
        """Every open connection breaks, and new ones too, until `up`."""
        self._down = True
        self.cut()

    def up(self) -> None:
        self._down = self._silent = False

    def silence(self) -> None:
        """The open connections stay and bring nothing any more: a cable was pulled further away."""
        self._silent = True

    async def _cut(self) -> None:
        for line in list(self._lines):
            line.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is dead
            writer.transport.abort()
            return
        line = _Line(writer, to_server)
        self._lines.add(line)
        try:
            await asyncio.gather(self._requests(reader, line), self._answers(from_server, line))
        finally:
            self._lines.discard(line)

    async def _requests(self, browser: asyncio.StreamReader, line: "_Line") -> None:
        while data := await _read(browser):
            if _STREAM.match(data):
                found = _LAST_ID.search(data)
                self.streams.append(found[1].decode() if found else None)
                line.budget = self.budgets.popleft() if self.budgets else None
                if self.refuses_streams:
                    break
            if not self.compressed:
                data = _ENCODINGS.sub(b"", data, count=1)
            line.to_server.write(data)
        line.cut()

    async def _answers(self, server: asyncio.StreamReader, line: "_Line") -> None:
        while data := await _read(server):
            if self._silent:
                continue
            if line.budget is not None:
                data, line.budget = data[: line.budget], line.budget - len(data)
            line.to_browser.write(data)
            if line.budget is not None and line.budget <= 0:
                await line.flush()
                break
        line.cut()


class _Line:
    """One connection, and what is left of the bytes it may carry."""

    def __init__(self, to_browser: asyncio.StreamWriter, to_server: asyncio.StreamWriter) -> None:
        self.to_browser, self.to_server = to_browser, to_server
        self.budget: int | None = None

    async def flush(self) -> None:
        try:
            await self.to_browser.drain()
            await asyncio.sleep(0.05)  # or the reset would overtake what was sent last
        except ConnectionError:
            pass

    def cut(self) -> None:
        self.to_browser.transport.abort()
        self.to_server.transport.abort()


async def _read(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.read(65_536)
    except ConnectionError:
        return b""
