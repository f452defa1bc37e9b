"""Cells -> HTML: the one place where HTML is made outside the templates, because it is the hot one.

A whole chunk is joined with separators, escaped once, and the separators are then replaced by tags: 2.7
times the time of `sqlite3 -html` where a Jinja2 loop takes 9.7 (bench/). A control character in front of a
cell marks its class. If the data holds one of these characters itself, the chunk is rendered cell by cell.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from markupsafe import escape

from app.model import CELL_LIMIT, Cell, Cut, Row, Undecodable

BLOCK_ROWS = 100  # rows of one <table>: browsers lay out and skip a block at a time

_CELL, _ROW = "\x1f", "\x1e"
# The first character of a marked cell, and the class it stands for (static/app.css).
_NULL, _BINARY, _CUT, _UNDECODABLE = "\x1d", "\x1c", "\x1b", "\x1a"
_CLASSES = {_NULL: "null", _BINARY: "binary", _CUT: "cut", _UNDECODABLE: "undecodable"}

_NULL_TEXT = f"{_NULL}NULL"

_OPEN = "<td>"
_CLOSE = "</td>"
_SHOWN_BYTES = 16  # of a binary cell; all of them are in the spool


def blocks(rows: Sequence[Row], first_row: int) -> list[str]:
    """The `<tr>`s of `rows` as one line of HTML for each block of 100 rows.

    `first_row` is the number of the first row in the report, from 1. A line holds no line feed, so that it
    fits one `data:` line of an event. Text is escaped and otherwise exact; a NUL, which HTML cannot hold,
    becomes a marked sign.
    """
    lines = _lines(rows)
    return [
        _block(lines[start : start + BLOCK_ROWS], first_row + start)
        for start in range(0, len(lines), BLOCK_ROWS)
    ]


def marked(html: str, row: int, *, found: bool) -> str:
    """The HTML with the row as the target of `#this-row`, and as the current one if it was sought."""
    start = f'<tr aria-rowindex="{row + 1}"'
    current = ' aria-current="true"' if found else ""
    return str(html).replace(start, f'<tr id="this-row"{current}{start.removeprefix("<tr")}', 1)


def _block(lines: list[str], first_row: int) -> str:
    # The header is row 1 of the table, so the first row of the report is row 2.
    return "".join(
        [
            f'<tr aria-rowindex="{index}" role="row">{line}</tr>'
            for index, line in enumerate(lines, first_row + 1)
        ]
    ).replace(f"{_OPEN}{_CLOSE}", '<td class="empty"></td>')


def _lines(rows: Sequence[Row]) -> list[str]:
    """The `<td>`s of each row."""
    if not rows:
        return []
    columns = [_printable(column) for column in zip(*rows, strict=True)]
    marks = sum(column.marks for column in columns)
    shown = zip(*(column.cells for column in columns), strict=True) if marks else rows
    joined = _ROW.join(map(_format(len(columns)).__mod__, shown))
    found = {mark: joined.count(mark) for mark in _CLASSES} if marks else {}
    separators = joined.count(_CELL) + joined.count(_ROW)
    if separators != len(rows) * len(columns) - 1 or sum(found.values()) != marks:
        return ["".join(map(_cell, row)) for row in rows]
    html = _safe(joined).replace(_CELL, _CLOSE + _OPEN).replace(_ROW, _CLOSE + _ROW + _OPEN)
    html = _OPEN + html + _CLOSE
    for mark in filter(found.get, found):
        html = html.replace(_OPEN + mark, f'<td class="{_CLASSES[mark]}">')
    return html.split(_ROW)


@cache
def _format(columns: int) -> str:
    """Applied to a row it makes text of all cells at once, numbers with all their digits."""
    return _CELL.join(["%s"] * columns)


class _Printable(NamedTuple):
    """A column whose cells `%s` shows as they should be, and how many of them begin with a mark."""

    cells: Sequence[Cell]
    marks: int


_PLAIN = frozenset({str, int, float})


def _printable(column: tuple[Cell, ...]) -> _Printable:
    kinds = set(map(type, column))
    if kinds <= _PLAIN:
        return _Printable(column, 0)
    if kinds <= _PLAIN | {type(None)}:
        return _Printable([_NULL_TEXT if cell is None else cell for cell in column], column.count(None))
    marks = sum(type(cell) not in _PLAIN for cell in column)
    return _Printable([_text(cell) for cell in column], marks)


def _text(cell: Cell) -> str:
    """A cell as unescaped text, with its mark in front if it has one."""
    match cell:
        case None:
            return _NULL_TEXT
        case bytes():
            return _BINARY + _binary(cell, f"{len(cell):,} bytes")
        case Cut(value=bytes() as start):
            return _CUT + _binary(start, f"cut at {CELL_LIMIT:,} bytes")
        case Cut(value=str() as start):
            return f"{_CUT}{start}… (cut at {CELL_LIMIT:,} characters)"
        case Undecodable(raw=raw):
            return f"{_UNDECODABLE}{raw.decode(errors='replace')} (not UTF-8)"
        case _:
            return str(cell)


def _binary(data: bytes, size: str) -> str:
    more = "…" if len(data) > _SHOWN_BYTES else ""
    return f"0x{data[:_SHOWN_BYTES].hex()}{more} ({size})"


def _safe(text: str) -> str:
    """Escaped; line ends as references, because a raw one would end the event's line or be normalised."""
    return (
        str(escape(text))
        .replace("\n", "&#10;")
        .replace("\r", "&#13;")
        .replace("\0", '<span class="nul" title="NUL character">␀</span>')
    )


def _cell(cell: Cell) -> str:
    """The slow path, which any character in any cell may take."""
    text = _text(cell)
    if type(cell) in _PLAIN:
        return f"{_OPEN}{_safe(text)}{_CLOSE}"
    return f'<td class="{_CLASSES[text[0]]}">{_safe(text[1:])}{_CLOSE}'
