"""Reports that are past their time go, and leave nothing behind."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import ColumnElement, Table, func, insert, select, update

from app import hints
from app.database import Database, now
from app.errors import StateUnavailable
from app.export_store import ExportStore
from app.hints import Hints
from app.leases import Leases
from app.model import Chunk, Lease, Spec, Status
from app.report_store import ReportStore
from app.retention import Retention
from app.schema import chunk as chunks
from app.schema import report as reports
from app.schema import session, sign_in_token, summary
from app.sessions import Sessions
from app.spool import Spool

Start = Callable[..., Awaitable[Lease]]
_SPEC = Spec((0, 3))


@pytest.fixture
def wake() -> Hints:
    return Hints()


@pytest.fixture
def retention(database: Database, wake: Hints) -> Retention:
    return Retention(database, Sessions(database, 30), ExportStore(database), wake)


async def _count(database: Database, table: Table, *where: ColumnElement[bool]) -> int:
    async with database.read() as connection:
        query = select(func.count()).select_from(table).where(*where)
        return int((await connection.execute(query)).scalar_one())


async def _over(database: Database, start: Start, count: int = 3, size: int = 10) -> str:
    """A cancelled report with so many chunks."""
    lease = await start()
    spool = Spool(database)
    for number in range(1, count + 1):
        await spool.append(lease, Chunk(1, number, number, 1, bytes(size)), b"key", 8)
    await Leases(database).finish(lease, Status.CANCELLED)
    return lease.report


async def _set_time(database: Database, report_id: str, expires_at: object) -> None:
    async with database.write() as connection:
        await connection.execute(
            update(reports).where(reports.c.id == report_id).values(expires_at=expires_at)
        )


async def test_a_report_past_its_time_goes_with_all_its_chunks_and_its_summary(
    database: Database, start: Start, retention: Retention
) -> None:
    gone = await _over(database, start, count=150)
    async with database.write() as connection:
        old = {"report": gone, "generation": 0, "number": 1, "first_row": 1, "rows": 1}
        await connection.execute(insert(chunks).values(**old, codec="x", payload=b"left over"))
        await connection.execute(insert(summary).values(report=gone, generation=1, payload=b""))
    await _set_time(database, gone, now())
    await retention.sweep()
    assert [await _count(database, table) for table in (reports, chunks, summary)] == [0, 0, 0]


async def test_reports_that_are_kept_not_due_or_not_over_stay(
    database: Database, start: Start, retention: Retention
) -> None:
    kept, later = await _over(database, start), await _over(database, start)
    running = (await start()).report
    await _set_time(database, kept, None)
    await _set_time(database, later, now() + 60)
    await _set_time(database, running, now() - 60)
    await retention.sweep()
    assert await _count(database, reports) == 3
    assert await _count(database, chunks) == 6


async def test_large_chunks_go_in_smaller_steps(
    database: Database, start: Start, retention: Retention
) -> None:
    report_id = await _over(database, start, count=5, size=3 * 2**20)
    await _set_time(database, report_id, now())
    for left in (4, 3, 2, 1, 0):
        assert await retention._remove_chunks(report_id)
        assert await _count(database, chunks) == left
    assert not await retention._remove_chunks(report_id)


async def test_two_servers_may_sweep_at_once(
    database: Database, node_2: Database, start: Start, retention: Retention
) -> None:
    for _ in range(3):
        await _set_time(database, await _over(database, start, count=100), now())
    other = Retention(node_2, Sessions(node_2, 30), ExportStore(node_2), Hints())
    await asyncio.gather(retention.sweep(), other.sweep())
    assert [await _count(database, table) for table in (reports, chunks)] == [0, 0]


async def test_a_report_may_go_that_another_one_continues(
    database: Database, store: ReportStore, start: Start, retention: Retention
) -> None:
    earlier = await _over(database, start)
    await store.create("later", "ann", 5, "noise.recordings", _SPEC, (), continues=earlier)
    await store.expire(earlier)
    await retention.sweep()
    report = await store.get("later")
    assert report is not None
    assert report.continues == earlier


async def test_the_file_gives_its_space_back(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database = await Database.open(str(path))
    store = ReportStore(database)

    async def start() -> Lease:
        report_id = f"report-{await _count(database, reports)}"
        await store.create(report_id, "ann", 5, "noise.recordings", _SPEC, ())
        report = await Leases(database).claim("node-1", 8)
        assert report is not None
        return Lease(report.id, report.epoch)

    gone = await _over(database, start, count=400, size=50_000)
    stays = await _over(database, start, count=2, size=50_000)  # at the end of the file: it has to move
    before = path.stat().st_size
    assert before > 10e6  # the rest is in the log still
    await store.expire(gone)
    await Retention(database, Sessions(database, 30), ExportStore(database), Hints()).sweep()
    assert path.stat().st_size < 1e6
    assert len(await Spool(database).read(stays, 1, 0, 10)) == 2
    # What is written next starts the log anew, and cuts it.
    await store.expire(stays)
    assert path.with_name("state.db-wal").stat().st_size <= 8 * 2**20
    await database.close()


async def test_expired_sessions_and_spent_links_go_and_the_others_stay(
    database: Database, retention: Retention
) -> None:
    sessions = Sessions(database, 30)
    key = await sessions.redeem(await sessions.issue_link("ann"))
    unused = await sessions.issue_link("ann")
    old = {"account": "ben", "created_at": 0, "expires_at": 1}
    async with database.write() as connection:
        await connection.execute(insert(session).values(id_hash="old", **old))
        await connection.execute(insert(sign_in_token).values(token_hash="old", **old))
    await retention.sweep()
    assert [await _count(database, table) for table in (session, sign_in_token)] == [1, 1]
    assert key is not None
    assert await sessions.account(key) == "ann"
    assert await sessions.redeem(unused) is not None


# The service


@asynccontextmanager
async def _serving(retention: Retention) -> AsyncIterator[None]:
    serving = asyncio.create_task(retention.serve())
    try:
        yield
    finally:
        retention.stop()
        async with asyncio.timeout(20):
            await serving


async def _until_gone(database: Database) -> None:
    async with asyncio.timeout(30):
        while await _count(database, reports):  # noqa: ASYNC110 - as an operator would
            await asyncio.sleep(0.02)


async def test_what_is_due_goes_at_the_start_and_what_is_deleted_goes_at_once(
    database: Database, store: ReportStore, start: Start, retention: Retention, wake: Hints
) -> None:
    await store.expire(await _over(database, start))
    async with _serving(retention):
        await _until_gone(database)
        await store.expire(await _over(database, start))
        wake.notify(hints.EXPIRED)
        await _until_gone(database)


async def test_a_sweep_that_fails_is_told_once_and_tried_again(
    database: Database,
    store: ReportStore,
    start: Start,
    wake: Hints,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Away(Sessions):
        failures = 0

        async def sweep(self) -> None:
            if self.failures < 3:
                self.failures += 1
                raise StateUnavailable("The state database does not answer.")

    away = Away(database, 30)
    await store.expire(await _over(database, start))
    with caplog.at_level(logging.WARNING):
        async with _serving(Retention(database, away, ExportStore(database), wake)):
            async with asyncio.timeout(30):
                while away.failures < 3:
                    wake.notify(hints.EXPIRED)
                    await asyncio.sleep(0.02)
            wake.notify(hints.EXPIRED)
            await _until_gone(database)
    assert [record.getMessage() for record in caplog.records] == [
        "removing old reports failed; trying again: The state database does not answer."
    ]


async def test_a_stop_ends_a_sweep_after_its_step_and_the_next_start_goes_on(
    database: Database, store: ReportStore, start: Start, retention: Retention
) -> None:
    await store.expire(await _over(database, start, count=200))
    retention._stopping.set()
    await retention.sweep()
    assert await _count(database, chunks) == 200 - 64
    assert await _count(database, reports) == 1
    await Retention(database, Sessions(database, 30), ExportStore(database), Hints()).sweep()
    assert await _count(database, reports) == 0


# What people do


async def test_a_deleted_report_is_there_for_nobody(
    database: Database, store: ReportStore, start: Start
) -> None:
    report_id = await _over(database, start)
    assert await store.expire(report_id)
    assert await store.get(report_id) is None
    assert await store.latest("ann") == []
    assert not await store.expire(report_id)
    assert await store.keep(report_id, None) is None


async def test_a_report_that_is_not_over_cannot_be_deleted(
    database: Database, store: ReportStore, start: Start
) -> None:
    lease = await start()
    assert not await store.expire(lease.report)
    await Leases(database).finish(lease, Status.DONE)
    assert await store.expire(lease.report)


async def test_a_report_is_kept_and_not_kept(database: Database, store: ReportStore, start: Start) -> None:
    report_id = await _over(database, start)
    kept = await store.keep(report_id, None)
    assert kept is not None
    assert kept.expires_at is None
    until = await store.keep(report_id, 2)
    assert until is not None
    assert until.expires_at is not None
    assert abs(until.expires_at - until.read_at - 2 * 86_400) < 1
