"""Makes the files that cannot be sent while they are made, one at a time in each process."""

import asyncio
import hashlib
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from app import hints
from app.bodies import BrokenOff
from app.codec import decode
from app.downloads import Downloads
from app.errors import LeaseLost, RowfallError, StateUnavailable
from app.export_store import PART_BYTES, ExportStore
from app.exports import EXPORTS
from app.exports.writing import FileWriter, Options
from app.hints import Hints
from app.model import Made, Report, Row, Status, StoredExport
from app.report_store import ReportStore
from app.spool import Spool

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_LEASE_SECONDS = 30.0
_TELL_SECONDS = 0.5
_INTERNAL = "An error inside Rowfall stopped this file; the server's log has the details."
_UNWRITABLE = "The server could not write this file: {} (in {}, where files lie while they are made)."
_BATCH = 4  # chunks in memory at a time


class Stopped(Exception):
    """Nobody waits for this file any more, or the server stops."""


class Exporter:
    def __init__(
        self, store: ReportStore, spool: Spool, exports: ExportStore, downloads: Downloads, wake: Hints
    ) -> None:
        self._store, self._spool, self._exports = store, spool, exports
        self._downloads, self._hints = downloads, wake
        self._maker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Until `stop`."""
        with self._hints.listen(hints.EXPORTS) as hint:
            while not self._stopping.is_set():
                hint.clear()
                try:
                    while not self._stopping.is_set() and await self._make_next():
                        pass
                except StateUnavailable as error:
                    log.info("no files are made for now: %s", error)
                except Exception:
                    log.exception("making a file failed; trying again")
                await hint.wait(_POLL_SECONDS)

    def stop(self) -> None:
        """A file that is under way is made anew after the next start."""
        self._stopping.set()
        self._hints.notify(hints.EXPORTS)

    async def _make_next(self) -> bool:
        """False if there is nothing to do, or the server stops."""
        found = await self._exports.claim(self._maker, _LEASE_SECONDS)
        if found is None:
            return False
        try:
            await self._make(found)
        except Stopped:
            if self._stopping.is_set():
                await self._exports.release(self._maker)
                return False
            await self._exports.finish(found.id, self._maker, Status.CANCELLED)
        except (LeaseLost, BrokenOff) as error:
            log.info("the file %s is not made here any more: %s", found.id, error)
        except RowfallError as error:
            await self._exports.finish(found.id, self._maker, Status.FAILED, error=error.sentence)
        except OSError as error:
            log.warning("the file %s could not be written: %s", found.id, error)
            sentence = _UNWRITABLE.format(error.strerror, tempfile.gettempdir())
            await self._exports.finish(found.id, self._maker, Status.FAILED, error=sentence)
        except Exception:
            log.exception("the file %s could not be made", found.id)
            await self._exports.finish(found.id, self._maker, Status.FAILED, error=_INTERNAL)
        return True

    async def _make(self, found: StoredExport) -> None:
        report = await self._store.get(found.report)
        export = EXPORTS[found.format]
        if report is None or export.file is None:
            raise LeaseLost
        options = Options()
        about = await self._downloads.about(report, export, options)
        writer = export.file(report.columns, options)
        with tempfile.TemporaryDirectory(prefix="rowfall-") as folder:
            path = Path(folder, f"file.{export.suffix}")
            feed = _Feed(self._spool, report, asyncio.get_running_loop())
            writing = asyncio.create_task(asyncio.to_thread(writer.write, path, feed.chunks, about))
            await self._watch(writing, feed, found, writer)
            about = writing.result()
            size, sha = await asyncio.to_thread(_size_and_sum, path)
            await self._keep(found, path, report.rows, size)
        proof = replace(about, sha256=sha, size=size).to_json()
        await self._exports.finish(found.id, self._maker, Status.DONE, size=size, sha256=sha, manifest=proof)
        log.info("%s of report %s: %d bytes", export.name, report.id, size)

    async def _watch(
        self, writing: asyncio.Task[object], feed: "_Feed", found: StoredExport, writer: FileWriter
    ) -> None:
        """Tells how far the file is, and breaks it off when somebody asks to."""
        try:
            while not writing.done():
                await asyncio.wait((writing,), timeout=_TELL_SECONDS)
                rows = feed.rows // writer.passes
                cancelled = await self._exports.progress(Made(found.id, self._maker, rows, _LEASE_SECONDS))
                if cancelled or self._stopping.is_set():
                    feed.stopped = True
        except BaseException:
            feed.stopped = True
            await asyncio.wait((writing,))
            raise

    async def _keep(self, found: StoredExport, path: Path, rows: int, size: int) -> None:
        await self._spool.room.take(size)
        made = Made(found.id, self._maker, rows, _LEASE_SECONDS)
        with path.open("rb") as file:
            number = 0
            while part := file.read(PART_BYTES):
                await self._exports.progress(made, (number, part))
                number += 1


class _Feed:
    """The chunks of a report for a writer in a thread."""

    def __init__(self, spool: Spool, report: Report, loop: asyncio.AbstractEventLoop) -> None:
        self._spool, self._report, self._loop = spool, report, loop
        self.rows = 0  # given so far, over all passes
        self.stopped = False

    def chunks(self) -> Iterator[Sequence[Row]]:
        """From the first one on. Raises Stopped, BrokenOff if the report was deleted."""
        report, after = self._report, 0
        while after < report.chunks:
            reading = self._spool.read(report.id, report.generation, after, _BATCH)
            found = asyncio.run_coroutine_threadsafe(reading, self._loop).result()
            if not found:
                raise BrokenOff(f"The report {report.id} was deleted.")
            for chunk in found:
                if self.stopped:
                    raise Stopped
                yield decode(chunk.payload)
                self.rows += chunk.rows
            after = found[-1].number


def _size_and_sum(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
