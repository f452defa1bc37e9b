"""Cells -> the XML of a sheet's rows, a chunk at a time and in it column by column.

A column whose cells are all plain numbers or all plain text gets one pattern for the whole chunk; only others
are looked at cell by cell. Numbers of rows stand as a control character that no text can hold any more, until
the row is complete.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import NamedTuple

from app.exports.xlsx_dates import FORMATS, serial
from app.model import Cell, Cut, Row, Undecodable

TEXT_LIMIT = 32_767  # UTF-16 units in a cell
_DIGITS = 10**15  # a workbook's number keeps 15 digits
_LEAST = 2.2250738585072014e-308  # Excel takes what is nearer to 0 for 0
_ROW = "\x01"

# Styles, by their position in `xlsx_parts`.
HEADER, INTEGER = 1, 2
DATE_STYLES = {length: style for style, length in enumerate(FORMATS, 3)}

_SPECIAL = re.compile("_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class _Column(NamedTuple):
    pattern: str  # with one %s for what is in `cells`
    cells: Sequence[object]


class Cells:
    """Makes rows of one sheet after the other, and counts the cells that are not as the source has them."""

    def __init__(self, columns: int, dates: frozenset[int]) -> None:
        self._letters = [letters(position) for position in range(columns)]
        self._dates = dates
        self.cut = 0
        self.undecodable = 0

    def rows(self, rows: Sequence[Row], first_row: int) -> str:
        """The `<row>`s; `first_row` is the sheet's number of the first one."""
        columns = [self._column(position, cells) for position, cells in enumerate(zip(*rows, strict=True))]
        pattern = f'<row r="{_ROW}">{"".join([column.pattern for column in columns])}</row>'
        cells = zip(*(column.cells for column in columns), strict=True)
        return "".join(
            [(pattern % row).replace(_ROW, str(number)) for number, row in enumerate(cells, first_row)]
        )

    def _column(self, position: int, cells: tuple[Cell, ...]) -> _Column:
        name = self._letters[position] + _ROW
        kinds = set(map(type, cells))
        if kinds == {int} and min(cells) > -_DIGITS and max(cells) < _DIGITS:  # type: ignore[type-var, operator]
            return _Column(f'<c r="{name}" s="{INTEGER}"><v>%d</v></c>', cells)
        if kinds == {float} and isfinite(sum(cells)) and min(map(abs, cells)) >= _LEAST:  # type: ignore[arg-type]
            return _Column(f'<c r="{name}"><v>%r</v></c>', cells)
        if kinds == {str} and position not in self._dates:
            joined = "".join(cells)  # type: ignore[arg-type]
            if len(joined) <= TEXT_LIMIT // 2 and joined.isprintable() and "_x" not in joined:
                return _Column(_text(name, "%s"), _escaped(cells, joined))  # type: ignore[arg-type]
        if position in self._dates:
            return _Column("%s", ["" if cell is None else _date(name, cell) for cell in cells])  # type: ignore[arg-type]
        return _Column("%s", [self._cell(name, cell) for cell in cells])

    def _cell(self, name: str, cell: Cell) -> str:
        match cell:
            case None:
                return ""
            case int():
                if -_DIGITS < cell < _DIGITS:
                    return f'<c r="{name}" s="{INTEGER}"><v>{cell}</v></c>'
                return _text(name, str(cell))
            case float():
                if isfinite(cell) and (abs(cell) >= _LEAST or not cell):
                    return f'<c r="{name}"><v>{cell!r}</v></c>'
                return _text(name, str(cell))
        return _text(name, written(self._shortened(cell)))

    def _shortened(self, cell: str | bytes | Cut | Undecodable) -> str:
        """As text of at most TEXT_LIMIT units; a longer one ends with an ellipsis and is counted."""
        text, whole = plain(cell), not isinstance(cell, Cut)
        self.undecodable += isinstance(cell, Undecodable)
        if len(text) > TEXT_LIMIT // 2:
            units = text.encode("utf-16-le")
            whole = whole and len(units) <= TEXT_LIMIT * 2
            if not whole:  # half of a pair at the end is left out
                text = units[: (TEXT_LIMIT - 1) * 2].decode("utf-16-le", "ignore")
        self.cut += not whole
        return text if whole else text + "…"


def plain(cell: str | bytes | Cut | Undecodable) -> str:
    match cell:
        case str():
            return cell
        case bytes():
            return base64.b64encode(cell).decode()
        case Cut(value=start):
            return plain(start)
        case Undecodable(raw=raw):
            return raw.decode(errors="replace")


def written(text: str) -> str:
    """As XML holds it: escapes of a workbook for control characters, and for text that looks like one."""
    return _xml(_SPECIAL.sub(lambda found: f"_x{ord(found[0]):04X}_", text))


def letters(position: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    name = ""
    position += 1
    while position:
        position, letter = divmod(position - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def text_cell(name: str, text: str, style: int) -> str:
    return f'<c r="{name}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{written(text)}</t></is></c>'


def _text(name: str, xml: str) -> str:
    return f'<c r="{name}" t="inlineStr"><is><t xml:space="preserve">{xml}</t></is></c>'


def _date(name: str, text: str) -> str:
    return f'<c r="{name}" s="{DATE_STYLES[len(text)]}"><v>{serial(text)}</v></c>'


def _escaped(cells: Iterable[str], joined: str) -> Iterable[str]:
    return list(map(_xml, cells)) if "&" in joined or "<" in joined or ">" in joined else cells


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
