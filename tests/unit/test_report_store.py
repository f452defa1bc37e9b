import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import JSON, select, type_coerce, update
from sqlalchemy.exc import StatementError

from app.database import Database
from app.errors import LeaseLost
from app.leases import Leases
from app.model import Chunk, Column, Kind, Lease, Report, Spec, Status
from app.report_store import ReportStore
from app.schema import report as reports
from app.spool import Spool

Sizes = Callable[..., Awaitable[list[tuple[int, int]]]]

Ask = Callable[..., Awaitable[Report | None]]
Start = Callable[..., Awaitable[Lease]]


async def _get(store: ReportStore, report_id: str) -> Report:
    report = await store.get(report_id)
    assert report is not None
    return report


async def test_a_new_report_waits_with_nothing_read(store: ReportStore, ask: Ask) -> None:
    report = await ask()
    assert report is not None
    assert report == Report(
        id=report.id,
        owner="ann",
        slot=1,
        dataset="noise.recordings",
        spec=Spec((0, 3)),
        columns=(Column("id", Kind.INTEGER, "INTEGER"), Column("", Kind.ANY)),
        status=Status.QUEUED,
        error_code=None,
        error=None,
        lease_owner=None,
        epoch=0,
        lease_until=0,
        cancel_requested=False,
        attempts=0,
        generation=1,
        next_chunk=1,
        rows=0,
        bytes=0,
        total=None,
        total_kind="unknown",
        cursor=None,
        notes=(),
        created_at=report.created_at,
        started_at=None,
        finished_at=None,
        expires_at=None,
        read_at=report.read_at,
    )
    assert isinstance(report.spec.columns, tuple)
    assert abs(report.created_at - time.time()) < 5
    assert report.read_at - report.created_at < 5
    again = await _get(store, report.id)
    assert (again.created_at, again.columns) == (report.created_at, report.columns)
    assert again.read_at >= report.read_at


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff", "NaN", "'; --", "\N{RIGHT-TO-LEFT OVERRIDE}x"])
async def test_any_column_name_comes_back_as_it_was(store: ReportStore, name: str) -> None:
    columns = (Column(name, Kind.TEXT, "VARCHAR(9)", width=12, right=True),)
    await store.create("report", "ann", 5, "noise.recordings", Spec((0,)), columns)
    assert (await _get(store, "report")).columns == columns


async def test_json_is_strict(database: Database, ask: Ask) -> None:
    await ask()

    async def write(value: object) -> None:
        async with database.write() as connection:
            await connection.execute(update(reports).values(spec=value))

    with pytest.raises(StatementError, match="not JSON compliant"):
        await write({"value": float("nan")})
    async with database.read() as connection:
        spec = (await connection.execute(select(type_coerce(reports.c.spec, JSON)))).scalar_one()
    assert json.loads(json.dumps(spec, allow_nan=False)) == {"columns": [0, 3], "filters": []}


@pytest.mark.parametrize("report_id", ["", "nobody", "a\0b", "\ud800"])
async def test_an_unknown_report_is_none(store: ReportStore, report_id: str) -> None:
    assert await store.get(report_id) is None
    assert await store.request_cancellation(report_id) is None


async def test_reports_take_the_lowest_free_slot(store: ReportStore, ask: Ask) -> None:
    first, second = await ask(), await ask()
    assert first is not None
    assert second is not None
    assert (first.slot, second.slot) == (1, 2)
    await store.request_cancellation(first.id)
    third = await ask()
    assert third is not None
    assert third.slot == 1
    assert [report.slot for report in await store.running("ann")] == [1, 2]


async def test_a_race_of_200_gives_each_owner_exactly_the_limit(
    store: ReportStore, ask: Ask, node_2: Database
) -> None:
    owners = ("ann", "ben")
    other = ReportStore(node_2)
    made = await asyncio.gather(
        *(ask(owners[number % 2]) for number in range(100)),
        *(
            other.create(f"other-{number}", owners[number % 2], 5, "noise.recordings", Spec(()), ())
            for number in range(100)
        ),
    )
    assert Counter(report.owner for report in made if report) == {"ann": 5, "ben": 5}
    for owner in owners:
        assert [report.slot for report in await store.running(owner)] == [1, 2, 3, 4, 5]
    assert await ask("ann") is None
    assert await ask("ann", limit=6) is not None


async def test_the_same_id_twice_is_an_error_and_not_a_full_house(ask: Ask) -> None:
    await ask(report_id="report")
    with pytest.raises(Exception, match=r"(?i)unique"):
        await ask(report_id="report")


async def test_latest_are_the_owners_newest_first(store: ReportStore, ask: Ask) -> None:
    for number in range(4):
        await ask(report_id=f"report-of-ann-{number}")
        await ask("ben")
    latest = await store.latest("ann", limit=3)
    assert [report.id for report in latest] == ["report-of-ann-3", "report-of-ann-2", "report-of-ann-1"]


async def test_the_oldest_report_is_claimed_first(leases: Leases, ask: Ask) -> None:
    assert await leases.claim("node-1", 8) is None
    oldest = await ask("ben")
    await ask("ann")
    claimed = await leases.claim("node-1", 8)
    assert oldest is not None
    assert claimed is not None
    assert (claimed.id, claimed.status, claimed.lease_owner) == (oldest.id, Status.RUNNING, "node-1")
    assert (claimed.epoch, claimed.attempts) == (1, 1)
    assert claimed.started_at is not None
    assert 7 < claimed.lease_until - claimed.read_at < 9


async def test_two_claimers_get_different_reports(leases: Leases, ask: Ask, node_2: Database) -> None:
    for _ in range(3):
        await ask()
    nodes = (leases, Leases(node_2))
    claims = await asyncio.gather(*(nodes[number % 2].claim(f"node-{number}", 8) for number in range(20)))
    claimed = [report.id for report in claims if report]
    assert len(claimed) == len(set(claimed)) == 3


async def test_a_report_whose_lease_holds_is_not_claimed(leases: Leases, start: Start) -> None:
    await start(8)
    assert await leases.claim("node-2", 8) is None


async def test_an_expired_lease_is_claimed_by_another_in_a_new_epoch(
    store: ReportStore, leases: Leases, start: Start
) -> None:
    lease = await start(-1)
    started = (await _get(store, lease.report)).started_at
    claimed = await leases.claim("node-2", 8)
    assert claimed is not None
    assert (claimed.id, claimed.epoch, claimed.lease_owner) == (lease.report, lease.epoch + 1, "node-2")
    assert claimed.started_at == started


async def test_an_owner_of_a_former_epoch_changes_nothing(
    store: ReportStore, leases: Leases, start: Start
) -> None:
    lease = await start(-1)
    await leases.claim("node-2", 8)
    before = await _get(store, lease.report)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: leases.heartbeat(lease, 8),
        lambda: leases.set_columns(lease, ()),
        lambda: leases.set_total(lease, 3, "exact"),
        lambda: leases.add_note(lease, "It rained."),
        lambda: leases.start_generation(lease, "It was read again."),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLost):
            await attempt()
    await leases.release(lease)
    assert not await leases.finish(lease, Status.DONE)
    after = await _get(store, lease.report)
    assert after == replace(before, read_at=after.read_at)


async def test_the_fourth_attempt_is_the_last(store: ReportStore, leases: Leases, start: Start) -> None:
    lease = await start(-1)
    for _ in range(3):
        assert await leases.fail_abandoned() == []
        assert await leases.claim("node-1", -1) is not None
    assert await leases.claim("node-1", -1) is None
    assert await leases.fail_abandoned() == [lease.report]
    assert await leases.fail_abandoned() == []
    failed = await _get(store, lease.report)
    assert (failed.status, failed.error_code, failed.slot) == (Status.FAILED, "abandoned", None)
    assert failed.error is not None
    assert failed.finished_at is not None


async def test_a_fourth_attempt_that_is_alive_is_not_given_up(leases: Leases, start: Start) -> None:
    await start(-1)
    for lease_seconds in (-1, -1, 8):
        await leases.claim("node-1", lease_seconds)
    assert await leases.fail_abandoned() == []


async def test_a_new_chunk_makes_the_attempts_start_again(leases: Leases, spool: Spool, start: Start) -> None:
    lease = await start(-1)
    for number in range(1, 8):
        await spool.append(lease, Chunk(1, number, number, 1, b"row"), None, -1)
        claimed = await leases.claim("node-1", -1)
        assert claimed is not None
        lease = Lease(claimed.id, claimed.epoch)


async def test_a_heartbeat_renews_the_lease_and_tells_of_a_cancellation(
    store: ReportStore, leases: Leases, start: Start
) -> None:
    lease = await start(-1)
    assert await leases.heartbeat(lease, 8) is False
    assert await leases.claim("node-2", 8) is None
    await store.request_cancellation(lease.report)
    assert await leases.heartbeat(lease, 8) is True


async def test_a_released_report_is_claimed_at_once_and_the_attempt_does_not_count(
    leases: Leases, start: Start
) -> None:
    lease = await start(8)
    for _ in range(6):
        await leases.release(lease)
        claimed = await leases.claim("node-2", 8)
        assert claimed is not None
        assert claimed.attempts == 1
        lease = Lease(claimed.id, claimed.epoch)


async def test_a_release_after_a_chunk_does_not_allow_a_fifth_attempt(
    store: ReportStore, leases: Leases, spool: Spool, start: Start
) -> None:
    lease = await start(8)
    await spool.append(lease, Chunk(1, 1, 1, 1, b"row"), None, 8)
    await leases.release(lease)
    assert (await _get(store, lease.report)).attempts == 0


async def test_a_node_does_not_claim_what_it_runs_itself(leases: Leases, start: Start) -> None:
    lease = await start(-1)
    assert await leases.claim("node-1", 8, [lease.report]) is None
    assert await leases.heartbeat(lease, 8) is False  # it still is the owner
    claimed = await leases.claim("node-2", 8)
    assert claimed is None


async def test_a_server_that_is_alone_frees_all_leases(leases: Leases, start: Start, ask: Ask) -> None:
    left = [await start(8), await start(8)]
    await ask()
    await leases.release_all()
    claimed = [await leases.claim("node-1", 8) for _ in range(3)]
    assert {report.id for report in claimed if report} >= {lease.report for lease in left}


async def test_columns_and_total_are_kept(store: ReportStore, leases: Leases, start: Start) -> None:
    lease = await start()
    columns = (Column("id", Kind.INTEGER, "INTEGER", 80, True),)
    await leases.set_columns(lease, columns)
    await leases.set_total(lease, 23_453, "exact")
    report = await _get(store, lease.report)
    assert (report.columns, report.total, report.total_kind) == (columns, 23_453, "exact")
    await leases.set_total(lease, None, "uncounted")
    report = await _get(store, lease.report)
    assert (report.total, report.total_kind) == (None, "uncounted")


async def test_notes_are_appended_in_order(store: ReportStore, leases: Leases, start: Start) -> None:
    lease = await start()
    for sentence in ("First.", "Second: \N{SNOWMAN}\0.", "Third."):
        await leases.add_note(lease, sentence)
    assert (await _get(store, lease.report)).notes == ("First.", "Second: \N{SNOWMAN}\0.", "Third.")


async def test_notes_at_the_same_time_are_all_kept(store: ReportStore, leases: Leases, start: Start) -> None:
    lease = await start()
    await asyncio.gather(*(leases.add_note(lease, f"Note {number}.") for number in range(30)))
    assert len(set((await _get(store, lease.report)).notes)) == 30


async def test_a_new_generation_removes_the_old_chunks(
    store: ReportStore, leases: Leases, spool: Spool, start: Start, sizes: Sizes
) -> None:
    lease = await start()
    other = await start()
    for number in (1, 2):
        for owner in (lease, other):
            await spool.append(owner, Chunk(1, number, number, 1, b"row"), b"cursor", 8)
    assert await leases.start_generation(lease, "It was read again.") == 2
    report = await _get(store, lease.report)
    assert (report.generation, report.next_chunk, report.rows, report.bytes) == (2, 1, 0, 0)
    assert report.cursor is None
    assert await sizes(spool, lease.report, 1) == []
    assert await sizes(spool, other.report, 1) == [(1, 1), (2, 1)]
    with pytest.raises(LeaseLost):
        await spool.append(lease, Chunk(1, 1, 1, 1, b"row"), None, 8)
    await spool.append(lease, Chunk(2, 1, 1, 1, b"row"), None, 8)


async def test_a_done_report_has_its_exact_total_and_frees_its_slot(
    store: ReportStore, leases: Leases, spool: Spool, start: Start
) -> None:
    lease = await start()
    await leases.set_total(lease, 5, "exact")  # as counted before somebody deleted rows
    await spool.append(lease, Chunk(1, 1, 1, 3, b"rows"), b"cursor", 8)
    assert await leases.finish(lease, Status.DONE)
    report = await _get(store, lease.report)
    assert (report.status, report.slot, report.lease_owner) == (Status.DONE, None, None)
    assert (report.rows, report.total, report.total_kind, report.percent) == (3, 3, "exact", 100)
    assert report.finished_at is not None
    assert report.cursor == b"cursor"
    assert await store.running("ann") == []


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED, Status.TIMED_OUT])
async def test_a_report_that_was_stopped_keeps_its_total_and_tells_why(
    store: ReportStore, leases: Leases, start: Start, status: Status
) -> None:
    lease = await start()
    await leases.set_total(lease, 5, "exact")
    # PostgreSQL refuses NUL and half surrogate pairs in text, and a message may quote a row that has them.
    assert await leases.finish(lease, status, "source", "Row 3: \0 \udcff.")
    report = await _get(store, lease.report)
    assert (report.status, report.error_code, report.total) == (status, "source", 5)
    assert report.error == "Row 3: \N{REPLACEMENT CHARACTER} ?."


async def test_finish_is_final(store: ReportStore, leases: Leases, start: Start) -> None:
    lease = await start()
    assert await leases.finish(lease, Status.TIMED_OUT)
    assert not await leases.finish(lease, Status.DONE)
    with pytest.raises(LeaseLost):
        await leases.heartbeat(lease, 8)
    cancelled = await store.request_cancellation(lease.report)
    assert cancelled is not None
    assert (cancelled.status, cancelled.cancel_requested) == (Status.TIMED_OUT, False)
    assert await leases.claim("node-2", 8) is None


async def test_a_queued_report_is_cancelled_at_once(store: ReportStore, leases: Leases, ask: Ask) -> None:
    report = await ask()
    assert report is not None
    cancelled = await store.request_cancellation(report.id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.slot) == (Status.CANCELLED, None)
    assert cancelled.finished_at is not None
    assert await leases.claim("node-1", 8) is None


async def test_a_running_report_is_asked_to_stop(store: ReportStore, start: Start) -> None:
    lease = await start()
    asked = await store.request_cancellation(lease.report)
    assert asked is not None
    assert (asked.status, asked.cancel_requested, asked.slot) == (Status.RUNNING, True, 1)


async def test_a_cancellation_outlives_the_owner_that_did_not_see_it(
    store: ReportStore, leases: Leases, start: Start
) -> None:
    lease = await start(-1)
    await store.request_cancellation(lease.report)
    claimed = await leases.claim("node-2", 8)
    assert claimed is not None
    assert claimed.cancel_requested


async def test_100_cancellations_at_once_give_one_cancelled_state(
    store: ReportStore, ask: Ask, node_2: Database
) -> None:
    report = await ask()
    assert report is not None
    nodes = (store, ReportStore(node_2))
    results = await asyncio.gather(
        *(nodes[number % 2].request_cancellation(report.id) for number in range(100))
    )
    assert {(result.status, result.finished_at) for result in results if result} == {
        (Status.CANCELLED, (await _get(store, report.id)).finished_at)
    }
    assert None not in results


async def test_cancellations_that_race_a_claim_are_never_lost(
    store: ReportStore, leases: Leases, ask: Ask, node_2: Database
) -> None:
    for _ in range(20):
        report = await ask()
        assert report is not None
        claimed, _ = await asyncio.gather(
            leases.claim("node-1", 8), ReportStore(node_2).request_cancellation(report.id)
        )
        after = await _get(store, report.id)
        if claimed is None:
            assert after.status is Status.CANCELLED
        else:
            assert (after.status, after.cancel_requested) == (Status.RUNNING, True)
            await leases.finish(Lease(claimed.id, claimed.epoch), Status.CANCELLED)


async def test_widths_are_kept_whoever_reads_the_report(store: ReportStore, start: Start) -> None:
    lease = await start()
    before = await store.get(lease.report)
    assert before is not None
    wide = tuple(replace(column, width=321, fixed=True) for column in before.columns)
    await store.set_widths(lease.report, wide)
    after = await store.get(lease.report)
    assert after is not None
    assert after == replace(before, columns=wide, read_at=after.read_at)
    await store.set_widths("nobody", wide)
