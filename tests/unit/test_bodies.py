"""The bytes of downloads, made from a real spool."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bodies import Again, BrokenOff, Live, Parts
from app.codec import ChunkEncoder
from app.database import Database
from app.export_store import PART_BYTES, ExportStore
from app.exports import EXPORTS
from app.exports.writing import Options, StreamWriter
from app.hints import Hint, Hints
from app.leases import Leases
from app.model import Chunk, Lease, Made, Report, Status
from app.report_store import ReportStore
from app.spool import Spool

Start = Callable[..., Awaitable[Lease]]
PROXY_SECONDS = 60
ROWS = 10  # of each chunk here


@pytest.fixture
def state_url(tmp_path: object) -> str:
    """The statements behind are tested on both engines; what is told apart here is not theirs."""
    return f"{tmp_path}/state.db"


@dataclass
class Told:
    """What a body remembers of a file that it sent."""

    sizes: Sequence[int] = ()
    sha256: str = ""
    files: list[Report] = field(default_factory=list)

    async def __call__(self, report: Report, _: StreamWriter, sizes: Sequence[int], sha256: str) -> None:
        self.sizes, self.sha256 = sizes, sha256
        self.files.append(report)


class Desk:
    """A report that a test writes while a download of it is read."""

    def __init__(self, store: ReportStore, spool: Spool, leases: Leases, lease: Lease) -> None:
        self.store, self.spool, self.leases, self.lease = store, spool, leases, lease
        self.wake, self.told, self.stops = Hints(), Told(), asyncio.Event()
        self.generation, self.chunks = 1, 0

    async def write(self, chunks: int = 1) -> None:
        for _ in range(chunks):
            first, encoder = self.chunks * ROWS + 1, ChunkEncoder()
            for number in range(first, first + ROWS):
                encoder.add((number, f"größe {number}"))
            self.chunks += 1
            chunk = Chunk(self.generation, self.chunks, first, ROWS, encoder.finish())
            await self.spool.append(self.lease, chunk, None, 600)

    async def start_anew(self) -> None:
        self.generation = await self.leases.start_generation(self.lease, "It is read again.")
        self.chunks = 0

    async def report(self) -> Report:
        found = await self.store.get(self.lease.report)
        assert found is not None
        return found

    async def live(self, format_: str = "csv") -> AsyncIterator[bytes]:
        report = await self.report()
        writer = _writer(report, format_)
        stops = self.stops.is_set
        return Live(self.store, self.spool, self.wake, report, writer, self.told, stops)(0, 0)

    async def whole(self, format_: str = "csv") -> bytes:
        """What the file of the finished report has to be."""
        writer, report = _writer(await self.report(), format_), await self.report()
        rows = [(number, f"größe {number}") for number in range(1, report.rows + 1)]
        return writer.begin() + writer.rows(rows, 1) + writer.end()


def _writer(report: Report, format_: str = "csv") -> StreamWriter:
    stream = EXPORTS[format_].stream
    assert stream is not None
    return stream(report.columns, Options())


@pytest.fixture
async def desk(store: ReportStore, spool: Spool, leases: Leases, start: Start) -> Desk:
    return Desk(store, spool, leases, await start(600))


async def _until(body: AsyncIterator[bytes], enough: int) -> bytes:
    """The first bytes, at least so many."""
    found = b""
    while len(found) < enough:
        found += await anext(body)
    return found


async def _rest(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([each async for each in body])


async def _into(parts: list[bytes], body: AsyncIterator[bytes]) -> None:
    async for each in body:
        parts += [each]


# Of a report that runs


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
async def test_a_file_follows_its_report_to_the_end(desk: Desk, format_: str) -> None:
    body = await desk.live(format_)
    await desk.write(6)
    start = await _until(body, 500)
    await desk.write(3)
    await desk.leases.finish(desk.lease, Status.DONE)
    found = start + await _rest(body)
    assert found == await desk.whole(format_)
    assert sum(desk.told.sizes) == len(found)
    assert len(desk.told.sizes) == 1 + 9 + 1
    assert desk.told.sha256 == hashlib.sha256(found).hexdigest()
    assert [(each.status, each.rows) for each in desk.told.files] == [(Status.DONE, 90)]


async def test_a_file_of_a_report_without_rows_is_its_header(desk: Desk) -> None:
    body = await desk.live()
    await desk.leases.finish(desk.lease, Status.DONE)
    assert await _rest(body) == await desk.whole() == b'"id",""\r\n'


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED, Status.TIMED_OUT])
@pytest.mark.parametrize("chunks", [0, 3])
async def test_a_report_that_ends_early_breaks_its_file_off(desk: Desk, status: Status, chunks: int) -> None:
    body = await desk.live()
    await desk.write(chunks)
    await desk.leases.finish(desk.lease, status, "code", "It failed.")
    parts: list[bytes] = []
    with pytest.raises(BrokenOff):
        await _into(parts, body)
    found, whole = b"".join(parts), await desk.whole()
    assert whole.startswith(found)
    assert len(found) < len(whole)
    assert desk.told.files == []


async def test_a_deleted_report_breaks_its_file_off(desk: Desk) -> None:
    body = await desk.live()
    await desk.write(3)
    await _until(body, 100)
    await desk.leases.finish(desk.lease, Status.DONE)
    assert await desk.store.expire(desk.lease.report)
    with pytest.raises(BrokenOff):
        await _rest(body)


async def test_a_server_that_stops_breaks_a_file_off(desk: Desk) -> None:
    body = await desk.live()
    await desk.write(3)
    await _until(body, 100)
    desk.stops.set()
    with pytest.raises(BrokenOff):
        await _rest(body)


async def test_a_report_that_is_read_anew_breaks_off_a_file_that_has_rows(desk: Desk) -> None:
    body = await desk.live()
    await desk.write(3)
    await _until(body, 100)
    await desk.start_anew()
    await desk.write(5)
    await desk.leases.finish(desk.lease, Status.DONE)
    with pytest.raises(BrokenOff):
        await _rest(body)
    assert desk.told.files == []


async def test_a_report_that_is_read_anew_before_the_first_row_was_sent_goes_on(desk: Desk) -> None:
    body = await desk.live()
    assert await anext(body) == b""  # the header is held back
    await desk.write(3)
    await desk.start_anew()
    assert await anext(body) == b""
    await desk.write(5)
    await desk.leases.finish(desk.lease, Status.DONE)
    assert await _rest(body) == await desk.whole()
    assert len(desk.told.sizes) == 1 + 5 + 1


# The clock: each wait for a hint takes as long as it may


class Clock:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._real, self.passed = loop.time, 0.0

    def time(self) -> float:
        return self._real() + self.passed


class Silence(Hint):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def wait(self, seconds: float) -> None:
        self._clock.passed += seconds


class SilentHints(Hints):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    @contextmanager
    def listen(self, *_: str) -> Iterator[Hint]:
        yield Silence(self._clock)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", clock.time)
    return clock


@pytest.mark.parametrize("chunks", [0, 1])
async def test_no_proxy_sees_a_minute_of_silence_while_no_rows_come_for_five(
    desk: Desk, clock: Clock, chunks: int
) -> None:
    """Before the first row there is the header to send, of nine bytes here."""
    desk.wake = SilentHints(clock)
    body = await desk.live()
    await desk.write(chunks)
    sent, found, silences = clock.passed, b"", []
    async for each in body:
        if each:
            silences.append(clock.passed - sent)
            sent, found = clock.passed, found + each
        if clock.passed >= 300:
            break
    silences.append(clock.passed - sent)
    assert max(silences) < PROXY_SECONDS
    assert (await desk.whole()).startswith(found)
    await desk.write(4)
    await desk.leases.finish(desk.lease, Status.DONE)
    assert found + await _rest(body) == await desk.whole()


# Of a report that is over


@pytest.fixture
async def over(desk: Desk) -> Desk:
    body = await desk.live()
    await desk.write(7)
    await desk.leases.finish(desk.lease, Status.DONE)
    assert await _rest(body) == await desk.whole()
    return desk


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
async def test_any_part_is_made_anew_as_it_was(over: Desk, data: st.DataObject) -> None:
    report, whole = await over.report(), await over.whole()
    again = Again(over.spool, report, lambda: _writer(report), over.told.sizes)
    first = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(first + 1, len(whole)))
    assert await _rest(again(first, end)) == whole[first:end]


async def test_parts_that_end_where_a_piece_ends(over: Desk) -> None:
    report, whole = await over.report(), await over.whole()
    again = Again(over.spool, report, lambda: _writer(report), over.told.sizes)
    places = {0, len(whole)}
    for number in range(len(over.told.sizes)):
        edge = sum(over.told.sizes[:number])
        places |= {max(0, edge - 1), edge, edge + 1}
    for first in sorted(places):
        for end in sorted(each for each in places if first < each <= len(whole)):
            assert await _rest(again(first, end)) == whole[first:end], (first, end)


async def test_a_report_that_is_deleted_meanwhile_breaks_off_what_is_made_anew(
    over: Desk, database: Database
) -> None:
    report, whole = await over.report(), await over.whole()
    body = Again(over.spool, report, lambda: _writer(report), over.told.sizes)(0, len(whole))
    await anext(body)
    async with database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM chunk")
    with pytest.raises(BrokenOff):
        await _rest(body)


async def test_any_part_of_a_kept_file_comes_from_its_parts(over: Desk, database: Database) -> None:
    exports = ExportStore(database)
    asked = await exports.request(over.lease.report, 1, "xlsx", "")
    await exports.claim("ann", 600)
    whole = bytes(range(251)) * (2 * PART_BYTES // 251 + 100)
    for number in range(0, len(whole), PART_BYTES):
        part = (number // PART_BYTES, whole[number : number + PART_BYTES])
        await exports.progress(Made(asked.id, "ann", 0, 600), part)
    await exports.finish(asked.id, "ann", Status.DONE, size=len(whole))
    found = await exports.find(over.lease.report, 1, "xlsx", "")
    assert found is not None
    parts = Parts(exports, found)
    for first in (0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, len(whole) - 1):
        for end in (first + 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, len(whole)):
            if first < end <= len(whole):
                assert await _rest(parts(first, end)) == whole[first:end], (first, end)
    async with database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM export_part WHERE number = 1")
    with pytest.raises(BrokenOff):
        await _rest(parts(0, len(whole)))
