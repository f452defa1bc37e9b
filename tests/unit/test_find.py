"""Finding text in the spool. The plain search here looks at every cell, one after the other."""

import math
import sys
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.codec import ChunkEncoder, decompress, unpack
from app.find import CASED, Found, Missing, Needle, Passed, _unfolded, find
from app.model import CELL_LIMIT, Cell, Chunk, Cut, Lease, Report, Row, Undecodable
from app.report_store import ReportStore
from app.spool import Spool

Start = Callable[..., Awaitable[Lease]]


def chunk(rows: Sequence[Row], number: int = 1, first_row: int = 1) -> Chunk:
    encoder = ChunkEncoder()
    for row in rows:
        encoder.add(row)
    return Chunk(1, number, first_row, encoder.rows, encoder.finish())


def page_text(cell: Cell) -> str | None:
    """What the page shows of a cell and a person may look for."""
    match cell:
        case None | bytes() | Cut(value=bytes()):
            return None
        case Cut(value=str() as start):
            return start
        case Undecodable(raw=raw):
            return raw.decode(errors="replace")
    return "%s" % (cell,)  # noqa: UP031 - as app/render.py makes it


def plainly(rows: Sequence[Row], text: str, back: bool = False) -> tuple[int, int] | None:
    """(row, column) of the first match, or of the first in the last row with one; from 0."""
    for number in reversed(range(len(rows))) if back else range(len(rows)):
        for position, cell in enumerate(rows[number]):
            shown = page_text(cell)
            if shown is not None and text.casefold() in shown.casefold():
                return number, position
    return None


def finds(text: str, *cells: Cell) -> bool:
    """Whether the text is found in one of the cells, each a row of its own."""
    needle = Needle(text)
    data = decompress(chunk([(cell,) for cell in cells]).payload)
    found = needle.in_rows(unpack(data)) is not None
    assert needle.may_be_in(data) or not found
    return found


# The bytes are looked at first

LETTERS = "aAsSßẞſkK\N{KELVIN SIGN}iİıfﬁﬀtﬅjǰ éÉe\u0301üÜσςΣᾳιпПяЯ日\x1f\x1e\0\n\ufffd0123456789.-+eEnN"
TEXTS = st.text(st.sampled_from(LETTERS) | st.characters(exclude_categories=["Cs"]), max_size=12)
NOT_UTF8 = st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.integers(-20, 20) | st.sampled_from([0.1, 1e16])
CELLS = st.one_of(st.none(), NUMBERS, TEXTS, NOT_UTF8, st.binary(max_size=20))


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    columns = draw(st.integers(1, 3))
    kinds = draw(st.lists(st.sampled_from([CELLS, NUMBERS, TEXTS]), min_size=columns, max_size=columns))
    return draw(st.lists(st.tuples(*kinds), min_size=1, max_size=6))


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[Row], str]:
    """Rows, and mostly a text that is in them in one case or another."""
    rows = unpack(decompress(chunk(draw(tables())).payload))
    shown = [text for row in rows for text in map(page_text, row) if text]
    if not shown or draw(st.integers(0, 3)) == 0:
        return rows, draw(TEXTS.filter(bool))
    text = draw(st.sampled_from(shown))
    start = draw(st.integers(0, len(text) - 1))
    part = text[start : draw(st.integers(start + 1, len(text)))]
    change = draw(st.sampled_from([str, str.upper, str.lower, str.casefold, str.swapcase]))
    return rows, change(part)


@settings(max_examples=1500, deadline=None)
@given(searches(), st.booleans())
def test_a_search_through_bytes_finds_what_a_look_at_every_cell_finds(
    search: tuple[list[Row], str], back: bool
) -> None:
    rows, text = search
    encoder = ChunkEncoder()
    for row in rows:
        encoder.add([_as_read(cell) for cell in row])
    payload = encoder.finish()
    found = plainly(rows, text, back)
    assert Needle(text).in_rows(rows, back=back) == found
    if found:
        assert Needle(text).may_be_in(decompress(payload))


def _as_read(cell: Cell) -> Cell:
    return cell.raw.decode("utf-8", "surrogateescape") if isinstance(cell, Undecodable) else cell


def test_bytes_without_the_text_are_not_decoded() -> None:
    rows: list[Row] = [(number, number / 7, "Straße und Weiß", "K\N{KELVIN SIGN}") for number in range(1000)]
    data = decompress(chunk(rows).payload)
    for text in ("zebra", "Straßen", "ÜBER", "привет", "日本", "2024-01-11", "ana", "e1", "1e5x", "k k"):
        assert not Needle(text).may_be_in(data), text
    for text in ("strasse", "STRASSE", "ß", "kk", "weiss", "12", "-", "e-0", ".5", "inf", "nan", "na"):
        assert Needle(text).may_be_in(data), text


def test_every_letter_with_a_case_is_found_by_its_folding() -> None:
    letters = [letter for letter in map(chr, range(sys.maxunicode + 1)) if letter.casefold() != letter]
    assert len(letters) > 1400
    for letter in letters:
        assert letter < chr(CASED)
        folded = letter.casefold()
        assert folded.casefold() == folded
        assert set(folded) <= set(_unfolded())
        assert finds(folded, f"x{letter}x"), letter
        assert finds(letter, f"x{folded}x"), letter


# What a match is


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("strasse", "STRASSE"),
        ("STRASSE", "Straße"),
        ("straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
        ("office", "oﬃce"),
        ("kelvin", "\N{KELVIN SIGN}elvin"),
        ("<b>", "a<B>c"),
        (" ", "a b"),
        ("&amp;", "&amp;"),
        ("a\0b", "xA\0B"),
        ("\ufffd", "\ufffd"),
        ("x" * 1000, "y" + "X" * 1000),
        ("12", 3125),
        ("-5", -5),
        ("0.1", 0.1),
        (".5", 2.5),
        ("1E+16", 1e16),
        ("e-07", 1e-7),
        ("INF", -math.inf),
        ("-inf", -math.inf),
        ("nan", math.nan),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_cell_is_found_by_its_text_on_the_page_in_any_case(text: str, cell: Cell) -> None:
    assert finds(text, cell)
    assert finds(text, "other", cell)
    assert not finds(text, "other", None, b"other")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("null", None),
        ("none", None),
        ("abc", b"abc"),
        ("0x", b"abc"),
        ("bytes", b"abc"),
        ("é", "e\u0301"),
        ("1,000", 1000),
        ("1.50", 1.5),
        ("ab", "a b"),
        ("i", "ı"),
    ],
)
def test_null_binary_and_other_spellings_are_not_found(text: str, cell: Cell) -> None:
    assert not finds(text, cell)


def test_a_text_is_not_found_across_two_cells() -> None:
    rows: list[Row] = [("ab", "cd"), ("ef", 12), (34, 5.5)]
    for text in ("bc", "b\x1fc", "b\x1ec", "bce", "de", "1234", "345", "b, c", "')"):
        assert Needle(text).in_rows(rows) is None


@pytest.mark.parametrize("separator", ["\x1f", "\x1e", "\x1d", "\0", "\n", ","])
def test_cells_that_hold_separators_do_not_shift_what_is_found(separator: str) -> None:
    rows: list[Row] = [(separator * 5, "x"), (f"a{separator}b", separator), ("b", "c")]
    assert Needle(separator).in_rows(rows) == (0, 0)
    assert Needle(separator).in_rows(rows, back=True) == (1, 0)
    assert Needle(f"A{separator}B").in_rows(rows) == (1, 0)
    assert Needle("c").in_rows(rows) == (2, 1)


def test_of_a_cut_cell_the_part_that_is_kept_is_searched() -> None:
    long = "x" * (CELL_LIMIT - 3) + "ENDbeyond"
    assert finds("xend", long)
    assert not finds("beyond", long)
    assert not finds("cut at", long)
    assert not finds("a" * 20, b"a" * (CELL_LIMIT + 1))


def test_text_that_is_not_utf8_is_searched_as_it_is_shown() -> None:
    cell = b"na\xefve Caf\xc3\xa9 \xff".decode("utf-8", "surrogateescape")
    for text in ("NA\ufffdVE", "ve café", "É", "é \ufffd"):
        assert finds(text, cell), text
    assert not finds("UTF-8", cell)


# In a report


@pytest.fixture
def fill(spool: Spool, store: ReportStore, start: Start) -> Callable[..., Awaitable[Report]]:
    """A report of 30 chunks with 10 rows each: `hit` in column 2 of the given, in column 1 of row 155."""

    async def fill(*hits: int, chunks: int = 30) -> Report:
        lease = await start()
        for number in range(1, chunks + 1):
            first = (number - 1) * 10 + 1
            rows: list[Row] = [
                ("hit" if row == 155 else row, "a hit" if row in hits else None)
                for row in range(first, first + 10)
            ]
            await spool.append(lease, chunk(rows, number, first), None, 8)
        report = await store.get(lease.report)
        assert report is not None
        return report

    return fill


Fill = Callable[..., Awaitable[Report]]
HITS = (1, 10, 11, 12, 95, 155, 156, 300)


async def test_next_visits_every_match_once_and_in_order(spool: Spool, fill: Fill) -> None:
    report = await fill(*HITS)
    seen, after = [], 0
    while isinstance(found := await find(spool, report, "HIT", after=after), Found):
        seen.append((found.row, found.column))
        after = found.row
    assert seen == [(row, 1 if row == 155 else 2) for row in HITS]
    assert found == Missing()


async def test_previous_visits_every_match_once_from_the_end(spool: Spool, fill: Fill) -> None:
    report = await fill(*HITS)
    seen, before = [], 10**30
    while isinstance(found := await find(spool, report, "HIT", before=before), Found):
        seen.append(found.row)
        before = found.row
    assert seen == [*reversed(HITS)]
    assert found == Missing()


@pytest.mark.parametrize("after", [300, 301, 10**30])
async def test_after_the_last_row_there_is_nothing(spool: Spool, fill: Fill, after: int) -> None:
    assert await find(spool, await fill(*HITS), "hit", after=after) == Missing()


@pytest.mark.parametrize("before", [0, 1])
async def test_before_the_first_row_there_is_nothing(spool: Spool, fill: Fill, before: int) -> None:
    assert await find(spool, await fill(*HITS), "hit", before=before) == Missing()


async def test_without_time_each_request_passes_a_chunk_and_says_where_it_stopped(
    spool: Spool, fill: Fill
) -> None:
    report = await fill(155)
    assert await find(spool, report, "hit", seconds=0) == Passed(10)
    assert await find(spool, report, "hit", after=10, seconds=-1) == Passed(20)
    assert await find(spool, report, "hit", after=15, seconds=0) == Passed(20)
    assert await find(spool, report, "hit", after=150, seconds=0) == Found(155, 1)
    assert await find(spool, report, "hit", after=295, seconds=0) == Missing()
    assert await find(spool, report, "hit", before=301, seconds=0) == Passed(291)
    assert await find(spool, report, "hit", before=291, seconds=0) == Passed(281)
    assert await find(spool, report, "hit", before=155, seconds=0) == Passed(151)
    assert await find(spool, report, "hit", before=9, seconds=0) == Missing()


async def test_of_a_running_report_the_rows_it_counts_are_searched(
    spool: Spool, store: ReportStore, start: Start
) -> None:
    lease = await start()
    await spool.append(lease, chunk([("one",)], 1, 1), None, 8)
    earlier = await store.get(lease.report)
    await spool.append(lease, chunk([("two",)], 2, 2), None, 8)
    later = await store.get(lease.report)
    assert earlier is not None
    assert later is not None
    assert await find(spool, earlier, "two") == Missing()
    assert await find(spool, later, "two") == Found(2, 1)
    assert await find(spool, later, "two", after=earlier.rows) == Found(2, 1)
    assert await find(spool, earlier, "one", before=5) == Found(1, 1)


async def test_a_report_without_rows_holds_nothing(spool: Spool, fill: Fill) -> None:
    report = await fill(chunks=0)
    assert await find(spool, report, "hit") == Missing()
    assert await find(spool, report, "hit", before=1) == Missing()
