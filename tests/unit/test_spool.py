import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from sqlalchemy import delete, func, select

from app.codec import CODEC
from app.database import Database
from app.errors import LeaseLost
from app.leases import Leases
from app.model import Chunk, Extent, Lease, Status
from app.pages import Page
from app.report_store import ReportStore
from app.schema import chunk as chunks
from app.schema import report as reports
from app.spool import Spool

Sizes = Callable[..., Awaitable[list[tuple[int, int]]]]

Start = Callable[..., Awaitable[Lease]]


def _chunk(number: int, rows: int = 10, payload: bytes = b"payload") -> Chunk:
    return Chunk(1, number, (number - 1) * 10 + 1, rows, payload)


@pytest.fixture
def fill(spool: Spool) -> Callable[[Lease, int], Awaitable[None]]:
    async def fill(lease: Lease, count: int) -> None:
        for number in range(1, count + 1):
            await spool.append(lease, _chunk(number), None, 8)

    return fill


Fill = Callable[[Lease, int], Awaitable[None]]


async def test_an_append_moves_the_checkpoint_and_renews_the_lease(
    store: ReportStore, spool: Spool, start: Start
) -> None:
    lease = await start(-1)
    assert await spool.append(lease, _chunk(1, payload=b"four"), b"\0cursor", 8) is False
    report = await store.get(lease.report)
    assert report is not None
    assert (report.next_chunk, report.rows, report.bytes, report.cursor) == (2, 10, 4, b"\0cursor")
    assert (report.chunks, report.attempts) == (1, 0)
    assert report.lease_until > report.read_at
    await spool.append(lease, _chunk(2, 7, b"sixsix"), None, 8)
    report = await store.get(lease.report)
    assert report is not None
    assert (report.next_chunk, report.rows, report.bytes, report.cursor) == (3, 17, 10, None)


async def test_a_payload_comes_back_byte_for_byte(spool: Spool, start: Start, database: Database) -> None:
    lease = await start()
    payloads = [b"", bytes(range(256)), random.Random(1).randbytes(3_000_000)]
    for number, payload in enumerate(payloads, 1):
        await spool.append(lease, _chunk(number, payload=payload), None, 8)
    read = await spool.read(lease.report, 1, 0, 10)
    assert read == [_chunk(number, payload=payload) for number, payload in enumerate(payloads, 1)]
    assert all(type(chunk.payload) is bytes for chunk in read)
    async with database.read() as connection:
        assert set((await connection.execute(select(chunks.c.codec))).scalars()) == {CODEC}


@pytest.mark.parametrize("wrong", [_chunk(1), _chunk(3), Chunk(2, 2, 11, 10, b""), Chunk(0, 2, 11, 10, b"")])
async def test_an_append_out_of_order_is_refused_and_writes_nothing(
    store: ReportStore, spool: Spool, start: Start, wrong: Chunk, sizes: Sizes
) -> None:
    lease = await start()
    await spool.append(lease, _chunk(1), b"cursor", 8)
    with pytest.raises(LeaseLost):
        await spool.append(lease, wrong, b"wrong", 8)
    report = await store.get(lease.report)
    assert report is not None
    assert (report.next_chunk, report.cursor) == (2, b"cursor")
    assert await sizes(spool, lease.report, 1) == [(1, 10)]
    assert await sizes(spool, lease.report, wrong.generation) in ([], [(1, 10)])


async def test_the_append_of_a_former_owner_is_refused_and_writes_nothing(
    store: ReportStore, leases: Leases, spool: Spool, start: Start, sizes: Sizes
) -> None:
    lease = await start(-1)
    await spool.append(lease, _chunk(1), b"cursor", -1)
    claimed = await leases.claim("node-2", 8)
    assert claimed is not None
    with pytest.raises(LeaseLost):
        await spool.append(lease, _chunk(2), b"old", 8)
    report = await store.get(lease.report)
    assert report is not None
    assert (report.next_chunk, report.cursor) == (2, b"cursor")
    await spool.append(Lease(claimed.id, claimed.epoch), _chunk(2), b"new", 8)
    assert await sizes(spool, lease.report, 1) == [(1, 10), (2, 10)]


async def test_an_append_after_the_end_is_refused(leases: Leases, spool: Spool, start: Start) -> None:
    lease = await start()
    await leases.finish(lease, Status.CANCELLED)
    with pytest.raises(LeaseLost):
        await spool.append(lease, _chunk(1), None, 8)


async def test_an_append_tells_of_a_cancellation_and_keeps_the_rows(
    store: ReportStore, spool: Spool, start: Start, sizes: Sizes
) -> None:
    lease = await start()
    await store.request_cancellation(lease.report)
    assert await spool.append(lease, _chunk(1), None, 8) is True
    assert await sizes(spool, lease.report, 1) == [(1, 10)]


async def test_of_two_owners_that_append_at_once_one_writes_each_chunk(
    store: ReportStore, spool: Spool, start: Start, node_2: Database
) -> None:
    lease = await start(-1)
    spools = (spool, Spool(node_2))
    for number in range(1, 11):
        claimed = await Leases(node_2).claim("node-2", -1)
        assert claimed is not None
        newer = Lease(claimed.id, claimed.epoch)
        results = await asyncio.gather(
            spools[number % 2].append(lease, _chunk(number, payload=b"old"), None, -1),
            spools[1 - number % 2].append(newer, _chunk(number, payload=b"new"), None, -1),
            return_exceptions=True,
        )
        assert isinstance(results[0], LeaseLost)
        assert results[1] is False
        lease = newer
    assert {chunk.payload for chunk in await spool.read(lease.report, 1, 0, 99)} == {b"new"}


async def test_a_claim_that_races_an_append_sees_it_or_fences_it(
    store: ReportStore, spool: Spool, start: Start, node_2: Database, sizes: Sizes
) -> None:
    lease, number = await start(-1), 1
    for _ in range(30):
        appended, claimed = await asyncio.gather(
            spool.append(lease, _chunk(number), None, -1),
            Leases(node_2).claim("node-2", -1),
            return_exceptions=True,
        )
        assert not isinstance(claimed, BaseException)
        number += not isinstance(appended, LeaseLost)
        if claimed is not None:
            assert claimed.next_chunk in (number, number - 1)
            lease = Lease(claimed.id, claimed.epoch)
        report = await store.get(lease.report)
        assert report is not None
        assert report.next_chunk == number
    found = await sizes(spool, lease.report, 1)
    assert [number for number, _ in found] == list(range(1, number))


async def test_a_cancelled_append_writes_all_or_nothing(
    store: ReportStore, spool: Spool, start: Start, sizes: Sizes
) -> None:
    lease = await start()
    for turn in range(30):
        before = await store.get(lease.report)
        assert before is not None
        task = asyncio.create_task(spool.append(lease, _chunk(before.next_chunk), None, 8))
        await asyncio.sleep(turn / 10_000)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    report = await store.get(lease.report)
    assert report is not None
    found = await sizes(spool, lease.report, 1)
    assert [number for number, _ in found] == list(range(1, report.next_chunk))
    assert report.rows == sum(rows for _, rows in found)


async def test_reading_goes_on_after_a_chunk_in_order(spool: Spool, start: Start, fill: Fill) -> None:
    lease = await start()
    await fill(lease, 12)
    assert [chunk.number for chunk in await spool.read(lease.report, 1, 0, 3)] == [1, 2, 3]
    assert [chunk.number for chunk in await spool.read(lease.report, 1, 9, 99)] == [10, 11, 12]
    assert await spool.read(lease.report, 1, 12, 99) == []
    assert await spool.read(lease.report, 2, 0, 99) == []
    assert await spool.read("another", 1, 0, 99) == []


async def test_the_extents_of_a_page_are_told_without_their_rows(
    spool: Spool, start: Start, fill: Fill
) -> None:
    lease = await start()
    await fill(lease, 7)
    told = await spool.extents(lease.report, 1, Page())
    assert told == [Extent(number, number * 10 - 9, 10) for number in range(1, 8)]
    assert await spool.extents(lease.report, 1, Page(1, 25)) == told[:3]
    assert await spool.extents(lease.report, 1, Page(2, 25)) == told[3:5]
    assert await spool.extents(lease.report, 1, Page(3, 25)) == told[5:]
    assert await spool.extents(lease.report, 1, Page(4, 25)) == []
    assert await spool.extents(lease.report, 1, Page(), after=2, limit=3) == told[2:5]
    assert await spool.extents(lease.report, 1, Page(2, 25), after=4) == told[4:5]
    assert await spool.extents(lease.report, 2, Page()) == []


async def test_a_chunk_is_found_by_its_number(spool: Spool, start: Start, fill: Fill) -> None:
    lease = await start()
    await fill(lease, 2)
    assert await spool.chunk(lease.report, 1, 2) == _chunk(2)
    assert await spool.chunk(lease.report, 1, 3) is None
    assert await spool.chunk(lease.report, 2, 1) is None


@pytest.mark.parametrize(("row", "number"), [(0, None), (1, 1), (10, 1), (11, 2), (23, 3), (24, None)])
async def test_a_chunk_is_found_by_a_row(spool: Spool, start: Start, row: int, number: int | None) -> None:
    lease = await start()
    for chunk in (_chunk(1), _chunk(2), _chunk(3, 3)):
        await spool.append(lease, chunk, None, 8)
    found = await spool.chunk_of_row(lease.report, 1, row)
    assert (found and found.number) == number


async def test_reading_does_not_wait_for_a_writer(
    spool: Spool, start: Start, fill: Fill, node_2: Database
) -> None:
    lease = await start()
    await fill(lease, 2)
    async with node_2.write() as connection:
        await connection.execute(delete(chunks))
        async with asyncio.timeout(2):
            assert len(await spool.read(lease.report, 1, 0, 9)) == 2


async def test_deleting_a_report_deletes_its_chunks(database: Database, start: Start, fill: Fill) -> None:
    await fill(await start(), 3)
    async with database.write() as connection:
        await connection.execute(delete(reports))
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(chunks))).scalar_one() == 0
