import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from app import hints
from app.catalog import Catalog
from app.codec import decode
from app.database import Database
from app.errors import StateUnavailable
from app.hints import Hints
from app.leases import Leases
from app.model import Report, Status
from app.permissions import User
from app.report_store import ReportStore
from app.reports import Reports
from app.run_context import RunContext
from app.settings import SavedQuery, Settings
from app.source.sqlite import SqliteSource
from app.spool import Spool
from app.takeover import Takeover
from app.worker import Worker

ANN = User("ann", "Ann", everything=True)
_ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT"
QUERIES = (
    SavedQuery(source="s", name="blocked", sql=f"{_ENDLESS} count(*) AS n FROM r"),  # never gives a row
    SavedQuery(source="s", name="endless", sql=f"{_ENDLESS} n FROM r"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(1, 3001)])
        connection.commit()
    return path


class Node:
    """One process: a worker with parts of its own on the state database."""

    def __init__(self, database: Database, path: Path, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.leases, self.wake = Leases(database), Hints()
        store, spool = ReportStore(database), Spool(database)
        catalog = Catalog([SqliteSource("s", path)], QUERIES)
        many = self.settings.model_copy(update={"reports_per_user": 100})
        self.reports = Reports(store, spool, catalog, self.wake, many)
        self.context = RunContext(
            store, self.leases, spool, Takeover(database), catalog, self.wake, self.settings
        )
        self.worker = Worker(self.context)

    @asynccontextmanager
    async def working(self) -> AsyncIterator["Node"]:
        serving = asyncio.create_task(self.worker.serve())
        try:
            yield self
        finally:
            await self.stop()
            await serving

    async def stop(self) -> None:
        async with asyncio.timeout(10):
            await self.worker.stop()

    async def ask(self, name: str = "t", count: int = 1) -> list[Report]:
        return [await self.reports.request(ANN, f"s.{name}") for _ in range(count)]

    async def statuses(self, reports: list[Report]) -> dict[Status, int]:
        return Counter([(await self.reports.get(ANN, report.id)).status for report in reports])

    async def until(self, reports: list[Report], expected: dict[Status, int]) -> None:
        async with asyncio.timeout(30):
            while (await self.statuses(reports)) != expected:  # noqa: ASYNC110 - as a viewer would
                await asyncio.sleep(0.01)

    async def ids(self, report: Report) -> list[int]:
        report = await self.reports.get(ANN, report.id)
        chunks = await self.context.spool.read(report.id, report.generation, 0, 10_000)
        return [row[0] for chunk in chunks for row in decode(chunk.payload)]  # type: ignore[misc]


Make = Callable[..., Node]


@pytest.fixture
def node(database: Database, path: Path) -> Make:
    def make(state: Database = database, **settings: object) -> Node:
        return Node(state, path, **settings)

    return make


async def test_a_report_runs_as_soon_as_it_is_asked_for(node: Make) -> None:
    async with node().working() as one:
        asked = await one.ask(count=3)
        await one.until(asked, {Status.DONE: 3})
        for report in asked:
            assert await one.ids(report) == list(range(1, 3001))


async def test_a_report_that_waited_before_the_start_runs(node: Make) -> None:
    one = node()
    asked = await one.ask()
    async with one.working():
        await one.until(asked, {Status.DONE: 1})


async def test_what_another_process_asked_for_is_found_without_a_hint(node: Make) -> None:
    async with node().working() as one:
        await asyncio.sleep(0.1)
        asked = await node().ask()
        await one.until(asked, {Status.DONE: 1})


async def test_reports_run_up_to_the_ceiling_and_the_next_begins_when_one_ends(node: Make) -> None:
    async with node(running_reports=2).working() as one:
        asked = await one.ask("blocked", 4)
        await one.until(asked, {Status.RUNNING: 2, Status.QUEUED: 2})
        await asyncio.sleep(1.5)  # longer than a poll
        assert await one.statuses(asked) == {Status.RUNNING: 2, Status.QUEUED: 2}
        await one.reports.cancel(ANN, asked[0].id)
        await one.until(asked, {Status.CANCELLED: 1, Status.RUNNING: 2, Status.QUEUED: 1})


async def test_the_next_report_begins_at_once_and_not_with_the_next_poll(node: Make) -> None:
    async with node(running_reports=1).working() as one:
        asked = await one.ask(count=12)
        started = time.monotonic()
        await one.until(asked, {Status.DONE: 12})
        assert time.monotonic() - started < 9  # by polls alone it would take 11 s


async def test_a_report_that_blocks_does_not_hold_up_the_others(node: Make) -> None:
    async with node(running_reports=2).working() as one:
        blocked = await one.ask("blocked")
        await one.until(blocked, {Status.RUNNING: 1})
        await one.until(await one.ask(count=4), {Status.DONE: 4})
        assert await one.statuses(blocked) == {Status.RUNNING: 1}


async def test_stop_leaves_nothing_running_and_the_reports_go_on_later(node: Make) -> None:
    one = node(chunk_rows=100)
    asked = [*await one.ask("blocked"), *await one.ask("endless"), *await one.ask(count=3)]
    async with one.working():
        await one.until(asked[:1], {Status.RUNNING: 1})
    assert one.worker._runs == {}
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("report ")] == []
    for report in asked:
        assert (await one.reports.get(ANN, report.id)).lease_until == 0
    left = await one.ids(asked[1])
    await asyncio.sleep(0.2)
    assert await one.ids(asked[1]) == left
    async with node().working() as later:
        await later.until(asked[2:], {Status.DONE: 3})
        await later.until(asked[:2], {Status.RUNNING: 2})
        for report in asked[2:]:
            assert await later.ids(report) == list(range(1, 3001))


async def test_a_report_that_was_claimed_while_the_worker_stopped_is_left_for_the_next(
    node: Make, database: Database
) -> None:
    one = node()

    class Slow(Leases):
        claiming, go = asyncio.Event(), asyncio.Event()

        async def claim(self, node: str, lease_seconds: float, mine: Sequence[str] = ()) -> Report | None:
            report = await super().claim(node, lease_seconds, mine)
            if report is not None:
                self.claiming.set()
                await self.go.wait()
            return report

    slow = Slow(database)
    worker = Worker(replace(one.context, leases=slow))
    asked = await one.ask("blocked")
    serving = asyncio.create_task(worker.serve())
    await slow.claiming.wait()
    await worker.stop()
    slow.go.set()
    async with asyncio.timeout(10):
        await serving
    assert worker._runs == {}
    assert (await one.reports.get(ANN, asked[0].id)).lease_until == 0


async def test_a_worker_that_was_stopped_before_it_served_claims_nothing(node: Make) -> None:
    one = node()
    asked = await one.ask()
    await one.worker.stop()
    async with asyncio.timeout(10):
        await one.worker.serve()
    assert await one.statuses(asked) == {Status.QUEUED: 1}


async def test_two_workers_on_one_state_database_share_the_reports_and_run_none_twice(
    node: Make, node_2: Database
) -> None:
    one, two = node(running_reports=2, chunk_rows=500), node(node_2, running_reports=2, chunk_rows=500)
    asked = await one.ask(count=12)
    blocked = await one.ask("blocked", 4)  # more than one of them may run
    async with one.working(), two.working():
        await two.until(asked, {Status.DONE: 12})
        await one.until(blocked, {Status.RUNNING: 4})
        owners = {(await one.reports.get(ANN, report.id)).lease_owner for report in blocked}
        assert len(owners) == 2
    for report in asked:
        done = await one.reports.get(ANN, report.id)
        assert (done.epoch, done.generation, done.chunks) == (1, 1, 6)
        assert await one.ids(report) == list(range(1, 3001))


async def test_the_report_of_a_process_that_died_goes_on_elsewhere(node: Make) -> None:
    one = node()
    asked = await one.ask()
    assert await one.leases.claim("dead", 0.5) is not None
    async with one.working():
        await one.until(asked, {Status.DONE: 1})
    assert (await one.reports.get(ANN, asked[0].id)).epoch == 2


async def test_a_report_that_kills_its_process_each_time_is_given_up(
    node: Make, caplog: pytest.LogCaptureFixture
) -> None:
    one = node()
    asked = await one.ask()
    for _ in range(4):
        assert await one.leases.claim("dead", -1) is not None
    async with one.working():
        await one.until(asked, {Status.FAILED: 1})
    assert asked[0].id in caplog.text
    assert (await one.reports.get(ANN, asked[0].id)).error_code == "abandoned"


class _Unreachable(Leases):
    refusals = 2

    async def claim(self, node: str, lease_seconds: float, mine: Sequence[str] = ()) -> Report | None:
        if self.refusals:
            self.refusals -= 1
            raise StateUnavailable("The state database does not answer.")
        return await super().claim(node, lease_seconds, mine)


async def test_a_state_database_that_comes_back_is_asked_again(
    node: Make, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    one = node()
    one.worker = Worker(replace(one.context, leases=_Unreachable(database)))
    asked = await one.ask()
    async with one.working():
        await one.until(asked, {Status.DONE: 1})
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == ["no reports are claimed: The state database does not answer."]  # once, not each second


async def test_a_run_that_breaks_off_frees_its_place(
    node: Make, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Leases):
        async def finish(self, *args: object, **more: object) -> bool:
            raise ZeroDivisionError

    one = node(running_reports=1)
    one.worker = Worker(replace(one.context, leases=Broken(database)))
    asked = await one.ask(count=2)
    async with one.working():
        await one.until(asked, {Status.RUNNING: 2})
    assert "a run broke off" in caplog.text


async def test_an_idle_worker_waits_and_asks_about_once_a_second(node: Make, database: Database) -> None:
    class Counting(Leases):
        claims = 0

        async def claim(self, node: str, lease_seconds: float, mine: Sequence[str] = ()) -> Report | None:
            self.claims += 1
            return await super().claim(node, lease_seconds, mine)

    one = node()
    leases = Counting(database)
    one.worker = Worker(replace(one.context, leases=leases))
    async with one.working():
        await asyncio.sleep(1.5)
        assert 1 <= leases.claims <= 3
        one.wake.notify(hints.QUEUE)
        before = leases.claims
        await asyncio.sleep(0.2)
        assert leases.claims > before
