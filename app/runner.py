"""One run of a report: source -> chunks in the spool -> checkpoint -> final status."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from app import hints, layout
from app.catalog import Catalog
from app.codec import decode
from app.database import StateUnavailable
from app.errors import LeaseLost, RowfallError, SourceChanged, SourceInterrupted
from app.hints import Hints
from app.model import Batch, Chunk, Dataset, Lease, Report, Status
from app.progress import spoken
from app.report_store import ReportStore
from app.settings import Settings
from app.source import Reader
from app.spool import Spool

log = logging.getLogger(__name__)

# Cells of a chunk at the most: a table of 2,000 columns would otherwise come in chunks of 2 million cells,
# the first of which a browser shows after 18 s. Up to 40 columns a chunk has its 1,000 rows.
CHUNK_CELLS = 40_000


class Stop(Enum):
    """Why a run ends before the source does."""

    CANCELLED = auto()
    TIMED_OUT = auto()
    LEASE_LOST = auto()  # another owner has the report: write nothing more
    SHUTDOWN = auto()  # the report goes on after the restart


@dataclass(frozen=True, slots=True)
class Outcome:
    status: Status
    code: str | None = None
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every run of this process works with."""

    store: ReportStore
    spool: Spool
    catalog: Catalog
    hints: Hints
    settings: Settings


class Run:
    """The run of a report that this process has claimed."""

    def __init__(self, report: Report, context: RunContext) -> None:
        self.report = report
        self._lease = Lease(report.id, report.epoch)
        self._context = context
        self._settings = context.settings
        self._stop: Stop | None = None
        self._reader: Reader | None = None

    def stop(self, why: Stop) -> None:
        """Breaks off the source's query; `execute` then writes what is due and returns."""
        self._stop = self._stop or why
        if self._reader is not None:
            self._reader.interrupt()

    async def execute(self) -> None:
        """The whole life of the run. Returns when the report is final, or is left for another owner."""
        guard = asyncio.create_task(self._guard())
        try:
            outcome = await self._outcome()
            # Shielded: a status that was reached is written even while the process is being stopped.
            await asyncio.shield(self._conclude(outcome))
        finally:
            guard.cancel()
            with suppress(asyncio.CancelledError):
                await guard
            self._tell_viewers()

    async def _outcome(self) -> Outcome | None:
        """How the report ends; None if it does not end here."""
        try:
            await self._read()
        except SourceInterrupted:
            return self._stopped()
        except LeaseLost:
            return None
        except StateUnavailable as error:
            # The lease runs out by itself, and the report goes on from its last chunk.
            log.warning("report %s breaks off for now: %s", self.report.id, error)
            return None
        except RowfallError as error:
            return Outcome(Status.FAILED, error.code, error.sentence)
        except Exception:
            log.exception("report %s stopped by an error inside Rowfall", self.report.id)
            return Outcome(
                Status.FAILED,
                "internal",
                "An error inside Rowfall stopped this report. The rows so far are kept; the server's log "
                f"has the details under {self.report.id}.",
            )
        return Outcome(Status.DONE)

    def _stopped(self) -> Outcome | None:
        if self._stop is Stop.CANCELLED:
            return Outcome(Status.CANCELLED)
        if self._stop is Stop.TIMED_OUT:
            return Outcome(
                Status.TIMED_OUT,
                "timed-out",
                f"This report ran for {spoken(self._settings.report_timeout)}, which is the limit. "
                "The rows so far are kept. Ask for fewer columns, or for a smaller table or view.",
            )
        return None

    async def _read(self) -> None:
        dataset = await self._context.catalog.dataset(self.report.dataset)
        _require_same_columns(self.report, dataset)
        source = self._context.catalog.source(dataset)
        generation, number, first_row = await self._position()
        columns = self.report.spec.columns
        rows = max(1, min(self._settings.chunk_rows, CHUNK_CELLS // len(columns)))
        reader = await source.open_reader(dataset, columns, self.report.cursor, rows)
        self._reader = reader
        if self._stop:  # asked for while the source was being opened
            reader.interrupt()
        count = asyncio.create_task(self._count())
        ahead = asyncio.create_task(reader.read())
        try:
            while batch := await ahead:
                if self._stop:
                    raise SourceInterrupted("Reading was stopped.")
                # The next rows are read while these are written, so two batches are in memory at most.
                ahead = asyncio.create_task(reader.read())
                await self._append(Chunk(generation, number, first_row, batch.rows, batch.payload), batch)
                number += 1
                first_row += batch.rows
            if await reader.changed():
                await self._context.store.add_note(self._lease, _changed(dataset))
        finally:
            count.cancel()
            ahead.cancel()
            await asyncio.wait([count, ahead])
            await reader.close()

    async def _position(self) -> tuple[int, int, int]:
        """Generation, chunk number and row number to go on with."""
        report = self.report
        if report.chunks and report.cursor is None:
            # A former owner got part of the way through a source that cannot be continued.
            return await self._context.store.start_generation(self._lease), 1, 1
        return report.generation, report.next_chunk, report.rows + 1

    async def _append(self, chunk: Chunk, batch: Batch) -> None:
        if chunk.number == 1:
            columns = layout.measured(self.report.columns, decode(chunk.payload))
            await self._context.store.set_columns(self._lease, columns)
        cancelled = await self._context.spool.append(
            self._lease, chunk, batch.cursor, self._settings.lease_seconds
        )
        self._tell_viewers()
        if cancelled:
            self.stop(Stop.CANCELLED)

    async def _count(self) -> None:
        """Beside the read: the exact total, unless counting takes too long or was done before."""
        if self.report.total_kind != "unknown":
            return
        try:
            dataset = await self._context.catalog.dataset(self.report.dataset)
            total = await self._context.catalog.source(dataset).count(dataset)
            await self._context.store.set_total(self._lease, total, "uncounted" if total is None else "exact")
        except RowfallError as error:
            log.info("report %s is not counted: %s", self.report.id, error)
        self._tell_viewers()

    async def _guard(self) -> None:
        """Keeps the lease while a read is slow, and notices a cancellation or the time limit at once."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._settings.report_timeout
        with self._context.hints.listen(hints.cancellation(self.report.id)) as hint:
            while self._stop is None:
                await hint.wait(min(self._settings.lease_seconds / 4, deadline - now()))
                hint.clear()
                if now() >= deadline:
                    self.stop(Stop.TIMED_OUT)
                else:
                    await self._heartbeat()

    async def _heartbeat(self) -> None:
        try:
            if await self._context.store.heartbeat(self._lease, self._settings.lease_seconds):
                self.stop(Stop.CANCELLED)
        except LeaseLost:
            self.stop(Stop.LEASE_LOST)
        except StateUnavailable as error:
            # The guard goes on, or nobody would watch the time limit. An append tells whose the lease is.
            log.warning("report %s could not renew its lease: %s", self.report.id, error)

    async def _conclude(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            await self._context.store.finish(self._lease, outcome.status, outcome.code, outcome.sentence)
            log.info("report %s on %s: %s", self.report.id, self.report.dataset, outcome.status)
        elif self._stop is Stop.SHUTDOWN:
            await self._context.store.release(self._lease)

    def _tell_viewers(self) -> None:
        self._context.hints.notify(hints.chunks(self.report.id))


def _require_same_columns(report: Report, dataset: Dataset) -> None:
    """A report asks by position, which means another column once one before it was added or dropped."""
    now = {position: (column.name, column.declared) for position, column in enumerate(dataset.columns)}
    asked = [(column.name, column.declared) for column in report.columns]
    if [now.get(position) for position in report.spec.columns] != asked:
        raise SourceChanged(
            f"The columns of {dataset.id} have changed since this report was asked for. Run it again."
        )


def _changed(dataset: Dataset) -> str:
    changed = f"The data changed while this {dataset.kind} was read: "
    if dataset.key:
        return changed + "rows were read at slightly different times, each key once."
    return changed + "the rows are as they stood at the start."
