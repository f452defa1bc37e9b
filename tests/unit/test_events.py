"""What a viewer receives. The parser here does as htmx's extension does (static/vendor/hx-sse.min.js)."""

import asyncio
import codecs
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import delete

from app import hints
from app.codec import ChunkEncoder
from app.database import Database
from app.errors import StateUnavailable
from app.events import Events
from app.fragments import Fragments
from app.hints import Hints
from app.leases import Leases
from app.model import Chunk, Column, Kind, Lease, Report, Row, Spec, Status
from app.pages import Pages
from app.report_store import ReportStore
from app.schema import report as reports
from app.spool import Spool
from app.sse import END, PING, Position, message
from app.templating import environment

_RESTARTING = b"The server is restarting. Your report goes on."
REPORT = "report"
COLUMNS = (Column("id", Kind.INTEGER, "INTEGER"), Column("name", Kind.TEXT, "TEXT"))
_ENVIRONMENT = environment()


@dataclass(frozen=True)
class Message:
    data: str
    event: str
    id: str


@dataclass
class Parser:
    """Fields; a blank line dispatches; an id counts only once its message was dispatched."""

    messages: list[Message] = field(default_factory=list)
    last_id: str = ""
    _text: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))
    _buffer: str = ""
    _id: str = ""
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, packet: bytes) -> None:
        self._buffer += self._text.decode(packet)
        *lines, self._buffer = re.split(r"\r\n|\r|\n", self._buffer)
        for line in lines:
            if line:
                self._field(line)
            else:
                self._dispatch()

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            self._id = value
        else:
            raise AssertionError(f"a line that the browser would drop: {line!r}")

    def _dispatch(self) -> None:
        if self._data or self._event:
            self.last_id = self._id
            self.messages.append(Message("\n".join(self._data), self._event, self._id))
        self._data, self._event = [], ""

    @property
    def chunks(self) -> list[int]:
        """The numbers of the chunks that came to the page, since the last time it was emptied."""
        numbers: list[int] = []
        for each in self.messages:
            if each.event:
                continue
            if _RESET in each.data:
                numbers.clear()
            numbers += map(int, re.findall(r'data-chunk="(\d+)"', each.data))
        return numbers


_RESET = '<hx-partial hx-target="#report-rows" hx-swap="innerHTML"></hx-partial>'


def parsed(stream: bytes) -> Parser:
    parser = Parser()
    parser.feed(stream)
    return parser


class Stage:
    """A report that a test writes, and its viewers."""

    def __init__(
        self, database: Database, page_chunks: int = 20, page_rows: int = 500_000, ping_seconds: float = 15
    ) -> None:
        self.database = database
        self.store, self.leases = ReportStore(database), Leases(database)
        self.spool, self.wake = Spool(database), Hints()
        self.fragments = Fragments(_ENVIRONMENT)
        self.pages = Pages(page_rows, page_chunks)
        self.events = Events(self.store, self.spool, self.fragments, self.wake, ping_seconds)
        self._number = 0
        self._generation = 1

    async def begin(self, columns: tuple[Column, ...] = COLUMNS) -> None:
        await self.store.create(REPORT, "ann", 5, "s.t", Spec((0, 1)), columns)
        claimed = await self.leases.claim("node-1", 600)
        assert claimed is not None
        self.lease = Lease(REPORT, claimed.epoch)

    async def append(self, count: int = 1, rows: Iterable[Row] | None = None) -> None:
        for _ in range(count):
            self._number += 1
            encoder = ChunkEncoder()
            first = (self._number - 1) * 3 + 1
            for row in rows or [(first + place, f"name {first + place}") for place in range(3)]:
                encoder.add(row)
            chunk = Chunk(self._generation, self._number, first, encoder.rows, encoder.finish())
            await self.spool.append(self.lease, chunk, b"cursor", 600)
            self.tell()

    async def restart(self) -> None:
        self._generation = await self.leases.start_generation(self.lease, "It was read again.")
        self._number = 0
        self.tell()

    async def finish(self, status: Status = Status.DONE, error: str | None = None) -> None:
        await self.leases.finish(self.lease, status, error and "code", error)
        self.tell()

    def tell(self) -> None:
        self.wake.notify(hints.chunks(REPORT))

    def follow(
        self,
        after: str | None = None,
        report_id: str = REPORT,
        page: int | None = None,
        keep: bool = False,
    ) -> AsyncIterator[bytes]:
        return self.events.follow(report_id, Position.parse(after), self.pages.page(page, keep))

    async def whole(self, after: str | None = None, report_id: str = REPORT, **where: Any) -> bytes:
        """A stream to its end."""
        async with asyncio.timeout(20):
            return b"".join([part async for part in self.follow(after, report_id, **where)])

    async def view(self, after: str | None = None, **where: Any) -> Parser:
        return parsed(await self.whole(after, **where))


@pytest.fixture
def stage(database: Database) -> Callable[..., Stage]:
    def make(**settings: Any) -> Stage:
        return Stage(database, **settings)

    return make


Make = Callable[..., Stage]


async def following(stream: AsyncIterator[bytes], count: int = 1) -> list[bytes]:
    """The next parts of a stream that goes on."""
    async with asyncio.timeout(10):
        return [await anext(stream) for _ in range(count)]


# Framing


def test_a_message_has_its_id_first_a_data_line_for_each_line_and_a_blank_line() -> None:
    assert message("<a>\n<b>\n", Position(2, 7)) == b"id: 2.7\ndata: <a>\ndata: <b>\n\n"
    assert message("<a>") == b"data: <a>\n\n"


def test_blank_lines_of_the_html_do_not_end_the_message() -> None:
    assert message("\n<a>\n\n\n<b>\n\n") == b"data: <a>\ndata: <b>\n\n"


@pytest.mark.parametrize("html", ["a\rb", "a\r\nb", "\r", "a\r\rid: 9.9\rb", "é\N{LINE SEPARATOR}\x85\x0b"])
def test_no_character_of_the_html_breaks_the_message(html: str) -> None:
    framed = message(html, Position(1, 1))
    assert b"\r" not in framed
    (found,) = parsed(framed).messages
    assert (found.id, found.event) == ("1.1", "")
    assert found.data.replace("&#13;", "\r") == html


def test_pings_and_the_end_are_named_and_carry_no_id() -> None:
    assert parsed(PING).messages == [Message("", "ping", "")]
    assert parsed(END).messages == [Message("", "end", "")]
    assert b"\r" not in PING + END


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1.0", (1, 0)),
        ("3.17", (3, 17)),
        ("0.0", (0, 0)),
        ("999999999.999999999", (999_999_999, 999_999_999)),
    ],
)
def test_a_position_is_read_as_it_is_written(text: str, position: tuple[int, int]) -> None:
    found = Position.parse(text)
    assert (found.generation, found.number) == position
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "1",
        "1.",
        ".1",
        "1.1.1",
        "-1.2",
        "1.-2",
        "a.b",
        " 1.1",
        "1.1\n",
        "1,1",
        "٣.٣",
        "1e3.1",
        "9999999999.1",
        "1.99999999999999999999",
        "1.1; DROP TABLE report",
        "\0",
    ],
)
def test_any_other_position_is_the_beginning(text: str | None) -> None:
    assert Position.parse(text) == Position(0, 0)


# What a stream holds


async def test_the_bytes_of_a_stream_have_line_feeds_only_and_the_id_first(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(2, rows=[(1, "a\rb\nc\r\nd\0"), (2, "\n\nid: 9.9\n\nevent: end\n\n")])
    await one.finish()
    stream = await one.whole()
    assert b"\r" not in stream
    assert b"\0" not in stream
    assert parsed(stream).chunks == [1, 2]
    for part in stream.split(b"\n\n")[:2]:
        head, *lines = part.split(b"\n")
        assert re.fullmatch(rb"id: 1\.[12]", head)
        assert all(line.startswith(b"data: ") for line in lines)
    assert b"a&#13;b&#10;c&#13;&#10;d" in stream


async def test_each_block_of_rows_is_one_data_line(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(1, rows=[(number, "x") for number in range(250)])
    await one.finish()
    lines = [line for line in (await one.whole()).split(b"\n") if b"<tr" in line]
    assert [line.count(b"<tr") for line in lines] == [100, 100, 50]


@pytest.mark.parametrize("name", ["a\rb", "a\r\nid: 9.9\r\nb", '"><script>alert(1)</script>', "a\n\nb", ""])
async def test_odd_names_of_columns_and_odd_errors_do_not_break_a_stream(stage: Make, name: str) -> None:
    one = stage()
    await one.begin((Column(name, Kind.TEXT), Column(f"{name}2", Kind.TEXT)))
    await one.append(2)
    await one.finish(Status.FAILED, f"It said {name}.")
    stream = await one.whole()
    assert b"\r" not in stream
    assert b"<script" not in stream
    assert parsed(stream).chunks == [1, 2]
    assert parsed(stream).last_id == "1.2"


async def test_a_viewer_from_the_beginning_gets_everything_then_the_final_status_then_the_end(
    stage: Make,
) -> None:
    one = stage()
    await one.begin()
    await one.append(6)
    await one.finish()
    view = await one.view("0.0")
    assert view.chunks == [1, 2, 3, 4, 5, 6]
    assert [each.id for each in view.messages[:6]] == [f"1.{number}" for number in range(1, 7)]
    *_, last, end = view.messages
    assert end == Message("", "end", "1.6")
    assert last.event == ""
    assert 'data-status="done"' in last.data
    assert 'aria-valuenow="100"' in last.data
    assert _RESET not in "".join(each.data for each in view.messages)


async def test_every_message_to_the_page_carries_the_progress_and_the_status(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(2)
    await one.finish(Status.CANCELLED)
    for each in (await one.view()).messages[:-1]:
        assert 'id="report-progress"' in each.data
        assert 'id="report-status"' in each.data


async def test_the_column_widths_come_with_the_first_chunk_only(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(3)
    await one.finish()
    with_style = [each.id for each in (await one.view()).messages if "table.css" in each.data]
    assert with_style == ["1.1"]


async def test_a_viewer_from_the_middle_gets_the_rest(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(6)
    await one.finish()
    assert (await one.view("1.4")).chunks == [5, 6]


@pytest.mark.parametrize("after", ["1.6", "1.7", "1.999999999"])
async def test_a_viewer_that_has_all_gets_the_final_status_and_the_end(stage: Make, after: str) -> None:
    one = stage()
    await one.begin()
    await one.append(6)
    await one.finish()
    view = await one.view(after)
    assert view.chunks == []
    assert [each.event for each in view.messages] == ["", "end"]
    assert 'data-status="done"' in view.messages[0].data


async def test_a_viewer_of_another_generation_begins_anew_with_an_empty_table(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(3)
    await one.finish()
    view = await one.view("7.2")
    assert _RESET in view.messages[0].data
    assert view.messages[0].id == ""
    assert view.chunks == [1, 2, 3]


async def test_an_empty_report_says_no_data_and_ends(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.finish()
    view = await one.view()
    assert [each.event for each in view.messages] == ["", "end"]
    assert '<p id="report-empty">No data</p>' in view.messages[0].data


async def test_past_the_bound_of_the_page_a_placeholder_of_the_same_height_comes(stage: Make) -> None:
    one = stage(page_chunks=2)
    await one.begin()
    await one.append(4)
    await one.finish()
    view = await one.view()
    assert view.chunks == [1, 2, 3, 4]
    for each in view.messages[:2]:
        assert each.data.count("<tr") == 3
    for number, each in enumerate(view.messages[2:4], 3):
        assert "<tr" not in each.data
        assert f'hx-get="/reports/{REPORT}/chunks/{number}?generation=1"' in each.data
        assert f'height="{3 * 26}"' in each.data
        assert each.id == f"1.{number}"


async def test_a_page_that_keeps_its_rows_gets_rows_past_the_bound(stage: Make) -> None:
    one = stage(page_chunks=2)
    await one.begin()
    await one.append(4)
    await one.finish()
    view = await one.view(page=1, keep=True)
    assert [each.data.count("<tr") for each in view.messages[:4]] == [3, 3, 3, 3]


async def test_a_viewer_of_one_page_gets_its_chunks_and_the_progress_of_the_whole(stage: Make) -> None:
    one = stage(page_rows=6)
    await one.begin()
    await one.append(5)
    await one.finish()
    for page, chunks in ((1, [1, 2]), (2, [3, 4]), (3, [5]), (4, [])):
        view = await one.view(page=page)
        assert view.chunks == chunks
        assert view.messages[-2].data.count("15 rows in") == 2  # as text and for screen readers
        assert view.messages[-1].event == "end"
        assert (await one.view(view.last_id, page=page)).chunks == []


async def test_a_full_page_is_told_the_progress_at_most_four_times_a_second(stage: Make) -> None:
    one = stage(page_rows=3)
    await one.begin()
    await one.append()
    started = time.monotonic()
    watching = asyncio.create_task(one.view(page=1))
    for _ in range(50):
        await one.append()
        await asyncio.sleep(0.02)
    await one.finish()
    view = await watching
    told = [each for each in view.messages if not each.event]
    assert 2 <= len(told) <= 4 * (time.monotonic() - started) + 3
    assert "153 rows in" in told[-1].data


async def test_screen_readers_hear_a_new_status_at_once_and_progress_only_now_and_then(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(3)
    watching = asyncio.create_task(one.view())
    await asyncio.sleep(0.2)
    await one.append(20)
    await one.finish()
    statuses = [re.findall(r'<p id="report-status".*?</p>', each.data) for each in (await watching).messages]
    spoken = [found[0] for found in statuses if found]
    assert len(spoken) >= 23
    assert len(set(spoken)) == 2
    assert "Done" in spoken[-1]


async def test_a_report_that_is_gone_says_so_and_ends(stage: Make) -> None:
    one = stage()
    stream = await one.whole("1.4", "nobody")
    assert "was deleted" in parsed(stream).messages[0].data
    assert stream.endswith(END)


async def test_a_report_that_is_deleted_while_it_is_watched_says_so_and_ends(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(1)
    stream = one.follow()
    await following(stream, 1)
    async with one.database.write() as connection:
        await connection.execute(delete(reports).where(reports.c.id == REPORT))
    one.tell()
    async with asyncio.timeout(10):
        rest = b"".join([part async for part in stream])
    assert "was deleted" in parsed(rest).messages[0].data
    assert rest.endswith(END)


# While it runs


async def test_chunks_come_as_they_are_appended(stage: Make) -> None:
    one = stage()
    await one.begin()
    stream = one.follow()
    waiting = await following(stream)
    assert 'data-status="running"' in parsed(waiting[0]).messages[0].data
    for number in (1, 2, 3):
        await one.append()
        (part,) = await following(stream)
        assert parsed(part).chunks == [number]
    await one.finish()
    last, end = await following(stream, 2)
    assert 'data-status="done"' in last.decode()
    assert end == END


async def test_what_another_process_appends_is_found_without_a_hint(stage: Make) -> None:
    one = stage()
    await one.begin()
    stream = one.follow()
    await following(stream)
    other = stage()
    other.lease = one.lease
    await other.append()
    assert parsed((await following(stream))[0]).chunks == [1]
    await other.finish()
    assert (await following(stream, 2))[1] == END


async def test_a_total_or_a_note_that_comes_between_chunks_is_sent_once(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append()
    stream = one.follow()
    await following(stream)
    await one.leases.set_total(one.lease, 12, "exact")
    one.tell()
    (part,) = await following(stream)
    assert 'aria-valuenow="25"' in part.decode()
    assert b"id: " not in part
    await one.leases.add_note(one.lease, "It rained <b>.")
    for _ in range(5):
        one.tell()
    (part,) = await following(stream)
    assert "It rained &lt;b&gt;." in part.decode()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.3):
            await anext(stream)


async def test_a_viewer_that_lags_is_told_how_far_the_runner_is_with_each_chunk(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(4)
    stream = one.follow()
    (first,) = await following(stream)
    assert b'aria-valuetext="12 rows' in first
    await one.append(4)
    await asyncio.sleep(0.3)  # the viewer's line is busy with the first chunk
    (second,) = await following(stream)
    assert parsed(second).chunks == [2]
    assert b'aria-valuetext="24 rows' in second


async def test_a_viewer_that_lags_gets_no_more_of_a_generation_that_is_over(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(4)
    stream = one.follow()
    await following(stream)
    await one.restart()
    await one.append()
    await asyncio.sleep(0.3)
    reset, chunk = await following(stream, 2)
    assert _RESET in parsed(reset).messages[0].data
    assert parsed(chunk).messages[0].id == "2.1"


async def test_a_new_generation_empties_the_table_and_begins_with_chunk_1(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(2)
    stream = one.follow()
    parts = await following(stream, 2)
    await one.restart()
    parts += await following(stream)
    assert _RESET in parsed(parts[-1]).messages[0].data
    await one.append(3)
    await one.finish()
    async with asyncio.timeout(10):
        parts += [part async for part in stream]
    view = parsed(b"".join(parts))
    assert view.chunks == [1, 2, 3]
    assert next(each.id for each in view.messages if each.id.startswith("2.")) == "2.1"


async def test_a_generation_that_began_and_ended_while_a_slow_viewer_read_is_shown_whole(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(6)  # more than are read at once
    stream = one.follow()
    parts = await following(stream)
    await one.restart()
    await one.append(2)
    await one.finish()
    async with asyncio.timeout(10):
        parts += [part async for part in stream]
    view = parsed(b"".join(parts))
    assert view.chunks == [1, 2]
    assert view.last_id == "2.2"
    assert view.messages[-1].event == "end"


async def test_a_silent_stream_pings(stage: Make) -> None:
    one = stage(ping_seconds=0.15)
    await one.begin()
    stream = one.follow()
    await following(stream)
    started = time.monotonic()
    assert await following(stream, 3) == [PING, PING, PING]
    assert 0.4 < time.monotonic() - started < 3


async def test_a_stream_with_news_does_not_ping(stage: Make) -> None:
    one = stage(ping_seconds=1.0)
    await one.begin()
    stream = one.follow()
    await following(stream)
    parts = []
    for _ in range(12):
        await asyncio.sleep(0.1)
        await one.append()
        parts += await following(stream)
    assert PING not in parts


async def test_a_stop_ends_the_streams_at_once_without_an_end_so_that_pages_come_back(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(2)
    viewers = [asyncio.create_task(one.whole()) for _ in range(20)]
    await asyncio.sleep(2)
    assert not any(viewer.done() for viewer in viewers)
    started = time.monotonic()
    one.events.stop()
    streams = await asyncio.gather(*viewers)
    assert time.monotonic() - started < 0.5
    for stream in streams:
        assert parsed(stream).chunks == [1, 2]
        assert END not in stream
        assert stream.endswith(b'#report-notice" hx-swap="innerHTML">' + _RESTARTING + b"</hx-partial>\n\n")
    assert _RESTARTING in await one.whole()


async def test_what_the_page_says_of_the_server_is_taken_away_by_the_next_stream(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append()
    await one.finish()
    stream = await one.whole()
    assert stream.count(b'hx-target="#report-notice" hx-swap="innerHTML"></hx-partial>') == 1
    assert stream.index(b"report-notice") < stream.index(b"data-chunk")


class _Away(ReportStore):
    """The state database does not answer for some looks."""

    looks = 0

    async def get(self, report_id: str) -> Report | None:
        self.looks += 1
        if 2 <= self.looks <= 4:
            raise StateUnavailable("The state database restarts.")
        return await super().get(report_id)


async def test_a_stream_outlives_a_restart_of_the_state_database_and_says_so(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append()
    store = _Away(one.database)
    one.events = Events(store, one.spool, one.fragments, one.wake, 15)
    viewer = asyncio.create_task(one.whole())
    async with asyncio.timeout(20):
        while store.looks < 5:
            await asyncio.sleep(0.01)
            one.tell()
    await one.append()
    await one.finish()
    stream = await viewer
    assert stream.count(b"The server cannot reach its own database and keeps trying.") == 1
    away = stream.index(b"The server cannot reach")
    assert b'hx-target="#report-notice" hx-swap="innerHTML"></hx-partial>' in stream[away:]
    assert parsed(stream).chunks == [1, 2]
    assert stream.endswith(END)


async def test_a_stop_does_not_wait_for_a_viewer_that_is_far_behind(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(40)
    stream = one.follow()
    await following(stream)
    one.events.stop()
    rest = [part async for part in stream]
    assert len(rest) < 8


class _Counting(ReportStore):
    looks = 0

    async def get(self, report_id: str) -> Report | None:
        self.looks += 1
        return await super().get(report_id)


async def test_a_stream_without_news_looks_about_once_a_second(stage: Make) -> None:
    one = stage()
    store = _Counting(one.database)
    one.events = Events(store, one.spool, one.fragments, one.wake, 15)
    await one.begin()
    await one.append()
    stream = one.follow()
    await following(stream)
    one.tell()
    before = store.looks
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await anext(stream)
    assert 2 <= store.looks - before <= 5


async def test_a_viewer_that_leaves_is_forgotten(stage: Make) -> None:
    one = stage()
    await one.begin()
    stream = one.follow()
    await following(stream)
    assert one.wake._listeners
    await stream.aclose()  # type: ignore[attr-defined]
    assert not one.wake._listeners


async def test_20_viewers_of_a_running_report_get_each_chunk_exactly_once(stage: Make) -> None:
    one = stage()
    await one.begin()
    starts = [0.0, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 5.0] * 2

    async def watch(delay: float, slow: float) -> Parser:
        await asyncio.sleep(delay)
        view = Parser()
        async for part in one.follow():
            view.feed(part)
            await asyncio.sleep(slow)
        return view

    async with asyncio.timeout(60):
        viewers = [
            asyncio.create_task(watch(delay, 0.01 if number % 3 else 0))
            for number, delay in enumerate(starts)
        ]
        for _ in range(40):
            await one.append()
            await asyncio.sleep(random.Random(_).random() / 40)
        await one.finish()
        views = await asyncio.gather(*viewers)
    for view in views:
        assert view.chunks == list(range(1, 41))
        assert view.messages[-1].event == "end"
        assert view.last_id == "1.40"


# The network is cut


async def test_a_stream_that_is_cut_at_any_byte_and_resumed_gives_each_chunk_exactly_once(
    stage: Make,
) -> None:
    one = stage(page_chunks=4)
    await one.begin()
    await one.append(6, rows=[(1, "é\r\n€"), (2, None)])
    await one.finish()
    stream = await one.whole()
    resumed: dict[str, list[int]] = {}
    for cut in range(len(stream)):
        before = Parser()
        before.feed(stream[:cut])
        if before.last_id not in resumed:
            resumed[before.last_id] = (await one.view(before.last_id)).chunks
        assert before.chunks + resumed[before.last_id] == [1, 2, 3, 4, 5, 6], cut
    assert len(resumed) == 7


async def test_packets_of_any_size_give_the_same_messages(stage: Make) -> None:
    one = stage()
    await one.begin()
    await one.append(3)
    await one.finish()
    stream = await one.whole()
    expected = parsed(stream).messages
    for size in (1, 2, 3, 7, 64, 1000):
        parser = Parser()
        for start in range(0, len(stream), size):
            parser.feed(stream[start : start + size])
        assert parser.messages == expected


async def test_a_viewer_that_reconnects_again_and_again_while_the_report_runs_gets_each_chunk_once(
    stage: Make,
) -> None:
    one = stage()
    await one.begin()
    rng = random.Random(5)

    async def write() -> None:
        for _ in range(40):
            await one.append()
            await asyncio.sleep(0.005)
        await one.finish()

    writing = asyncio.create_task(write())
    got: list[int] = []
    last_id = ""
    async with asyncio.timeout(60):
        while True:
            view = Parser(last_id=last_id, _id=last_id)
            stream = one.follow(last_id)
            parts = rng.randrange(1, 6)
            async for part in stream:
                view.feed(part[: rng.randrange(len(part))] if parts == 1 else part)
                parts -= 1
                if parts == 0:
                    break
            await stream.aclose()  # type: ignore[attr-defined]
            got += view.chunks
            last_id = view.last_id
            if view.messages and view.messages[-1].event == "end":
                break
    await writing
    assert got == list(range(1, 41))
