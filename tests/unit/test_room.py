"""Reports stop, and new ones are refused, before the quota or the disk is full."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app import room as rooms
from app.database import Database
from app.errors import SpoolFull, StateFull, StateUnavailable
from app.export_store import ExportStore
from app.leases import Leases
from app.model import Chunk, Lease, Spec, Status
from app.patience import patiently
from app.report_store import ReportStore
from app.room import Room
from app.spool import Spool

Start = Callable[..., Awaitable[Lease]]
QUOTA = 10_000


def _chunk(number: int, size: int) -> Chunk:
    return Chunk(1, number, number, 1, bytes(size))


async def test_rows_are_taken_up_to_the_quota_and_not_past_it(database: Database, start: Start) -> None:
    lease = await start()
    spool = Spool(database, Room(database, QUOTA))
    for number in range(1, 11):
        await spool.append(lease, _chunk(number, 1_000), b"key", 8)
    with pytest.raises(SpoolFull, match=r"may take 9\.77 KiB, .* Delete reports that nobody needs"):
        await spool.append(lease, _chunk(11, 1), b"key", 8)
    report = await ReportStore(database).get(lease.report)
    assert report is not None
    assert (report.bytes, report.chunks) == (QUOTA, 10)


async def test_the_quota_is_of_all_reports_and_a_deleted_one_counts_no_more(
    database: Database, store: ReportStore, start: Start
) -> None:
    lease = await start()
    room = Room(database, QUOTA)
    await Spool(database).append(lease, _chunk(1, QUOTA), b"key", 8)
    with pytest.raises(SpoolFull):
        await room.require()
    await Leases(database).finish(lease, Status.CANCELLED)
    await store.expire(lease.report)
    room.look_again()
    await room.require(QUOTA)


async def test_files_take_room_unless_they_are_made_as_they_are_sent(
    database: Database, start: Start
) -> None:
    lease, room, exports = await start(), Room(database, QUOTA), ExportStore(database)
    await Leases(database).finish(lease, Status.DONE)
    sent = {"sizes": (QUOTA,), "sha256": "", "rows": 0, "manifest": b""}
    await exports.remember(lease.report, 1, "csv", "", **sent)
    await room.require(QUOTA)
    await exports.request(lease.report, 1, "xlsx", "")
    made = await exports.claim("maker", 60)
    assert made is not None
    await exports.finish(made.id, "maker", Status.DONE, size=QUOTA - 1)
    room.look_again()
    await room.require(1)
    with pytest.raises(SpoolFull):
        await room.require(2)
    await ReportStore(database).expire(lease.report)
    room.look_again()
    await room.require(QUOTA)


async def test_what_was_written_since_the_last_look_counts(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_FRESH_SECONDS", 1e9)
    room = Room(database, QUOTA)
    await room.take(QUOTA - 1)
    await room.require()
    await room.take(1)
    with pytest.raises(SpoolFull):
        await room.require()


async def test_a_room_looks_once_a_second(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = [100.0], []
    monkeypatch.setattr(rooms, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Room, "_look", _counting(Room._look, looks))
    room = Room(database, QUOTA)
    for clock[0] in (100.0, 100.5, 100.99, 101.0, 101.5):
        await room.require()
    assert looks == [100.0, 101.0]


def _counting(
    look: Callable[[Room], Awaitable[None]], looks: list[float]
) -> Callable[[Room], Awaitable[None]]:
    async def counting(self: Room) -> None:
        await look(self)
        looks.append(self._looked_at)

    return counting


async def test_a_part_of_the_disk_of_a_state_file_stays_free(tmp_path: Path) -> None:
    database = await Database.open(str(tmp_path / "state.db"))
    free = shutil.disk_usage(tmp_path).free
    await Room(database, reserve=free // 2).require()
    with pytest.raises(SpoolFull, match=r"disk that reports are kept on is nearly full: .* stay free"):
        await Room(database, reserve=2 * free).require()
    await database.close()


async def test_without_limits_anything_fits(database: Database) -> None:
    await Room(database).require(10**15)


# A disk that is full


async def test_a_full_disk_is_told_and_what_was_written_can_be_read(
    small_disk: Path, fill: Callable[[Path], Path]
) -> None:
    database = await Database.open(str(small_disk / "state.db"))
    store, spool, leases = ReportStore(database), Spool(database), Leases(database)
    await store.create("report", "ann", 5, "noise.recordings", Spec((0, 3)), ())
    report = await leases.claim("node-1", 60)
    assert report is not None
    lease = Lease(report.id, report.epoch)
    await spool.append(lease, _chunk(1, 50_000), b"key", 60)
    filler = fill(small_disk)

    async def append_until_it_fails() -> None:
        for number in range(2, 1_000):
            await spool.append(lease, _chunk(number, 50_000), b"key", 60)

    with pytest.raises(StateFull, match=r"is full\. Make some room on it") as full:
        await append_until_it_fails()
    assert full.value.status == 507
    assert isinstance(full.value, StateUnavailable)
    before = await store.get("report")
    assert before is not None
    assert len(await spool.read("report", 1, 0, 1_000)) == before.chunks >= 1

    # The end of a report waits for room if need be; everything else is told at once.
    stopped = asyncio.Event()
    finishing = asyncio.create_task(
        patiently(lambda: leases.finish(lease, Status.FAILED, "spool-full", "Full."), stopped, for_room=True)
    )
    await asyncio.sleep(0.1)
    filler.unlink()
    async with asyncio.timeout(30):
        assert await finishing
    assert await store.expire("report")
    await database.close()


async def test_a_full_postgresql_is_told_in_the_same_words(postgresql_url: str) -> None:
    from sqlalchemy import text

    database = await Database.open(postgresql_url)
    with pytest.raises(StateFull, match=r"is full\. Make some room on it"):
        async with database.write() as connection:
            await connection.execute(
                text("DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$")
            )
    await database.close()
