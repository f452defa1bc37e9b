"""The fast renderer against Jinja2's autoescape, cell by cell, and the marks of special cells."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from app import render
from app.model import CELL_LIMIT, Cell, Cut, Row, Undecodable

_reference = Environment(autoescape=True).from_string("{{ text }}")


class _Table(HTMLParser):
    """Reads the rows back as a list of (class, text) for each."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.rows: list[list[tuple[str, str]]] = []
        self.indexes: list[int] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "tr":
            self.rows.append([])
            self.indexes.append(int(found["aria-rowindex"] or 0))
        elif tag == "td":
            self.rows[-1].append((found.get("class") or "", ""))
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._inside = False

    def _add(self, text: str) -> None:
        if self._inside:
            name, before = self.rows[-1][-1]
            self.rows[-1][-1] = (name, before + text)

    def handle_data(self, data: str) -> None:
        self._add(data)

    def handle_entityref(self, name: str) -> None:
        self._add(unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self._add(chr(int(name)))


def parsed(lines: list[str]) -> _Table:
    table = _Table()
    table.feed("".join(lines))
    table.close()
    return table


def shown(cell: Cell) -> tuple[str, str]:
    """What the page must show for a cell: its class and its text."""
    match cell:
        case None:
            return "null", "NULL"
        case "":
            return "empty", ""
        case bytes():
            more = "…" if len(cell) > 16 else ""
            return "binary", f"0x{cell[:16].hex()}{more} ({len(cell):,} bytes)"
        case _:
            return "", str(cell).replace("\0", "␀")


cells = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.text("\x00\x1a\x1b\x1c\x1d\x1e\x1f<>&\"'\r\n\t NUL", max_size=6)
    | st.binary(max_size=40)
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=8)))
def test_every_cell_is_shown_exactly_whatever_it_holds(rows: list[Row]) -> None:
    table = parsed(render.blocks(rows, 1))
    assert table.rows == [[shown(cell) for cell in row] for row in rows]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1))
def test_text_is_escaped_as_jinja_escapes_it(text: str) -> None:
    (line,) = render.blocks([(text,)], 1)
    assert f">{_reference.render(text=text)}</td>" in line


def test_a_line_of_html_holds_a_block_of_100_rows_and_no_line_end() -> None:
    lines = render.blocks([(f"a\r\nb{n}",) for n in range(250)], 1)
    assert [line.count("<tr ") for line in lines] == [100, 100, 50]
    assert not any(re.search(r"[\r\n]", line) for line in lines)


def test_rows_carry_their_index_in_the_table_counted_from_its_header() -> None:
    assert parsed(render.blocks([(n,) for n in range(150)], 1001)).indexes == list(range(1002, 1152))


def test_the_text_null_is_told_apart_from_null_and_the_empty_text() -> None:
    table = parsed(render.blocks([("NULL", None, "")], 1))
    assert table.rows == [[("", "NULL"), ("null", "NULL"), ("empty", "")]]


@pytest.mark.parametrize("first", [None, b"x", ""])
def test_a_marked_cell_is_marked_in_the_first_column_of_every_row(first: Cell) -> None:
    table = parsed(render.blocks([(first, 1), (first, 2)], 1))
    assert [row[0] for row in table.rows] == [shown(first)] * 2


def test_cut_and_undecodable_cells_say_so() -> None:
    row = (Cut("abc"), Cut(b"\x01\x02"), Undecodable(b"a\xffb"))
    assert parsed(render.blocks([row], 1)).rows == [
        [
            ("cut", f"abc… (cut at {CELL_LIMIT:,} characters)"),
            ("cut", f"0x0102 (cut at {CELL_LIMIT:,} bytes)"),
            ("undecodable", "a\ufffdb (not UTF-8)"),
        ]
    ]


def test_numbers_keep_all_their_digits() -> None:
    row = (9223372036854775807, 0.1, 1e300, float("inf"), -0.0, 123456789.123456789)
    expected = ["9223372036854775807", "0.1", "1e+300", "inf", "-0.0", "123456789.12345679"]
    assert [text for _, text in parsed(render.blocks([row], 1)).rows[0]] == expected


def test_no_rows_give_no_lines() -> None:
    assert render.blocks([], 1) == []
