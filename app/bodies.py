"""The bytes of downloads: of a report that runs, of one that is over, of a file that is kept."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import accumulate

from app import hints
from app.codec import decode
from app.export_store import PART_BYTES, ExportStore
from app.exports.writing import StreamWriter
from app.hints import Hints
from app.model import Chunk, Report, Status, StoredExport
from app.report_store import ReportStore
from app.spool import Spool

_BATCH = 4  # chunks in memory at a time
_POLL_SECONDS = 1.0
# A proxy gives up after 60 silent seconds, so while no rows come one of the bytes that are held back is sent
# now and then. A header of six bytes lasts five minutes.
_DRIP_SECONDS = 45.0
_HELD_BYTES = 24

# Called with the report, the writer, the sizes of the pieces and the sum, once the file is whole.
Remember = Callable[[Report, StreamWriter, Sequence[int], str], Awaitable[None]]


class BrokenOff(Exception):
    """The file cannot come to its end: the connection has to break, so that nobody takes it for whole."""


async def chunks_of(spool: Spool, report: Report, after: int = 0) -> AsyncIterator[Sequence[Chunk]]:
    """All that the report has, some at a time. Raises BrokenOff if it was deleted."""
    while after < report.chunks:
        found = await spool.read(report.id, report.generation, after, _BATCH)
        if not found:
            raise BrokenOff(f"The report {report.id} was deleted.")
        yield found
        after = found[-1].number


class Live:
    """The file of a report that runs, from its beginning: nothing else of it is known.

    Ends with the report, and raises BrokenOff if that ends early. Gives b"" now and then while no rows come.
    Of a report that was over before, however it ended, it is all rows.
    """

    def __init__(
        self,
        store: ReportStore,
        spool: Spool,
        wake: Hints,
        report: Report,
        writer: StreamWriter,
        remember: Remember,
        stopping: Callable[[], bool],
    ) -> None:
        self._store, self._spool, self._hints = store, spool, wake
        self._report, self._writer, self._remember = report, writer, remember
        self._was_over = report.status.final
        self._stopping = stopping
        self._sizes: list[int] = []
        self._sha = hashlib.sha256()

    async def __call__(self, first: int, end: int) -> AsyncIterator[bytes]:
        drip = _Drip()
        yield drip.take(self._made(self._writer.begin()))
        async for chunks in self._follow():
            for piece in await asyncio.to_thread(pieces, self._writer, chunks):
                yield drip.take(self._made(piece))
            if not chunks:
                yield drip.drop()
        if self._report.status is not Status.DONE and not self._was_over:
            raise BrokenOff(f"The report {self._report.id} ended early: {self._report.status}.")
        yield drip.held + self._made(self._writer.end())
        await self._remember(self._report, self._writer, self._sizes, self._sha.hexdigest())

    async def _follow(self) -> AsyncIterator[Sequence[Chunk]]:
        """The chunks as they come; none when none came for a while. Ends with the report."""
        after, generation = 0, 0
        with self._hints.listen(hints.chunks(self._report.id)) as hint:
            while True:
                hint.clear()
                if self._stopping():
                    raise BrokenOff("The server stops.")
                found = await self._store.get(self._report.id)
                if found is None or (after and found.generation != generation):
                    raise BrokenOff(f"The report {self._report.id} was deleted, or is read anew.")
                self._report, generation = found, found.generation
                if after < found.chunks:
                    async for chunks in chunks_of(self._spool, found, after):
                        yield chunks
                        after = chunks[-1].number
                elif found.status.final:
                    return
                else:
                    yield ()
                    await hint.wait(_POLL_SECONDS)

    def _made(self, piece: bytes) -> bytes:
        self._sizes.append(len(piece))
        self._sha.update(piece)
        return piece


class _Drip:
    """Keeps the last bytes back, to send one now and then while the source is silent."""

    def __init__(self) -> None:
        self.held = b""
        self._sent_at = asyncio.get_running_loop().time()

    def take(self, piece: bytes) -> bytes:
        """What may be sent now."""
        self._sent_at = asyncio.get_running_loop().time()
        whole = self.held + piece
        self.held = whole[-_HELD_BYTES:]
        return whole[:-_HELD_BYTES]

    def drop(self) -> bytes:
        now = asyncio.get_running_loop().time()
        if now - self._sent_at < _DRIP_SECONDS:
            return b""
        self._sent_at = now
        drop, self.held = self.held[:1], self.held[1:]
        return drop


class Again:
    """Any part of the file of a finished report, made anew from the chunks that it lies in."""

    def __init__(
        self, spool: Spool, report: Report, writer: Callable[[], StreamWriter], sizes: Sequence[int]
    ) -> None:
        self._spool, self._report, self._writer = spool, report, writer
        self._ends = list(accumulate(sizes))

    async def __call__(self, first: int, end: int) -> AsyncIterator[bytes]:
        writer, start = self._writer(), 0
        for number, stop in enumerate(self._ends):
            if start < end and stop > first:
                piece = await self._piece(writer, number)
                yield piece[max(0, first - start) : end - start]
            start = stop

    async def _piece(self, writer: StreamWriter, number: int) -> bytes:
        if number == 0:
            return writer.begin()
        if number == len(self._ends) - 1:
            return writer.end()
        chunk = await self._spool.chunk(self._report.id, self._report.generation, number)
        if chunk is None:
            raise BrokenOff(f"The report {self._report.id} was deleted.")
        (piece,) = await asyncio.to_thread(pieces, writer, [chunk])
        return piece


class Parts:
    """A file that is kept in parts."""

    def __init__(self, exports: ExportStore, found: StoredExport) -> None:
        self._exports, self._found = exports, found

    async def __call__(self, first: int, end: int) -> AsyncIterator[bytes]:
        for number in range(first // PART_BYTES, -(-end // PART_BYTES)):
            part = await self._exports.part(self._found.id, number)
            if part is None:
                raise BrokenOff(f"The file {self._found.id} was deleted.")
            start = number * PART_BYTES
            yield part[max(0, first - start) : end - start]


def pieces(writer: StreamWriter, chunks: Sequence[Chunk]) -> list[bytes]:
    return [writer.rows(decode(chunk.payload), chunk.first_row) for chunk in chunks]
