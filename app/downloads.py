"""Files of a report's rows: made from the spool, never by a second query, so that a file equals the screen.

A format that streams is sent while it is made. Of a finished report its length and its sum are found once
and kept, and any part of it can be made again: rows give the same bytes each time. For millions of rows that
takes a while; nobody waits for it in silence, so such a file is sent without a length meanwhile. While the
report runs the file follows it, and is broken off unless the report comes to its end. Other formats are made
by `exporter`.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from app.bodies import Again, Live, Parts, chunks_of, pieces
from app.catalog import Catalog
from app.errors import NotFound, RowfallError, TooEarly
from app.export_store import ExportStore
from app.exports import Export
from app.exports.manifest import Manifest, manifest
from app.exports.writing import Options, Preset, StreamWriter
from app.file_names import file_name
from app.hints import Hints
from app.model import Report, Status, StoredExport
from app.report_store import ReportStore
from app.spool import Spool

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0  # for a length; a proxy gives up after 60 silent seconds
_UNMEASURED = "The length and the sum of this file are being found: ask again in a minute."


@dataclass(frozen=True, slots=True)
class Download:
    """`body(first, end)` gives these bytes of the file; without a length only all of it."""

    name: str
    media_type: str
    size: int | None  # bytes; None while it is not known
    etag: str | None
    body: Callable[[int, int], AsyncIterator[bytes]]


class Downloads:
    def __init__(
        self, store: ReportStore, spool: Spool, exports: ExportStore, catalog: Catalog, wake: Hints
    ) -> None:
        self._store, self._spool, self._exports = store, spool, exports
        self._catalog, self._hints = catalog, wake
        self._measuring = asyncio.Lock()  # one at a time: it takes a core
        self._tasks: set[asyncio.Task[StoredExport]] = set()
        self._stopping = False

    def stop(self) -> None:
        """Breaks off the files of reports that run: the server stops."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._hints.notify_all()

    async def open(
        self, report: Report, export: Export, options: Options, *, needs_length: bool = False
    ) -> Download:
        """Raises TooEarly while the file is still being made; InvalidRequest; StateUnavailable."""
        name = file_name(report, export.suffix)
        if export.stream is None:
            found = await self.file(report, export, options)
            if found is None or found.status is not Status.DONE or found.size is None:
                raise TooEarly("The file is still being made.")
            return Download(name, export.media_type, found.size, found.sha256, Parts(self._exports, found))
        found = None
        if report.status.final:
            found = await self._measured(report, export, options, None if needs_length else _PATIENCE_SECONDS)
        if found is None:
            writer, remember = _stream(export, report, options), partial(self._remember, export, options)
            live = Live(
                self._store, self._spool, self._hints, report, writer, remember, lambda: self._stopping
            )
            return Download(name, export.media_type, None, None, live)
        again = Again(self._spool, report, lambda: _stream(export, report, options), found.sizes)
        return Download(name, export.media_type, found.size, found.sha256, again)

    async def file(self, report: Report, export: Export, options: Options) -> StoredExport | None:
        return await self._exports.find(
            report.id, report.generation, export.name, options_text(export, options)
        )

    async def manifest(self, report: Report, export: Export, options: Options) -> bytes:
        """JSON; with length and sum once the report is over and the file was made."""
        found, measuring = None, export.stream is not None and report.status.final
        if measuring:
            found = await self._measured(report, export, options, _PATIENCE_SECONDS)
        elif export.file is not None:
            found = await self.file(report, export, options)
        if found is not None and found.manifest is not None:
            return found.manifest
        about = await self.about(report, export, options)
        return (replace(about, notes=(*about.notes, _UNMEASURED)) if measuring else about).to_json()

    async def about(self, report: Report, export: Export, options: Options) -> Manifest:
        key: Sequence[str] = ()
        with suppress(RowfallError):  # its source is away, or it is gone
            key = (await self._catalog.dataset(report.dataset)).key
        preset = options.preset if export.name == "csv" else None
        return manifest(report, key, export.name, export.values(options), preset)

    async def _measured(
        self, report: Report, export: Export, options: Options, patience: float | None
    ) -> StoredExport | None:
        """None if it takes longer than these seconds; then it goes on by itself."""
        if found := await self.file(report, export, options):
            return found
        task = asyncio.create_task(self._measure(report, export, options))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait((task,), timeout=patience)
        return task.result() if done else None

    def _ended(self, task: asyncio.Task[StoredExport]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.info("a file was not measured: %s", error)

    async def _measure(self, report: Report, export: Export, options: Options) -> StoredExport:
        """The length of each piece of a file, and the sum of all; made once."""
        async with self._measuring:
            found = await self.file(report, export, options)
            if found is None:
                writer = _stream(export, report, options)
                start = writer.begin()
                sizes, sha = [len(start)], hashlib.sha256(start)
                async for chunks in chunks_of(self._spool, report):
                    for piece in await asyncio.to_thread(pieces, writer, chunks):
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
            options_text(export, options),
            sizes=tuple(sizes),
            sha256=sha256,
            rows=report.rows,
            manifest=replace(written, sha256=sha256, size=sum(sizes)).to_json(),
        )


def _stream(export: Export, report: Report, options: Options) -> StreamWriter:
    assert export.stream is not None
    return export.stream(report.columns, options)


def options_text(export: Export, options: Options) -> str:
    """What tells files of one format apart."""
    if export.name != "csv":
        return ""
    if options.preset is Preset.DATA:
        return options.preset
    return f"{options.preset} {options.separator!r} {options.decimal}"
