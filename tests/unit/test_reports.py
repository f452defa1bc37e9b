# ruff: noqa: ASYNC240 - blocking file operations are fine in a test's own event loop
"""The cast: `ann` asks for reports and may see everything, `ben` likewise, `stranger` was granted nothing."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app import hints
from app.catalog import Catalog
from app.errors import Conflict, Forbidden, InvalidRequest, NotFound, SourceError, TooManyReports
from app.hints import Hints
from app.leases import Leases
from app.model import Lease, Status
from app.permissions import User
from app.report_store import ReportStore
from app.reports import Reports
from app.settings import SavedQuery, Settings
from app.source.sqlite import SqliteSource
from app.spool import Spool

ANN = User("ann", "Ann", everything=True)
BEN = User("ben", "Ben", everything=True)
STRANGER = User("stranger", "Stranger", everything=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL, "" TEXT, "a, b" TEXT)')
        connection.execute("CREATE VIEW twice AS SELECT 1 AS id, 2 AS name, 3 AS id")
    return path


@pytest.fixture
def wake() -> Hints:
    return Hints()


@pytest.fixture
def reports(store: ReportStore, spool: Spool, wake: Hints, path: Path) -> Reports:
    queries = [SavedQuery(source="shop", name="saved", sql="SELECT 1 AS one, 2 AS two")]
    catalog = Catalog([SqliteSource("shop", path)], queries)
    return Reports(store, spool, catalog, wake, Settings(reports_per_user=3))


async def test_a_request_without_columns_takes_all_in_the_order_of_the_dataset(reports: Reports) -> None:
    report = await reports.request(ANN, "shop.orders")
    assert report.status is Status.QUEUED
    assert (report.owner, report.dataset) == ("ann", "shop.orders")
    assert report.spec.columns == (0, 1, 2, 3)
    assert [column.name for column in report.columns] == ["id", "price", "", "a, b"]


async def test_a_request_takes_the_named_columns_in_the_chosen_order(reports: Reports) -> None:
    report = await reports.request(ANN, "shop.orders", ["a, b", "id", "", "id"])
    assert report.spec.columns == (3, 0, 2, 0)
    assert [column.name for column in report.columns] == ["a, b", "id", "", "id"]
    assert (await reports.get(ANN, report.id)).columns == report.columns


async def test_unknown_columns_are_named_in_the_sentence_beside_those_there_are(reports: Reports) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await reports.request(ANN, "shop.orders", ["id", "prize", "ID"])
    assert caught.value.sentence == (
        "shop.orders has no column 'prize', 'ID'. Its columns are 'id', 'price', '', 'a, b'."
    )
    assert await _all_of(reports, ANN) == []


async def test_of_columns_with_one_name_a_request_without_columns_takes_each(reports: Reports) -> None:
    report = await reports.request(ANN, "shop.twice")
    assert report.spec.columns == (0, 1, 2)
    assert [column.name for column in report.columns] == ["id", "name", "id"]


async def test_of_columns_with_one_name_the_name_means_the_first(reports: Reports) -> None:
    assert (await reports.request(ANN, "shop.twice", ["id"])).spec.columns == (0,)


async def test_a_saved_query_can_be_reported_on(reports: Reports) -> None:
    assert (await reports.request(ANN, "shop.saved", ["two"])).spec.columns == (1,)


async def test_a_dataset_that_may_not_be_read_is_refused_before_it_is_looked_up(reports: Reports) -> None:
    for dataset_id in ("shop.orders", "shop.nothing"):
        with pytest.raises(Forbidden):
            await reports.request(STRANGER, dataset_id)


async def test_an_unknown_dataset_is_not_found(reports: Reports) -> None:
    with pytest.raises(NotFound, match=r"shop\.nothing"):
        await reports.request(ANN, "shop.nothing")


async def test_a_source_that_cannot_be_read_is_told(reports: Reports, path: Path) -> None:
    path.unlink()
    with pytest.raises(SourceError, match="There is no file"):
        await reports.request(ANN, "shop.orders")


async def test_a_request_wakes_the_worker(reports: Reports, wake: Hints) -> None:
    with wake.listen(hints.QUEUE) as hint:
        await reports.request(ANN, "shop.orders")
        assert hint._event.is_set()


async def test_the_limit_is_a_persons_own_and_a_place_is_free_after_a_cancellation(reports: Reports) -> None:
    made = [await reports.request(ANN, "shop.orders") for _ in range(3)]
    with pytest.raises(TooManyReports, match=r"^3 of your reports are running or waiting"):
        await reports.request(ANN, "shop.orders")
    await reports.request(BEN, "shop.orders")
    await reports.cancel(ANN, made[1].id)
    await reports.request(ANN, "shop.orders")


async def test_of_a_race_of_20_exactly_the_limit_is_accepted(reports: Reports) -> None:
    asked = await asyncio.gather(
        *(reports.request(ANN, "shop.orders") for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, TooManyReports) for each in asked) == 17
    assert sum(isinstance(each, BaseException) for each in asked) == 17


async def test_somebody_elses_report_is_as_unknown_as_none(reports: Reports) -> None:
    report = await reports.request(ANN, "shop.orders")
    for report_id in (report.id, "nobody"):
        for verb in (reports.get, reports.cancel):
            with pytest.raises(NotFound) as caught:
                await verb(BEN, report_id)
            assert caught.value.sentence.replace(report_id, "ID") == (
                "There is no report ID. It may have expired, or it belongs to somebody else."
            )
    assert (await reports.get(ANN, report.id)).status is Status.QUEUED


async def test_a_queued_report_is_cancelled_at_once_and_again_is_the_same(reports: Reports) -> None:
    report = await reports.request(ANN, "shop.orders")
    first = await reports.cancel(ANN, report.id)
    again = await reports.cancel(ANN, report.id)
    assert (first.status, again.status) == (Status.CANCELLED, Status.CANCELLED)
    assert first.finished_at == again.finished_at


async def test_a_running_report_is_asked_to_stop_and_its_runner_and_viewers_are_woken(
    reports: Reports, leases: Leases, wake: Hints
) -> None:
    report = await reports.request(ANN, "shop.orders")
    await leases.claim("node-1", 8)
    topics = (hints.cancellation(report.id), hints.chunks(report.id))
    for _ in range(2):
        with wake.listen(topics[0]) as runner, wake.listen(topics[1]) as viewer:
            asked = await reports.cancel(ANN, report.id)
            assert (asked.status, asked.cancel_requested) == (Status.RUNNING, True)
            assert runner._event.is_set()
            assert viewer._event.is_set()


@pytest.mark.parametrize(
    ("status", "words"),
    [(Status.DONE, "done"), (Status.FAILED, "failed"), (Status.TIMED_OUT, "timed out")],
)
async def test_what_is_over_cannot_be_cancelled(
    reports: Reports, leases: Leases, status: Status, words: str
) -> None:
    report = await reports.request(ANN, "shop.orders")
    claimed = await leases.claim("node-1", 8)
    assert claimed is not None
    await leases.finish(Lease(report.id, claimed.epoch), status)
    with pytest.raises(Conflict, match=f"^This report is {words} already"):
        await reports.cancel(ANN, report.id)
    assert (await reports.get(ANN, report.id)).status is status


async def test_a_report_that_was_cancelled_while_it_ran_stays_cancelled(
    reports: Reports, leases: Leases
) -> None:
    report = await reports.request(ANN, "shop.orders")
    claimed = await leases.claim("node-1", 8)
    assert claimed is not None
    await leases.finish(Lease(report.id, claimed.epoch), Status.CANCELLED)
    assert (await reports.cancel(ANN, report.id)).status is Status.CANCELLED


async def _all_of(reports: Reports, user: User) -> list[object]:
    return [*await reports._store.latest(user.account)]
