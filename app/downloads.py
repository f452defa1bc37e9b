"""Files of a report's rows: made from the spool, never by a second query, so that a file equals the screen.

A format that streams is sent while it is made. Of a finished report its length and its sum are found once and
kept, and any part of it can be made again: rows give the same bytes each time. While the report runs the file
follows it, and is broken off unless the report comes to its end. Other formats are made by `exporter`.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from app import hints
from app.catalog import Catalog
from app.errors import NotFound, RowfallError, TooEarly
from app.export_store import PART_BYTES, ExportStore, StoredExport
from app.exports import Export
from app.exports.manifest import Manifest, manifest
from app.exports.writing import Options, StreamWriter
from app.file_names import file_name
from app.hints import Hints
from app.model import Chunk, Report, Status
from app.report_store import ReportStore
from app.spool import Spool

_BATCH = 4  # chunks in memory at a time
_POLL_SECONDS = 1.0
_DRIP_SECONDS = 15.0  # a proxy gives up after 60 silent seconds,
_HELD_BYTES = 24  # so one of these is sent each 15 s while no rows come: enough for six minutes


class BrokenOff(Exception):
    """The file cannot be brought to its end: the connection has to break, so that nobody takes it for whole."""


@dataclass(frozen=True, slots=True)
class Download:
    """`body(first, end)` gives these bytes of the file; without a length only all of it."""

    name: str
    media_type: str
    size: int | None  # bytes; None while the report runs
    etag: str | None
    body: Callable[[int, int], AsyncIterator[bytes]]


class Downloads:
    def __init__(
        self, store: ReportStore, spool: Spool, exports: ExportStore, catalog: Catalog, wake: Hints
    ) -> None:
        self._store, self._spool, self._exports = store, spool, exports
        self._catalog, self._hints = catalog, wake
        self._measuring = asyncio.Lock()  # one at a time: it takes a core

    async def open(self, report: Report, export: Export, options: Options) -> Download:
        """Raises TooEarly while the file is still being made; InvalidRequest; StateUnavailable."""
        name = file_name(report, export.suffix)
        if export.stream is None:
            found = await self.file(report, export, options)
            if found is None or found.status is not Status.DONE or found.size is None:
                raise TooEarly("The file is still being made.")
            return Download(name, export.media_type, found.size, found.id, _Parts(self._exports, found))
        writer = export.stream(report.columns, options)
        if not report.status.final:
            live = _Live(self, report, writer, lambda *known: self._remember(export, options, *known))
            return Download(name, export.media_type, None, None, live)
        found = await self._measured(report, export, options)
        again = _Again(self._spool, report, lambda: _stream(export, report, options), found.sizes)
        return Download(name, export.media_type, found.size, found.id, again)

    async def file(self, report: Report, export: Export, options: Options) -> StoredExport | None:
        return await self._exports.find(report.id, report.generation, export.name, options.text)

    async def manifest(self, report: Report, export: Export, options: Options) -> bytes:
        """JSON; with length and sum once the report is over and the file was made."""
        found = None
        if export.stream is not None and report.status.final:
            found = await self._measured(report, export, options)
        elif export.file is not None:
            found = await self.file(report, export, options)
        if found is not None and found.manifest is not None:
            return found.manifest
        return (await self.about(report, export, options)).to_json()

    async def about(self, report: Report, export: Export, options: Options) -> Manifest:
        key: Sequence[str] = ()
        try:
            key = (await self._catalog.dataset(report.dataset)).key
        except RowfallError:  # its source is away, or it is gone
            pass
        preset = options.preset if export.name == "csv" else None
        return manifest(report, key, export.name, export.values(options), preset)

    async def _measured(self, report: Report, export: Export, options: Options) -> StoredExport:
        """The length of each piece of a file, and the sum of all; made once."""
        async with self._measuring:
            found = await self.file(report, export, options)
            if found is None:
                writer = _stream(export, report, options)
                start = writer.begin()
                sizes, sha = [len(start)], hashlib.sha256(start)
                async for chunks in self.chunks(report):
                    for piece in await asyncio.to_thread(_pieces, writer, chunks):
                        sizes.append(len(piece))
                        await asyncio.to_thread(sha.update, piece)
                last = writer.end()
                sha.update(last)
                await self._remember(export, options, report, writer, [*sizes, len(last)], sha.hexdigest())
                found = await self.file(report, export, options)
        if found is None:
            raise NotFound(f"The report {report.id} was deleted.")
        return found

    async def _remember(
        self,
        export: Export,
        options: Options,
        report: Report,
        writer: StreamWriter,
        sizes: Sequence[int],
        sha256: str,
    ) -> None:
        about = await self.about(report, export, options)
        written = about.written(report.rows, writer.cut, writer.undecodable)
        await self._exports.remember(
            report.id,
            report.generation,
            export.name,
            options.text,
            sizes=tuple(sizes),
            rows=report.rows,
            manifest=replace(written, sha256=sha256, size=sum(sizes)).to_json(),
        )

    async def chunks(self, report: Report, after: int = 0) -> AsyncIterator[Sequence[Chunk]]:
        """All that the report has, some at a time."""
        while after < report.chunks:
            found = await self._spool.read(report.id, report.generation, after, _BATCH)
            if not found:
                raise BrokenOff(f"The report {report.id} was deleted.")
            yield found
            after = found[-1].number

    async def follow(self, report: Report) -> AsyncIterator[tuple[Report, Sequence[Chunk]]]:
        """The chunks as they come, and the report as it is then; an empty batch when none came for a while.

        Ends with the report. Raises BrokenOff if it was read anew after its first chunk, or was deleted.
        """
        after, generation = 0, report.generation
        with self._hints.listen(hints.chunks(report.id)) as hint:
            while True:
                hint.clear()
                found = await self._store.get(report.id)
                if found is None or (after and found.generation != generation):
                    raise BrokenOff(f"The report {report.id} is not the same any more.")
                generation = found.generation
                if after < found.chunks:
                    async for chunks in self.chunks(found, after):
                        yield found, chunks
                        after = chunks[-1].number
                elif found.status.final:
                    yield found, ()
                    return
                else:
                    yield found, ()
                    await hint.wait(_POLL_SECONDS)


class _Live:
    """The file of a report that runs."""

    def __init__(self, downloads: Downloads, report: Report, writer: StreamWriter, remember: _Remember) -> None:
        self._downloads, self._report, self._writer = downloads, report, writer
        self._remember = remember
        self._sizes: list[int] = []
        self._sha = hashlib.sha256()

    async def __call__(self, first: int, end: int) -> AsyncIterator[bytes]:
        drip = _Drip()
        if now := drip.take(self._made(self._writer.begin())):
            yield now
        report = self._report
        async for report, chunks in self._downloads.follow(self._report):
            for piece in await asyncio.to_thread(_pieces, self._writer, chunks):
                yield drip.take(self._made(piece))
            if not chunks and (drop := drip.drop()):
                yield drop
        if report.status is not Status.DONE:
            raise BrokenOff(f"The report {report.id} ended early: {report.status}.")
        yield drip.held + self._made(self._writer.end())
        await self._remember(report, self._writer, self._sizes, self._sha.hexdigest())

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
        all_of_it = self.held + piece
        self.held = all_of_it[-_HELD_BYTES:]
        return all_of_it[:-_HELD_BYTES]

    def drop(self) -> bytes:
        now = asyncio.get_running_loop().time()
        if now - self._sent_at < _DRIP_SECONDS:
            return b""
        self._sent_at = now
        drop, self.held = self.held[:1], self.held[1:]
        return drop


class _Again:
    """Any part of the file of a finished report, from the pieces that it lies in."""

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
        (piece,) = await asyncio.to_thread(_pieces, writer, [chunk])
        return piece


class _Parts:
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


def _stream(export: Export, report: Report, options: Options) -> StreamWriter:
    assert export.stream is not None
    return export.stream(report.columns, options)


def _pieces(writer: StreamWriter, chunks: Sequence[Chunk]) -> list[bytes]:
    return [writer.payload(chunk.payload, chunk.first_row) for chunk in chunks]
