"""A source in which a test decides what happens where, and a house in which reports on it run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from itertools import pairwise

from app.catalog import Catalog
from app.codec import ChunkEncoder, decode
from app.database import Database
from app.errors import SourceInterrupted, SourceQueryFailed
from app.hints import Hints
from app.leases import Leases
from app.model import Batch, Column, Dataset, Filter, Kind, Report, Row, Skipped, Spec
from app.report_store import ReportStore
from app.run_context import RunContext
from app.runner import Run
from app.settings import Settings
from app.source import Source
from app.spool import Spool
from app.takeover import Takeover

COLUMNS = (Column("id", Kind.INTEGER, "INTEGER"), Column("name", Kind.TEXT, "TEXT"))
EVERYTHING = 10**9


def numbers(first: int, last: int) -> list[Row]:
    return [(number, f"row {number}") for number in range(first, last + 1)]


class Numbers:
    """A source of the rows 1 to `last`, in which a test decides what happens where."""

    name = "fake"

    def __init__(self, last: int = EVERYTHING, *, keyed: bool = True) -> None:
        self.last = last
        self.keyed = keyed
        self.columns = COLUMNS
        self.holds_after = EVERYTHING  # after these rows a read waits until it is interrupted or `go` is set
        self.go = asyncio.Event()
        self.fails_after = EVERYTHING
        self.error: Exception = SourceQueryFailed("The query failed at row 2,500.")
        self.failures = 0  # so many reads fail with `error` after `fails_after`; 0: all
        self.total: int | Exception | None = last
        self.identities: list[bytes] = []  # of the databases that the readers open, in turn
        self.advice: tuple[str, ...] = ()
        self.was_changed = False
        self.opening = asyncio.Event()
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.opened: list[bytes | None] = []  # the cursors
        self.former_was_open: list[bool] = []
        self.readers: list[NumbersReader] = []

    async def discover(self) -> tuple[list[Dataset], list[Skipped]]:
        key = ("id",) if self.keyed else ()
        return [Dataset("fake.numbers", "fake", "numbers", "table", self.columns, key)], []

    async def describe_query(self, name: str, sql: str) -> Dataset:
        raise NotImplementedError

    async def preview(self, dataset: Dataset, limit: int = 8, filters: tuple[Filter, ...] = ()) -> list[Row]:
        return numbers(1, min(limit, self.last))

    async def count(
        self, dataset: Dataset, seconds: float = 2.0, filters: tuple[Filter, ...] = ()
    ) -> int | None:
        if isinstance(self.total, Exception):
            raise self.total
        return self.total

    async def advise(
        self, dataset: Dataset, columns: tuple[int, ...], filters: tuple[Filter, ...] = ()
    ) -> tuple[str, ...]:
        return self.advice

    async def open_reader(
        self,
        dataset: Dataset,
        columns: tuple[int, ...],
        cursor: bytes | None,
        chunk_rows: int,
        filters: tuple[Filter, ...] = (),
    ) -> "NumbersReader":
        self.opening.set()
        await self.may_open.wait()
        self.opened.append(cursor)
        if self.readers:
            self.former_was_open.append(not self.readers[-1].closed)
        self.readers.append(NumbersReader(self, int(cursor or 0), chunk_rows))
        return self.readers[-1]


class NumbersReader:
    columns = COLUMNS

    def __init__(self, source: Numbers, position: int, chunk_rows: int) -> None:
        self._source, self._position, self._chunk_rows = source, position, chunk_rows
        self.identity = source.identities.pop(0) if source.identities else b"the one database"
        self._brake = asyncio.Event()
        self.closed = False

    async def read(self) -> Batch | None:
        source, first = self._source, self._position + 1
        last = min(self._position + self._chunk_rows, source.last)
        await asyncio.sleep(0)
        if first > source.holds_after:
            await self._hold()
        if self._brake.is_set():
            raise SourceInterrupted("Reading was stopped.")
        if last > source.fails_after:
            source.failures -= 1
            if not source.failures:
                source.fails_after = EVERYTHING
            raise source.error
        if first > last:
            return None
        encoder = ChunkEncoder()
        for row in numbers(first, last):
            encoder.add(row)
        self._position = last
        return Batch(encoder.rows, encoder.finish(), str(last).encode() if source.keyed else None)

    async def _hold(self) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._source.go, self._brake)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()

    def interrupt(self) -> None:
        self._brake.set()

    async def changed(self) -> bool:
        return self._source.was_changed

    async def close(self) -> None:
        self.closed = True


class House:
    """What a run works with, and what it left behind."""

    def __init__(self, database: Database, *sources: Source, **settings: object) -> None:
        self.database = database
        self.store, self.leases = ReportStore(database), Leases(database)
        self.spool, self.takeover, self.wake = Spool(database), Takeover(database), Hints()
        self.catalog = Catalog(sources)
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self._asked = 0

    @property
    def context(self) -> RunContext:
        return RunContext(
            self.store, self.leases, self.spool, self.takeover, self.catalog, self.wake, self.settings
        )

    async def claimed(self, dataset: str = "fake.numbers", columns: tuple[int, ...] = ()) -> Report:
        """A report that was asked for and claimed by `node-1`."""
        found = await self.catalog.dataset(dataset)
        chosen = columns or tuple(range(len(found.columns)))
        self._asked += 1
        await self.store.create(
            f"report-{self._asked}",
            "ann",
            5,
            dataset,
            Spec(chosen),
            tuple(found.columns[position] for position in chosen),
        )
        return await self.claim("node-1")

    async def claim(self, node: str) -> Report:
        report = await self.leases.claim(node, 8)
        assert report is not None
        return report

    async def run(self, dataset: str = "fake.numbers", columns: tuple[int, ...] = ()) -> Report:
        """A report after its whole life."""
        report = await self.claimed(dataset, columns)
        await within(Run(report, self.context).execute())
        return await self.now(report)

    @asynccontextmanager
    async def held(self, rows: int) -> AsyncIterator[tuple[Run, Report]]:
        """A run that holds after these rows; it has to end in the body."""
        report = await self.claimed()
        run = Run(report, self.context)
        task = asyncio.create_task(run.execute())
        await self.until(report, rows)
        try:
            yield run, report
            await within(task)
        finally:
            task.cancel()

    async def until(self, report: Report, rows: int) -> None:
        async with asyncio.timeout(20):
            while (await self.now(report)).rows < rows:  # noqa: ASYNC110 - as a viewer without hints would
                await asyncio.sleep(0.005)

    async def now(self, report: Report) -> Report:
        found = await self.store.get(report.id)
        assert found is not None
        return found

    async def rows(self, report: Report) -> list[Row]:
        """All rows in the spool; their chunks are numbered without a gap."""
        report = await self.now(report)
        chunks = await self.spool.read(report.id, report.generation, 0, 10_000)
        assert [chunk.number for chunk in chunks] == list(range(1, report.chunks + 1))
        if chunks:
            assert chunks[0].first_row == 1
        assert all(after.first_row == before.first_row + before.rows for before, after in pairwise(chunks))
        rows = [row for chunk in chunks for row in decode(chunk.payload)]
        assert len(rows) == report.rows == sum(chunk.rows for chunk in chunks)
        return rows


async def within(work: Awaitable[None], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        await work
