import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from runs import EVERYTHING, House, Numbers, numbers, within

from app import hints
from app.database import Database
from app.errors import SourceQueryFailed, StateUnavailable
from app.leases import Leases
from app.model import Chunk, Lease, Row, Status
from app.runner import Run, Stop
from app.source import Source
from app.source.sqlite import SqliteSource
from app.spool import Spool

Sizes = Callable[..., Awaitable[list[tuple[int, int]]]]

Make = Callable[..., House]


@pytest.fixture
def house(database: Database) -> Make:
    def make(*sources: Source, **settings: object) -> House:
        return House(database, *sources, **settings)

    return make


@pytest.fixture
def table(tmp_path: Path) -> SqliteSource:
    """2,345 rows of a real file, in the order of their key."""
    with closing(sqlite3.connect(tmp_path / "real.db")) as connection:
        connection.execute("CREATE TABLE t (name TEXT, id INTEGER PRIMARY KEY, price)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?)",
            [(f"näme {n}\0", n * 3, None if n % 7 else n / 8) for n in range(2345, 0, -1)],
        )
        connection.execute("CREATE TABLE empty (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE VIEW v AS SELECT price, id FROM t")
        connection.commit()
    return SqliteSource("real", tmp_path / "real.db")


def stored(tmp_path: Path, sql: str) -> list[Row]:
    with closing(sqlite3.connect(tmp_path / "real.db")) as connection:
        return connection.execute(sql).fetchall()


async def test_a_finished_report_holds_the_rows_of_the_table(
    house: Make, table: SqliteSource, tmp_path: Path, sizes: Sizes
) -> None:
    home = house(table)
    report = await home.run("real.t")
    assert await home.rows(report) == stored(tmp_path, "SELECT name, id, price FROM t ORDER BY id")
    assert (report.status, report.error, report.error_code, report.notes) == (Status.DONE, None, None, ())
    assert (report.rows, report.chunks, report.generation) == (2345, 3, 1)
    assert (report.total, report.total_kind, report.percent) == (2345, "exact", 100)
    assert (report.slot, report.lease_owner, report.lease_until) == (None, None, 0)
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.started_at <= report.finished_at
    assert await sizes(home.spool, report.id, 1) == [(1, 1000), (2, 1000), (3, 345)]


async def test_a_view_is_read_by_one_statement(house: Make, table: SqliteSource, tmp_path: Path) -> None:
    home = house(table)
    report = await home.run("real.v")
    assert await home.rows(report) == stored(tmp_path, "SELECT price, id FROM v")
    assert report.cursor is None


async def test_only_the_chosen_columns_are_read_in_the_chosen_order(
    house: Make, table: SqliteSource, tmp_path: Path
) -> None:
    home = house(table, chunk_rows=100)
    report = await home.run("real.t", (2, 1, 2))
    assert await home.rows(report) == stored(tmp_path, "SELECT price, id, price FROM t ORDER BY id")
    assert report.chunks == 24


async def test_an_empty_source_is_done_with_no_rows_of_none(house: Make, table: SqliteSource) -> None:
    home = house(table)
    report = await home.run("real.empty")
    assert (report.status, report.rows, report.chunks) == (Status.DONE, 0, 0)
    assert (report.total, report.total_kind, report.percent) == (0, "exact", 100)


async def test_the_widths_are_set_with_the_first_chunk(house: Make, table: SqliteSource) -> None:
    home = house(table, chunk_rows=10)
    report = await home.run("real.t")
    name, key, price = report.columns
    assert all(column.width > 0 for column in report.columns)
    assert (name.right, key.right, price.right) == (False, True, True)
    assert [column.name for column in report.columns] == ["name", "id", "price"]


async def test_the_widths_are_there_before_the_first_chunk_is(house: Make) -> None:
    source = Numbers()
    source.holds_after = 1000
    home = house(source)
    async with home.held(rows=1000) as (run, report):
        assert all(column.width for column in (await home.now(report)).columns)
        run.stop(Stop.SHUTDOWN)


async def test_a_report_that_is_cancelled_in_the_middle_keeps_its_rows(house: Make) -> None:
    source = Numbers()
    source.holds_after = 2000
    home = house(source, lease_seconds=600)  # so that the hint tells it, not a heartbeat
    async with home.held(rows=2000) as (_, report):
        await home.store.request_cancellation(report.id)
        home.wake.notify(hints.cancellation(report.id))
    report = await home.now(report)
    assert (report.status, report.error, report.slot) == (Status.CANCELLED, None, None)
    assert await home.rows(report) == numbers(1, 2000)
    assert source.readers[0].closed


async def test_a_cancellation_by_another_process_is_seen_with_the_next_heartbeat(house: Make) -> None:
    source = Numbers()
    source.holds_after = 2000
    home = house(source, lease_seconds=0.4)
    async with home.held(rows=2000) as (_, report):
        await home.store.request_cancellation(report.id)
    assert (await home.now(report)).status is Status.CANCELLED


async def test_a_cancellation_by_another_process_is_seen_with_the_next_chunk(house: Make) -> None:
    source = Numbers()
    home = house(source, chunk_rows=10, lease_seconds=600)
    report = await home.claimed()
    await home.store.request_cancellation(report.id)
    await within(Run(report, home.context).execute())
    report = await home.now(report)
    assert (report.status, report.rows) == (Status.CANCELLED, 10)


async def test_a_cancellation_while_the_source_is_opened_stops_it_before_the_first_row(house: Make) -> None:
    source = Numbers()
    source.may_open.clear()
    source.holds_after = 0
    home = house(source)
    report = await home.claimed()
    run = Run(report, home.context)
    task = asyncio.create_task(run.execute())
    await source.opening.wait()
    run.stop(Stop.CANCELLED)
    source.may_open.set()
    await within(task)
    report = await home.now(report)
    assert (report.status, report.rows) == (Status.CANCELLED, 0)
    assert source.readers[0].closed


async def test_the_first_reason_to_stop_is_the_one_that_counts(house: Make) -> None:
    source = Numbers()
    source.holds_after = 1000
    home = house(source)
    async with home.held(rows=1000) as (run, report):
        run.stop(Stop.CANCELLED)
        run.stop(Stop.SHUTDOWN)
    assert (await home.now(report)).status is Status.CANCELLED


async def test_the_time_limit_ends_a_report_with_its_rows_and_a_sentence(house: Make) -> None:
    source = Numbers()
    source.holds_after = 2000
    source.advice = ("An index on n would help.",)
    home = house(source, report_timeout=1.0)
    report = await home.run()
    assert (report.status, report.error_code) == (Status.TIMED_OUT, "timed-out")
    assert report.error is not None
    assert report.error == (
        "This report ran for 1.0 s, which is the limit. The rows so far are kept. "
        "Continue reads on from there. An index on n would help."
    )
    assert await home.rows(report) == numbers(1, report.rows)
    assert report.rows == 2000
    assert source.readers[0].closed


async def test_without_advice_of_the_source_a_filter_and_fewer_columns_are_advised(house: Make) -> None:
    source = Numbers()
    source.holds_after = 0
    home = house(source, report_timeout=0.3)
    report = await home.run()
    assert (report.error or "").endswith(" A filter gives fewer rows, and fewer columns are read faster.")
    report = await home.run(columns=(0,))
    assert (report.error or "").endswith(" A filter gives fewer rows.")


async def test_a_source_that_fails_at_row_2500_leaves_two_chunks_and_its_sentence(house: Make) -> None:
    source = Numbers()
    source.fails_after = 2500
    home = house(source)
    report = await home.run()
    assert (report.status, report.error_code) == (Status.FAILED, "source-query")
    assert report.error == "The query failed at row 2,500."
    assert await home.rows(report) == numbers(1, 2000)
    assert (report.slot, report.chunks) == (None, 2)
    assert source.readers[0].closed


async def test_a_dataset_that_is_gone_fails_the_report(house: Make) -> None:
    home = house(Numbers())
    report = replace(await home.claimed(), dataset="fake.gone")
    await within(Run(report, home.context).execute())
    report = await home.now(report)
    assert (report.status, report.error_code) == (Status.FAILED, "not-found")


async def test_columns_that_changed_since_they_were_asked_for_fail_the_report(
    house: Make, table: SqliteSource, tmp_path: Path
) -> None:
    report = await house(table).claimed("real.t", (1, 2))
    with closing(sqlite3.connect(tmp_path / "real.db")) as owner:
        owner.execute("ALTER TABLE t DROP COLUMN name")
        owner.execute("ALTER TABLE t ADD COLUMN last")
    later = house(table)
    await within(Run(report, later.context).execute())
    report = await later.now(report)
    assert (report.status, report.error_code, report.rows) == (Status.FAILED, "source-changed", 0)
    assert "Run it again" in (report.error or "")


async def test_an_unexpected_error_is_logged_and_told_without_a_traceback(
    house: Make, caplog: pytest.LogCaptureFixture
) -> None:
    source = Numbers()
    source.fails_after, source.error = 1500, ZeroDivisionError("secret: /etc/passwd")
    home = house(source)
    report = await home.run()
    assert (report.status, report.error_code) == (Status.FAILED, "internal")
    assert report.error is not None
    assert report.id in report.error
    for inner in ("Traceback", "ZeroDivision", "secret"):
        assert inner not in report.error
    assert await home.rows(report) == numbers(1, 1000)
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert report.id in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert source.readers[0].closed


async def test_who_lost_the_lease_writes_nothing_more(house: Make) -> None:
    source = Numbers(5000)
    source.holds_after = 2000
    home = house(source, lease_seconds=600)  # so that the append finds out, not a heartbeat
    async with home.held(rows=2000) as (_, report):
        await home.leases.release(Lease(report.id, report.epoch))
        taken = await home.claim("node-2")
        source.go.set()
    after = await home.now(report)
    assert after == replace(taken, read_at=after.read_at)
    assert (after.status, after.rows, after.lease_owner) == (Status.RUNNING, 2000, "node-2")
    assert source.readers[0].closed


async def test_who_lost_the_lease_notices_by_its_heartbeat_and_stops_reading(house: Make) -> None:
    source = Numbers()
    source.holds_after = 2000
    home = house(source, lease_seconds=0.4)
    async with home.held(rows=2000) as (_, report):
        await home.leases.release(Lease(report.id, report.epoch))
        taken = await home.leases.claim("node-2", 600)
    assert taken is not None
    after = await home.now(report)
    assert (after.status, after.epoch, after.lease_owner) == (Status.RUNNING, taken.epoch, "node-2")


async def test_a_slow_source_keeps_its_lease(house: Make) -> None:
    source = Numbers(3000)
    source.holds_after = 1000
    home = house(source, lease_seconds=2)
    async with home.held(rows=1000) as (_, report):
        for _ in range(10):
            await asyncio.sleep(0.3)
            assert await home.leases.claim("node-2", 8) is None
        source.go.set()
    assert await home.rows(report) == numbers(1, 3000)


async def test_after_a_shutdown_the_next_run_continues_without_a_gap_or_a_repeat(house: Make) -> None:
    source = Numbers(3500)
    source.holds_after = 2000
    home = house(source)
    async with home.held(rows=2000) as (run, report):
        run.stop(Stop.SHUTDOWN)
    left = await home.now(report)
    assert (left.status, left.lease_until, left.attempts) == (Status.RUNNING, 0, 0)
    assert (left.rows, left.total) == (2000, 3500)
    source.holds_after = EVERYTHING
    await within(Run(await home.claim("node-2"), home.context).execute())
    report = await home.now(report)
    assert (report.status, report.generation, report.chunks) == (Status.DONE, 1, 4)
    assert await home.rows(report) == numbers(1, 3500)
    assert source.opened == [None, b"2000"]


async def test_many_interruptions_of_a_real_table_still_give_every_row_once(
    house: Make, table: SqliteSource, tmp_path: Path
) -> None:
    home = house(table, chunk_rows=50)
    report = await home.claimed("real.t")
    runs = 0
    while not (await home.now(report)).status.final:
        current = report if not runs else await home.claim(f"node-{runs}")
        run = Run(current, home.context)
        task = asyncio.create_task(run.execute())
        if runs < 4:
            await home.until(report, current.rows + 50)
        else:
            await asyncio.wait([task])
        run.stop(Stop.SHUTDOWN)
        await within(task)
        runs += 1
    assert runs > 1
    assert await home.rows(report) == stored(tmp_path, "SELECT name, id, price FROM t ORDER BY id")
    assert (await home.now(report)).generation == 1


async def test_after_a_crash_a_source_without_a_key_is_read_again_in_a_new_generation(
    house: Make, sizes: Sizes
) -> None:
    source = Numbers(2500, keyed=False)
    source.holds_after = 2000
    home = house(source)
    async with home.held(rows=2000) as (run, report):
        run.stop(Stop.SHUTDOWN)
    source.holds_after = EVERYTHING
    await within(Run(await home.claim("node-2"), home.context).execute())
    report = await home.now(report)
    assert (report.status, report.generation, report.chunks) == (Status.DONE, 2, 3)
    assert await home.rows(report) == numbers(1, 2500)
    assert await sizes(home.spool, report.id, 1) == []
    assert source.opened == [None, None]


async def test_a_source_without_a_key_that_gave_nothing_yet_stays_in_its_generation(house: Make) -> None:
    source = Numbers(2500, keyed=False)
    source.may_open.clear()
    home = house(source)
    report = await home.claimed()
    run = Run(report, home.context)
    task = asyncio.create_task(run.execute())
    await source.opening.wait()
    run.stop(Stop.SHUTDOWN)
    source.may_open.set()
    await within(task)
    await within(Run(await home.claim("node-2"), home.context).execute())
    report = await home.now(report)
    assert (report.status, report.generation, report.rows) == (Status.DONE, 1, 2500)


async def test_the_total_is_known_while_the_report_runs(house: Make) -> None:
    source = Numbers()
    source.holds_after, source.total = 1000, 4000
    home = house(source)
    async with home.held(rows=1000) as (run, report):
        async with asyncio.timeout(10):
            while (running := await home.now(report)).total_kind == "unknown":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert (running.total, running.total_kind, running.percent) == (4000, "exact", 25)
        run.stop(Stop.CANCELLED)


async def test_a_total_that_takes_too_long_is_uncounted_until_the_report_is_done(house: Make) -> None:
    source = Numbers(1500)
    source.holds_after, source.total = 1000, None
    home = house(source)
    async with home.held(rows=1000) as (_, report):
        async with asyncio.timeout(10):
            while (running := await home.now(report)).total_kind == "unknown":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert (running.total, running.total_kind, running.percent) == (None, "uncounted", None)
        source.go.set()
    report = await home.now(report)
    assert (report.total, report.total_kind) == (1500, "exact")


@pytest.mark.parametrize("error", [SourceQueryFailed("It cannot be counted."), ZeroDivisionError()])
async def test_a_count_that_fails_does_not_touch_the_report(house: Make, error: Exception) -> None:
    source = Numbers(1500)
    source.total = error
    home = house(source)
    report = await home.run()
    assert (report.status, report.rows, report.total, report.notes) == (Status.DONE, 1500, 1500, ())
    assert source.readers[0].closed


@pytest.mark.parametrize(
    ("keyed", "rows"),
    [(True, "rows were read at slightly different times"), (False, "as they stood at the start")],
)
async def test_a_source_that_changed_meanwhile_is_noted(house: Make, keyed: bool, rows: str) -> None:
    source = Numbers(1500, keyed=keyed)
    source.was_changed = True
    home = house(source)
    report = await home.run()
    assert (report.status, len(report.notes)) == (Status.DONE, 1)
    assert report.notes[0].startswith("The data changed while this table was read")
    assert rows in report.notes[0]


async def test_a_real_file_that_is_written_to_meanwhile_is_noted(
    house: Make, table: SqliteSource, tmp_path: Path
) -> None:
    home = house(table, chunk_rows=10)
    report = await home.claimed("real.t")
    task = asyncio.create_task(Run(report, home.context).execute())
    await home.until(report, 10)
    with closing(sqlite3.connect(tmp_path / "real.db", timeout=10)) as owner:
        owner.execute("INSERT INTO t VALUES ('new', 1, 1)")  # before the first row, which was read already
        owner.commit()
    await within(task)
    report = await home.now(report)
    assert (report.status, report.rows, len(report.notes)) == (Status.DONE, 2345, 1)


async def test_viewers_are_told_of_chunks_and_of_the_end(house: Make) -> None:
    source = Numbers()
    source.holds_after = 1000
    home = house(source)
    async with home.held(rows=1000) as (run, report):
        with home.wake.listen(hints.chunks(report.id)) as hint:
            source.holds_after = 2000
            source.go.set()
            async with asyncio.timeout(10):
                await hint.wait(10)
            hint.clear()
            run.stop(Stop.CANCELLED)
            started = time.monotonic()
            await hint.wait(10)
            assert time.monotonic() - started < 9


class _FailsOnce(Leases):
    failed = False

    async def heartbeat(self, lease: Lease, lease_seconds: float) -> bool:
        if not self.failed:
            self.failed = True
            raise StateUnavailable("The state database restarts.")
        return await super().heartbeat(lease, lease_seconds)


async def test_a_heartbeat_that_fails_does_not_end_the_watch(house: Make, database: Database) -> None:
    source = Numbers()
    source.holds_after = 1000
    home = house(source, lease_seconds=0.4)
    home.leases = _FailsOnce(database)
    async with home.held(rows=1000) as (_, report):
        async with asyncio.timeout(10):
            while not home.leases.failed:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        await home.store.request_cancellation(report.id)
    assert (await home.now(report)).status is Status.CANCELLED


class _LosesTheState(Spool):
    """Away for some tries; it may have written before it broke."""

    def __init__(self, database: Database, written: bool) -> None:
        super().__init__(database)
        self.written, self.refusals = written, 3

    async def append(self, lease: Lease, chunk: Chunk, cursor: bytes | None, lease_seconds: float) -> bool:
        if chunk.number == 3 and self.refusals:
            self.refusals -= 1
            if self.written and self.refusals == 2:
                await super().append(lease, chunk, cursor, lease_seconds)
            raise StateUnavailable("The state database restarts.")
        return await super().append(lease, chunk, cursor, lease_seconds)


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
async def test_a_state_database_that_restarts_holds_the_report_up_and_no_more(
    house: Make, database: Database, written: bool, keyed: bool
) -> None:
    home = house(Numbers(3500, keyed=keyed))
    home.spool = _LosesTheState(database, written)
    report = await home.run()
    assert (report.status, report.generation, report.epoch, report.notes) == (Status.DONE, 1, 1, ())
    assert await home.rows(report) == numbers(1, 3500)


async def test_a_report_is_left_to_others_when_the_process_stops_while_the_state_is_away(
    house: Make, database: Database
) -> None:
    source = Numbers(3500)
    home = house(source)
    sound, home.spool = home.spool, _LosesTheState(database, written=False)
    home.spool.refusals = 1_000_000
    report = await home.claimed()
    run = Run(report, home.context)
    task = asyncio.create_task(run.execute())
    await home.until(report, 2000)
    run.stop(Stop.SHUTDOWN)
    await within(task)
    report = await home.now(report)
    assert (report.status, report.rows, report.error) == (Status.RUNNING, 2000, None)
    assert source.readers[0].closed
    home.spool = sound
    await within(Run(await home.claim("node-2"), home.context).execute())
    assert (await home.now(report)).status is Status.DONE
    assert await home.rows(report) == numbers(1, 3500)
