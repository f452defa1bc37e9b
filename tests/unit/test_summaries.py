"""The summaries of reports on both state databases: growing with the spool, shared, and stored at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, select, update

from app.codec import ChunkEncoder
from app.database import Database
from app.figures import Summary
from app.leases import Leases
from app.model import Chunk, Lease, Report, Row, Status
from app.report_store import ReportStore
from app.schema import chunk as chunks
from app.schema import report as reports
from app.schema import summary as stored_summaries
from app.spool import Spool
from app.summaries import Summaries
from app.summary import SummaryBuilder

Start = Callable[..., Awaitable[Lease]]
LONG = 30.0  # seconds; more than any test's chunks take


class CountingSpool(Spool):
    """Tells how many chunks were read from it."""

    read_chunks = 0

    async def read(self, report_id: str, generation: int, after: int, limit: int) -> list[Chunk]:
        found = await super().read(report_id, generation, after, limit)
        self.read_chunks += len(found)
        return found


@pytest.fixture
def spool(database: Database) -> CountingSpool:
    return CountingSpool(database)


@pytest.fixture
def summaries(database: Database, spool: CountingSpool) -> Summaries:
    return Summaries(database, spool)


def rows(number: int) -> list[Row]:
    return [(number * 10 + row, f"text {row}") for row in range(10)]


def expected(numbers: range, generation: int = 1) -> Summary:
    builder = SummaryBuilder(generation, 2)
    for number in numbers:
        builder.add(rows(number))
    return builder.summary()


Fill = Callable[[Lease, range], Awaitable[Report]]


@pytest.fixture
def fill(store: ReportStore, spool: CountingSpool) -> Fill:
    """Appends chunks; the report after it."""

    async def fill(lease: Lease, numbers: range, generation: int = 1) -> Report:
        for number in numbers:
            encoder = ChunkEncoder()
            for row in rows(number):
                encoder.add(row)
            chunk = Chunk(generation, number, (number - 1) * 10 + 1, encoder.rows, encoder.finish())
            await spool.append(lease, chunk, None, 8)
        return await _report(store, lease)

    return fill


async def _report(store: ReportStore, lease: Lease) -> Report:
    report = await store.get(lease.report)
    assert report is not None
    return report


async def _finish(store: ReportStore, lease: Lease, status: Status = Status.DONE) -> Report:
    assert await Leases(store._database).finish(lease, status)
    return await _report(store, lease)


async def _stored(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(stored_summaries))).scalar_one()


async def test_a_summary_grows_with_the_report_and_reads_each_chunk_once(
    summaries: Summaries, spool: CountingSpool, start: Start, fill: Fill, store: ReportStore
) -> None:
    lease = await start()
    assert await summaries.of(await _report(store, lease), LONG) == expected(range(0))
    for end in (2, 3, 12, 13):
        report = await fill(lease, range((await _report(store, lease)).next_chunk, end))
        assert await summaries.of(report, LONG) == expected(range(1, end))
    assert spool.read_chunks == 12
    assert await summaries.of(report, LONG) == expected(range(1, 13))
    assert spool.read_chunks == 12


async def test_a_complete_summary_is_stored_and_no_chunk_is_read_for_it_again(
    summaries: Summaries,
    spool: CountingSpool,
    database: Database,
    start: Start,
    fill: Fill,
    store: ReportStore,
) -> None:
    lease = await start()
    report = await fill(lease, range(1, 8))
    assert await summaries.of(report, LONG) == expected(range(1, 8))
    assert await _stored(database) == 0
    report = await _finish(store, lease, Status.CANCELLED)
    assert await summaries.of(report, LONG) == expected(range(1, 8))
    assert await _stored(database) == 1
    spool.read_chunks = 0
    async with database.write() as connection:
        await connection.execute(delete(chunks))
    assert await summaries.of(report, LONG) == expected(range(1, 8))
    assert await Summaries(database, spool).of(report, LONG) == expected(range(1, 8))
    assert spool.read_chunks == 0


async def test_a_report_without_rows_has_a_summary(
    summaries: Summaries, start: Start, store: ReportStore
) -> None:
    report = await _finish(store, await start())
    assert await summaries.of(report, LONG) == expected(range(0))


async def test_a_new_generation_starts_anew(
    summaries: Summaries, start: Start, fill: Fill, store: ReportStore, leases: Leases, database: Database
) -> None:
    lease = await start()
    before = await fill(lease, range(1, 6))
    await summaries.of(before, LONG)
    generation = await leases.start_generation(lease, "It was read again.")
    report = await _report(store, lease)
    assert await summaries.of(report, LONG) == expected(range(0), generation)
    report = await fill(lease, range(1, 3), generation)  # type: ignore[call-arg]
    assert await summaries.of(report, LONG) == expected(range(1, 3), generation)
    # Who looked the report up before gets the newer summary, and cannot end the work on it.
    assert await summaries.of(replace(before, status=Status.DONE), LONG) == expected(range(1, 3), generation)
    assert await _stored(database) == 0
    report = await _finish(store, lease)
    assert await summaries.of(report, LONG) == expected(range(1, 3), generation)
    assert await Summaries(database, Spool(database)).of(report, LONG) == expected(range(1, 3), generation)


async def test_the_work_of_a_look_is_limited_and_goes_on_at_the_next(
    summaries: Summaries, spool: CountingSpool, start: Start, fill: Fill, store: ReportStore
) -> None:
    lease = await start()
    await fill(lease, range(1, 30))
    report = await _finish(store, lease)
    seen = [0]
    while seen[-1] < report.chunks:
        summary = await summaries.of(report, 0)
        assert summary.chunks == seen[-1] + min(4, report.chunks - seen[-1])
        assert summary == expected(range(1, summary.chunks + 1))
        seen.append(summary.chunks)
    assert spool.read_chunks == 29


async def test_viewers_share_the_work(
    summaries: Summaries, spool: CountingSpool, start: Start, fill: Fill
) -> None:
    report = await fill(await start(), range(1, 20))
    found = await asyncio.gather(*(summaries.of(report, LONG) for _ in range(10)))
    assert found == [expected(range(1, 20))] * 10
    assert spool.read_chunks == 19


async def test_a_viewer_who_leaves_in_the_middle_changes_nothing_for_the_next(
    summaries: Summaries, spool: CountingSpool, start: Start, fill: Fill
) -> None:
    report = await fill(await start(), range(1, 20))
    for turn in range(20):
        task = asyncio.create_task(summaries.of(report, LONG))
        await asyncio.sleep(turn / 5000)
        task.cancel()
    assert await summaries.of(report, LONG) == expected(range(1, 20))
    assert spool.read_chunks == 19


async def test_few_reports_are_kept_in_memory(
    summaries: Summaries,
    spool: CountingSpool,
    database: Database,
    start: Start,
    fill: Fill,
    store: ReportStore,
) -> None:
    finished = []
    for _ in range(10):
        lease = await start()
        await fill(lease, range(1, 2))
        finished.append(await _finish(store, lease))
    for report in finished:
        assert await summaries.of(report, LONG) == expected(range(1, 2))
    assert await _stored(database) == 10
    async with database.write() as connection:
        await connection.execute(delete(stored_summaries))
    spool.read_chunks = 0
    await summaries.of(finished[-1], LONG)
    assert spool.read_chunks == 0
    await summaries.of(finished[0], LONG)
    assert spool.read_chunks == 1


async def test_two_nodes_may_store_the_same_summary(
    database: Database, node_2: Database, start: Start, fill: Fill, store: ReportStore
) -> None:
    lease = await start()
    await fill(lease, range(1, 5))
    report = await _finish(store, lease)
    nodes = [Summaries(node, Spool(node)) for node in (database, node_2)]
    found = await asyncio.gather(*(node.of(report, LONG) for node in nodes))
    assert found == [expected(range(1, 5))] * 2
    assert await _stored(database) == 1


async def test_what_another_version_stored_is_made_again(
    database: Database, start: Start, fill: Fill, store: ReportStore
) -> None:
    lease = await start()
    await fill(lease, range(1, 5))
    report = await _finish(store, lease)
    await Summaries(database, Spool(database)).of(report, LONG)
    good = await _payload(database)
    for payload in (b"", b"\xc1", b"\x80", b"\x01" + good):
        async with database.write() as connection:
            await connection.execute(update(stored_summaries).values(payload=payload))
        found = await Summaries(database, Spool(database)).of(report, LONG)
        assert found == expected(range(1, 5))
        assert await _payload(database) == good


async def _payload(database: Database) -> bytes:
    async with database.read() as connection:
        payload: bytes = (await connection.execute(select(stored_summaries.c.payload))).scalar_one()
    return payload


async def test_deleting_a_report_deletes_its_summary_and_a_late_viewer_stores_none(
    summaries: Summaries, database: Database, start: Start, fill: Fill, store: ReportStore
) -> None:
    lease = await start()
    report = await fill(lease, range(1, 5))
    final = await _finish(store, lease)
    await Summaries(database, Spool(database)).of(final, LONG)
    assert await _stored(database) == 1
    await summaries.of(report, LONG)
    async with database.write() as connection:
        await connection.execute(delete(reports))
    assert await _stored(database) == 0
    assert await summaries.of(final, LONG) == expected(range(1, 5))
    assert await _stored(database) == 0
