"""Column widths of a report's table, from the content of its first chunk.

Fixed widths let a browser lay out each block of rows on its own (docs/table.md), so they are decided once
and sent as a stylesheet: the content security policy allows no inline style.
"""

import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from app.errors import InvalidRequest
from app.model import Cell, Column, Cut, Report, Row, Undecodable

ROW_HEIGHT = 26  # pixels; static/app.css says the same as --row
_CHARACTER = 7.4  # pixels of an average character at the table's 13 px
_NAME_CHARACTER = 8.4  # the header is bold
_PADDING = 26
_NARROWEST, _WIDEST = 64, 380
_CHOICE = 40, 2_000  # what a person may choose
_SHARE = 0.95  # of the cells that fit without being cut off
_MORE_DIGITS = 3  # that a key has later: after a thousand rows come a million


def measured(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns with their `width` in pixels and whether they are aligned `right`."""
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return tuple(
        replace(
            column,
            width=column.width if column.fixed else _width(column.name, below),
            right=_right(column, below),
        )
        for column, below in zip(columns, cells, strict=True)
    )


def fixed(columns: Sequence[Column], widths: Sequence[str]) -> tuple[Column, ...]:
    """The columns with the widths that a person chose for the first of them; the others keep theirs.

    Raises InvalidRequest.
    """
    least, most = _CHOICE
    if not widths or len(widths) > len(columns):
        raise InvalidRequest(f"A width for each of up to {len(columns)} columns is needed.")
    if not all(width.isascii() and width.isdigit() and least <= int(width) <= most for width in widths):
        raise InvalidRequest(f"A column's width is a whole number of pixels, {least} to {most}.")
    chosen = [*map(int, widths), *(column.width for column in columns[len(widths) :])]
    return tuple(
        replace(column, width=width, fixed=True) for column, width in zip(columns, chosen, strict=True)
    )


def style_version(report: Report) -> str:
    """Differs where the report's stylesheet does, so that browsers may keep it."""
    looks = [(column.width, column.right, column.fixed) for column in report.columns]
    return f"{zlib.crc32(repr((ROW_HEIGHT, looks)).encode()):x}"


def _width(name: str, cells: Sequence[Cell]) -> int:
    lengths = sorted(map(_length, cells))
    fitting = lengths[int((len(lengths) - 1) * _SHARE)] if lengths else 0
    if _counts_up(cells):
        fitting = lengths[-1] + _MORE_DIGITS
    needed = max(fitting * _CHARACTER, _length(name) * _NAME_CHARACTER) + _PADDING
    return round(min(_WIDEST, max(_NARROWEST, needed)))


def _counts_up(cells: Sequence[Cell]) -> bool:
    numbers = [cell for cell in cells if type(cell) is int]
    return 1 < len(numbers) == len(cells) and all(a < b for a, b in pairwise(numbers))


def _length(cell: Cell) -> int:
    """Characters that a cell takes on the page, wide ones counted twice."""
    if isinstance(cell, bytes | Cut | Undecodable):
        return 32
    text = "NULL" if cell is None else str(cell)
    if text.isascii():
        return len(text)
    shown = text[:64]
    return len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in shown)


def _right(column: Column, cells: Sequence[Cell]) -> bool:
    present = [cell for cell in cells if cell is not None]
    if not present:
        return column.kind.numeric
    return all(isinstance(cell, int | float) for cell in present)
