"""Files of reports in the state database: asked for once, made by one maker, kept in parts."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import delete, func, select, update

from app.database import Database
from app.errors import LeaseLost, NotFound
from app.export_store import PART_BYTES, ExportStore
from app.leases import Leases
from app.model import Lease, Made, Status, StoredExport
from app.report_store import ReportStore
from app.schema import export, export_part
from app.schema import report as reports

Start = Callable[..., Awaitable[Lease]]
Finished = Callable[[], Awaitable[str]]


@pytest.fixture
def exports(database: Database) -> ExportStore:
    return ExportStore(database)


@pytest.fixture
def finished(start: Start, leases: Leases) -> Finished:
    """The id of a report that is over."""

    async def finished() -> str:
        lease = await start()
        await leases.finish(lease, Status.DONE)
        return lease.report

    return finished


async def _now(exports: ExportStore, report: str) -> StoredExport:
    found = await exports.find(report, 1, "xlsx", "")
    assert found is not None
    return found


async def _parts(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(export_part))).scalar_one()


async def test_who_asks_again_gets_the_same_file(exports: ExportStore, finished: Finished) -> None:
    report = await finished()
    first = await exports.request(report, 1, "xlsx", "")
    assert (first.status, first.rows, first.size, first.cancel_requested) == (Status.QUEUED, 0, None, False)
    assert (await exports.request(report, 1, "xlsx", "")).id == first.id
    others = [(report, 2, "xlsx", ""), (report, 1, "parquet", ""), (report, 1, "xlsx", "other")]
    ids = {(await exports.request(*other)).id for other in others}
    assert len(ids | {first.id}) == 4


async def test_two_people_who_ask_at_once_get_one_file(
    exports: ExportStore, node_2: Database, finished: Finished
) -> None:
    report = await finished()
    stores = [exports, ExportStore(node_2)] * 4
    found = await asyncio.gather(*(store.request(report, 1, "xlsx", "") for store in stores))
    assert len({each.id for each in found}) == 1


@pytest.mark.parametrize("final", [Status.FAILED, Status.CANCELLED])
async def test_a_file_that_failed_or_was_cancelled_is_made_when_it_is_asked_for_again(
    exports: ExportStore, finished: Finished, final: Status
) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", 30)
    await exports.progress(Made(asked.id, "ann", 10, 30))
    await exports.cancel(asked.id)
    await exports.finish(asked.id, "ann", final, error="It failed.")
    over = await _now(exports, report)
    assert (over.status, over.error, over.finished_at is None) == (final, "It failed.", False)
    again = await exports.request(report, 1, "xlsx", "")
    assert (again.id, again.status, again.error, again.rows) == (asked.id, Status.QUEUED, None, 0)
    assert (again.cancel_requested, again.finished_at) == (False, None)
    claimed = await exports.claim("ben", 30)
    assert claimed is not None
    assert claimed.id == asked.id


async def test_a_file_that_is_done_is_not_made_again(exports: ExportStore, finished: Finished) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", 30)
    await exports.finish(asked.id, "ann", Status.DONE, size=3, sha256="ab", manifest=b"{}")
    again = await exports.request(report, 1, "xlsx", "")
    assert (again.status, again.size, again.sha256, again.manifest) == (Status.DONE, 3, "ab", b"{}")
    assert await exports.claim("ben", 30) is None


async def test_two_makers_never_make_the_same_file(
    exports: ExportStore, node_2: Database, finished: Finished
) -> None:
    report = await finished()
    asked = [(await exports.request(report, 1, "xlsx", str(number))).id for number in range(3)]
    makers = [store for store in (exports, ExportStore(node_2)) for _ in range(4)]
    claims = await asyncio.gather(*(store.claim(f"maker-{n}", 30) for n, store in enumerate(makers)))
    assert sorted(claim.id for claim in claims if claim) == sorted(asked)


async def test_the_oldest_file_is_made_first(exports: ExportStore, finished: Finished) -> None:
    report = await finished()
    asked = [(await exports.request(report, 1, "xlsx", str(number))).id for number in range(3)]
    claims = [await exports.claim("ann", 30) for _ in range(4)]
    assert [claim and claim.id for claim in claims] == [*asked, None]


async def test_a_file_whose_maker_went_silent_starts_anew_and_its_former_maker_writes_nothing(
    exports: ExportStore, database: Database, finished: Finished
) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", -1)
    await exports.progress(Made(asked.id, "ann", 10, -1), (0, b"of ann"))
    assert (await _now(exports, report)).rows == 10
    claimed = await exports.claim("ben", 30)
    assert claimed is not None
    assert (claimed.id, claimed.status, claimed.rows) == (asked.id, Status.RUNNING, 0)
    assert await _parts(database) == 0
    with pytest.raises(LeaseLost):
        await exports.progress(Made(asked.id, "ann", 20, 30), (1, b"of ann"))
    await exports.finish(asked.id, "ann", Status.DONE, size=6, sha256="of ann")
    found = await _now(exports, report)
    assert (found.status, found.rows, found.size, found.sha256) == (Status.RUNNING, 0, None, None)
    await exports.progress(Made(asked.id, "ben", 30, 30), (0, b"of ben"))
    assert await exports.part(asked.id, 0) == b"of ben"
    assert await _parts(database) == 1


async def test_a_former_maker_that_gives_up_takes_nothing_from_the_new_one(
    exports: ExportStore, finished: Finished
) -> None:
    asked = await exports.request(await finished(), 1, "xlsx", "")
    await exports.claim("ann", -1)
    await exports.claim("ben", 30)
    await exports.progress(Made(asked.id, "ben", 30, 30), (0, b"of ben"))
    await exports.finish(asked.id, "ann", Status.CANCELLED)
    assert await exports.part(asked.id, 0) == b"of ben"


async def test_progress_renews_the_lease(exports: ExportStore, finished: Finished) -> None:
    asked = await exports.request(await finished(), 1, "xlsx", "")
    await exports.claim("ann", -1)
    await exports.progress(Made(asked.id, "ann", 1, 30))
    assert await exports.claim("ben", 30) is None


async def test_no_file_is_made_while_its_report_runs(
    exports: ExportStore, start: Start, leases: Leases
) -> None:
    lease = await start()
    asked = await exports.request(lease.report, 1, "xlsx", "")
    assert await exports.claim("ann", 30) is None
    await leases.finish(lease, Status.FAILED, "error", "It failed.")
    claimed = await exports.claim("ann", 30)
    assert claimed is not None
    assert claimed.id == asked.id


async def test_a_file_of_a_report_that_is_read_anew_is_made_of_the_new_rows(
    exports: ExportStore, start: Start, leases: Leases
) -> None:
    lease = await start()
    asked = await exports.request(lease.report, 1, "xlsx", "")
    assert await leases.start_generation(lease, "It is read again.") == 2
    assert await exports.find(lease.report, 1, "xlsx", "") is None
    await leases.finish(lease, Status.DONE)
    claimed = await exports.claim("maker", 60)
    assert claimed is not None
    assert (claimed.id, claimed.generation) == (asked.id, 2)


async def test_a_file_that_waits_is_cancelled_at_once(exports: ExportStore, finished: Finished) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.cancel(asked.id)
    found = await _now(exports, report)
    assert (found.status, found.finished_at is None) == (Status.CANCELLED, False)
    assert await exports.claim("ann", 30) is None


async def test_the_maker_of_a_file_learns_that_it_is_not_wanted_any_more(
    exports: ExportStore, database: Database, finished: Finished
) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", 30)
    assert await exports.progress(Made(asked.id, "ann", 10, 30), (0, b"part")) is False
    await exports.cancel(asked.id)
    found = await _now(exports, report)
    assert (found.status, found.cancel_requested) == (Status.RUNNING, True)
    assert await exports.progress(Made(asked.id, "ann", 20, 30)) is True
    await exports.finish(asked.id, "ann", Status.CANCELLED)
    assert (await _now(exports, report)).status is Status.CANCELLED
    assert await _parts(database) == 0


async def test_cancelling_a_file_that_is_done_changes_nothing(
    exports: ExportStore, finished: Finished
) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", 30)
    await exports.finish(asked.id, "ann", Status.DONE, size=1)
    before = await _now(exports, report)
    await exports.cancel(asked.id)
    after = await _now(exports, report)
    assert (after.status, after.cancel_requested, after.finished_at) == (
        Status.DONE,
        False,
        before.finished_at,
    )


async def test_a_file_that_its_maker_releases_is_made_by_the_next_at_once(
    exports: ExportStore, finished: Finished
) -> None:
    asked = await exports.request(await finished(), 1, "xlsx", "")
    await exports.claim("ann", 30)
    await exports.release("ben")
    assert await exports.claim("ben", 30) is None
    await exports.release("ann")
    with pytest.raises(LeaseLost):
        await exports.progress(Made(asked.id, "ann", 1, 30))
    claimed = await exports.claim("ben", 30)
    assert claimed is not None
    assert claimed.id == asked.id


async def test_parts_come_back_byte_for_byte(exports: ExportStore, finished: Finished) -> None:
    asked = await exports.request(await finished(), 1, "xlsx", "")
    await exports.claim("ann", 30)
    payloads = [random.Random(1).randbytes(PART_BYTES), bytes(range(256)), b"\0"]
    for number, payload in enumerate(payloads):
        await exports.progress(Made(asked.id, "ann", 0, 30), (number, payload))
    assert [await exports.part(asked.id, number) for number in range(4)] == [*payloads, None]
    assert await exports.part("another", 0) is None


async def test_old_files_are_forgotten_with_their_parts(
    exports: ExportStore, database: Database, finished: Finished
) -> None:
    report = await finished()
    done = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", 30)
    await exports.progress(Made(done.id, "ann", 1, 30), (0, b"part"))
    await exports.finish(done.id, "ann", Status.DONE, size=4)
    waiting = await exports.request(report, 1, "parquet", "")
    await exports.forget(60)
    assert await exports.part(done.id, 0) == b"part"
    async with database.write() as connection:
        await connection.execute(update(export).values(created_at=export.c.created_at - 61))
    await exports.forget(60)
    assert await exports.find(report, 1, "xlsx", "") is None
    assert await _parts(database) == 0
    found = await exports.find(report, 1, "parquet", "")
    assert found is not None
    assert found.id == waiting.id


async def test_a_deleted_report_takes_its_files_with_it(
    exports: ExportStore, database: Database, finished: Finished, store: ReportStore
) -> None:
    report = await finished()
    asked = await exports.request(report, 1, "xlsx", "")
    await exports.claim("ann", 30)
    await exports.progress(Made(asked.id, "ann", 1, 30), (0, b"part"))
    async with database.write() as connection:
        await connection.execute(delete(reports).where(reports.c.id == report))
    assert await store.get(report) is None
    assert await exports.find(report, 1, "xlsx", "") is None
    assert await _parts(database) == 0
    with pytest.raises(LeaseLost):
        await exports.progress(Made(asked.id, "ann", 2, 30), (1, b"part"))


async def test_a_file_of_a_deleted_report_can_be_neither_asked_for_nor_remembered(
    exports: ExportStore,
) -> None:
    with pytest.raises(NotFound):
        await exports.request("nothing", 1, "xlsx", "")
    await _remember(exports, "nothing")
    assert await exports.find("nothing", 1, "csv", "data") is None


async def test_what_is_known_of_a_file_is_remembered_once(
    exports: ExportStore, node_2: Database, finished: Finished
) -> None:
    report = await finished()
    await asyncio.gather(*(_remember(each, report) for each in [exports, ExportStore(node_2)] * 4))
    found = await exports.find(report, 1, "csv", "data")
    assert found is not None
    assert (found.status, found.rows, found.size, found.sha256) == (Status.DONE, 7, 12, "sum")
    assert (found.sizes, found.manifest) == ((2, 0, 10), b"{}")
    assert found.finished_at is not None
    assert await exports.claim("ann", 30) is None


async def _remember(exports: ExportStore, report: str) -> None:
    await exports.remember(report, 1, "csv", "data", sizes=(2, 0, 10), sha256="sum", rows=7, manifest=b"{}")
