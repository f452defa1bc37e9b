"""Reading: a source -> chunks in the spool, from where the report stands to the source's end.

A source that cannot be reached is tried three times more. With a key reading goes on after the last chunk, in
a new snapshot, and a note says so; without one it starts again, as a new generation.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from app import hints, layout, notes
from app.codec import decode
from app.errors import LeaseLost, RowfallError, SourceChanged, SourceInterrupted, SourceUnreachable
from app.model import Batch, Chunk, Dataset, Lease, Report
from app.patience import patiently
from app.run_context import RunContext
from app.source import Reader
from app.takeover import GONE
from app.waiting import pause, unless_stopped

T = TypeVar("T")

# Cells of a chunk at the most: a table of 2,000 columns would otherwise come in chunks of 2 million cells,
# the first of which a browser shows after 18 s. Up to 40 columns a chunk has its 1,000 rows.
CHUNK_CELLS = 40_000

_BACK_OFF = (1.0, 2.0, 4.0)  # seconds before each retry; a chunk in between starts them anew


@dataclass(slots=True)
class _Position:
    """Where the next chunk goes, and the source goes on."""

    generation: int
    number: int
    first_row: int
    cursor: bytes | None

    def advance(self, batch: Batch) -> None:
        self.number += 1
        self.first_row += batch.rows
        self.cursor = batch.cursor


class Reading:
    """The reading of a report that this process has claimed."""

    def __init__(self, report: Report, lease: Lease, context: RunContext) -> None:
        self._report, self._lease, self._context = report, lease, context
        self._position = _Position(report.generation, report.next_chunk, report.rows + 1, report.cursor)
        self._stopped = asyncio.Event()
        self._reader: Reader | None = None
        self._identity: bytes | None = None  # of the database that was opened first
        self._began_at = 1  # the chunk that the current snapshot began with
        self._claimed_at = asyncio.get_running_loop().time()
        self._why = "The server stopped while this report was read"
        self.cancelled = False  # an append found that somebody asked for it

    @property
    def continuable(self) -> bool:
        """Whether a report could continue this one if it ended now."""
        return self._position.cursor is not None

    def stop(self) -> None:
        """Breaks off what is under way: `run` raises SourceInterrupted."""
        self._stopped.set()
        if self._reader is not None:
            self._reader.interrupt()

    async def run(self) -> None:
        """Returns at the source's end. Raises SourceError, LeaseLost and StateUnavailable."""
        tries = 0
        try:
            while True:
                before = self._position.number
                try:
                    return await self._read()
                except SourceUnreachable as error:
                    tries = 0 if self._position.number > before else tries
                    if tries == len(_BACK_OFF):
                        raise
                    await self._wait(error, tries)
                    tries += 1
        finally:
            await self._use(None)

    async def _wait(self, error: SourceUnreachable, tries: int) -> None:
        seconds = _BACK_OFF[tries]
        trouble = f"{error.sentence} Trying again in {seconds:.0f} s ({tries + 1} of {len(_BACK_OFF)})."
        await self._persist(lambda: self._context.leases.set_trouble(self._lease, trouble))
        self.tell_viewers()
        self._why = "The database could not be read for a while"
        await pause(seconds, self._stopped)
        self._require_going()

    def _require_going(self) -> None:
        if self._stopped.is_set():
            raise SourceInterrupted("Reading was stopped.")

    async def _read(self) -> None:
        earlier = await self._earlier()
        cursor = earlier.cursor if earlier else self._position.cursor
        dataset, reader = await unless_stopped(self._open(cursor), self._stopped)
        await self._use(reader)
        if earlier:
            await self._take_over(earlier)
        elif self._position.number > self._began_at:
            await self._go_on(dataset)
        await self._read_on(reader, dataset)

    async def _open(self, cursor: bytes | None) -> tuple[Dataset, Reader]:
        report, context = self._report, self._context
        dataset = await context.catalog.dataset(report.dataset)
        _require_same_columns(report, dataset)
        columns, filters = report.spec.columns, report.spec.filters
        rows = max(1, min(context.settings.chunk_rows, CHUNK_CELLS // len(columns)))
        source = context.catalog.source(dataset)
        return dataset, await source.open_reader(dataset, columns, cursor, rows, filters)

    async def _use(self, reader: Reader | None) -> None:
        """Closes the reader before it only now: until then its file's identity is no other file's."""
        former, self._reader = self._reader, reader
        if former is not None:
            await former.close()
        if reader is not None:
            self._require_same_database(reader)
            self._require_going()

    def _require_same_database(self, reader: Reader) -> None:
        self._identity = self._identity or reader.identity
        if reader.identity != self._identity and self._position.cursor is not None:
            raise SourceChanged(
                "The database was replaced by another while this report was read. "
                "The rows so far are of the old one. Run it again."
            )

    async def _go_on(self, dataset: Dataset) -> None:
        """Says, once, that what follows is of another snapshot; without a key drops what came before."""
        position, leases = self._position, self._context.leases
        if position.cursor is not None:
            note = notes.went_on(self._why, position.first_row - 1, self._now())
            await self._persist(lambda: leases.add_note(self._lease, note))
        else:
            note = notes.read_again(self._why, dataset, self._now())
            generation = await self._persist(lambda: leases.start_generation(self._lease, note))
            position = self._position = _Position(generation, 1, 1, None)
        self._began_at = position.number
        self.tell_viewers()

    async def _read_on(self, reader: Reader, dataset: Dataset) -> None:
        count = asyncio.create_task(self._count(dataset))
        ahead = asyncio.create_task(reader.read())
        try:
            while batch := await ahead:
                self._require_going()
                # The next rows are read while these are written, so two batches are in memory at most.
                ahead = asyncio.create_task(reader.read())
                await self._append(batch)
            if await reader.changed():
                note = notes.changed(dataset)
                await self._persist(lambda: self._context.leases.add_note(self._lease, note))
        finally:
            count.cancel()
            ahead.cancel()
            await asyncio.wait([count, ahead])

    async def _append(self, batch: Batch) -> None:
        position, leases = self._position, self._context.leases
        chunk = Chunk(position.generation, position.number, position.first_row, batch.rows, batch.payload)
        if chunk.number == 1:
            columns = layout.measured(self._report.columns, decode(chunk.payload))
            await self._persist(lambda: leases.set_columns(self._lease, columns))
        cancelled = await self._persist(lambda: self._append_once(chunk, batch.cursor))
        position.advance(batch)
        self.tell_viewers()
        if cancelled:
            self.cancelled = True
            self.stop()

    async def _append_once(self, chunk: Chunk, cursor: bytes | None) -> bool:
        context = self._context
        try:
            return await context.spool.append(self._lease, chunk, cursor, context.settings.lease_seconds)
        except LeaseLost:
            # The connection may have broken after the commit: then it is this chunk that stands in the way.
            report = await context.store.get(self._report.id)
            appended = (self._lease.epoch, chunk.generation, chunk.number)
            if report is None or (report.epoch, report.generation, report.chunks) != appended:
                raise
            return report.cancel_requested

    async def _earlier(self) -> Report | None:
        """The report whose chunks are still to be taken over."""
        if self._report.continues is None or self._position.cursor is not None:
            return None
        found = await self._context.store.get(self._report.continues)
        if found is None or found.cursor is None:
            raise SourceChanged(GONE)
        return found

    async def _take_over(self, earlier: Report) -> None:
        position, context, left = self._position, self._context, earlier.bytes - self._report.bytes
        note, seconds = notes.continues(earlier, self._now()), context.settings.lease_seconds
        await self._persist(lambda: context.spool.room.take(left))
        while position.cursor is None:
            number = position.number
            taken = await self._persist(
                lambda: context.takeover.step(self._lease, earlier, number, note, seconds)  # noqa: B023
            )
            position.number += taken.chunks
            position.first_row += taken.rows
            position.cursor = taken.cursor
            self.tell_viewers()
            self._require_going()
        self._began_at = position.number

    async def _count(self, dataset: Dataset) -> None:
        """Beside the read: the exact total, unless counting takes too long or was done before."""
        if self._report.total_kind != "unknown":
            return
        with suppress(RowfallError):  # a report without a total is as good
            source = self._context.catalog.source(dataset)
            total = await source.count(dataset, filters=self._report.spec.filters)
            kind = "uncounted" if total is None else "exact"
            await self._context.leases.set_total(self._lease, total, kind)
        self.tell_viewers()

    async def _persist(self, work: Callable[[], Awaitable[T]]) -> T:
        return await patiently(work, self._stopped)

    def _now(self) -> float:
        """By the clock of the state database."""
        return self._report.read_at + asyncio.get_running_loop().time() - self._claimed_at

    def tell_viewers(self) -> None:
        self._context.hints.notify(hints.chunks(self._report.id))


def _require_same_columns(report: Report, dataset: Dataset) -> None:
    """A report asks by position, which means another column once one before it was added or dropped."""
    now = {position: (column.name, column.declared) for position, column in enumerate(dataset.columns)}
    asked = [(column.name, column.declared) for column in report.columns]
    filtered = [(each.name, each.declared) for each in report.spec.filters]
    positions = [*report.spec.columns, *(each.column for each in report.spec.filters)]
    if [now.get(position) for position in positions] != asked + filtered:
        raise SourceChanged(
            f"The columns of {dataset.id} have changed since this report was asked for. Run it again."
        )
