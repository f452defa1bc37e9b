"""CSV for Excel, which guesses: text that it would take for a formula or would change stays as it is.

`="007"` and not a tab before the digits: both keep the zeros in Excel and LibreOffice, but a tab would become
part of the value, and a look-up of 007 would not find it. For what could be a formula an apostrophe: it is
shown, but no program runs such a cell, and it stays harmless when the cell is copied.
"""

import base64
import re
from collections.abc import Sequence
from math import isfinite

from app.exports.counting import Counter
from app.exports.writing import Options
from app.model import Cell, Column, Cut, Row, Undecodable

VALUES = {
    "NULL": "an empty field",
    "integer": 'all digits; over 15 digits as ="digits", which Excel keeps',
    "real": "the shortest text that gives the same number, of which Excel keeps 15 digits; inf, -inf or nan",
    "text": (
        'as it is; what Excel would take for another number as ="text"; an apostrophe before what it would '
        "take for a formula"
    ),
    "binary": "base64",
    "cut cell": "the start of it, at most 32,768 characters or bytes",
    "text that is not UTF-8": "� for what is no character",
}

_BOM = b"\xef\xbb\xbf"
_DIGITS = 10**15  # Excel keeps 15 digits of a number
_LITERAL = 255  # the longest text in a formula
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@＝＋－＠]")
# Begins each cell of which `kept` could change a bit.
_SUSPECT = re.compile(r"^[\s=+\-@＝＋－＠\d.,]", re.MULTILINE)
_NUMBER = re.compile(r"\s*[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?\s*")
# A number that Excel shows as it is spelled, as far as its digits are at most 15.
_AS_SPELLED = re.compile(r"-?(?:0|[1-9]\d*)(?:[.,]\d*[1-9])?")


class Writer(Counter):
    def __init__(self, columns: Sequence[Column], options: Options) -> None:
        super().__init__()
        self._columns = columns
        self._separator = options.separator
        self._decimal = options.decimal

    def begin(self) -> bytes:
        return _BOM + self.rows([tuple(column.name for column in self._columns)], 0)

    def rows(self, rows: Sequence[Row], first_row: int) -> bytes:
        fields = zip(*map(self._ready, zip(*rows, strict=True)), strict=True)
        return "".join([self._separator.join(row) + "\r\n" for row in fields]).encode()

    def end(self) -> bytes:
        return b""

    def _ready(self, column: tuple[Cell, ...]) -> Sequence[str]:
        """The fields of a column; cell by cell only where kinds are mixed or a number is out of bounds."""
        kinds = set(map(type, column))
        if type(None) in kinds:
            known = iter(self._ready(tuple(cell for cell in column if cell is not None)))
            return ["" if cell is None else next(known) for cell in column]
        if kinds == {str}:
            return _texts(column)  # type: ignore[arg-type]
        if kinds == {int} and -_DIGITS < min(column) <= max(column) < _DIGITS:  # type: ignore[type-var, operator]
            return list(map(str, column))
        if kinds == {float} and isfinite(sum(column)) and self._separator != self._decimal:  # type: ignore[arg-type]
            return "\n".join(map(str, column)).replace(".", self._decimal).split("\n")
        self.count(column, kinds)
        return list(map(self._field, column))

    def _field(self, cell: Cell) -> str:
        """Of a cell that is not NULL."""
        match cell.value if isinstance(cell, Cut) else cell:
            case int(number):
                return str(number) if -_DIGITS < number < _DIGITS else f'"=""{number}"""'
            case float(number):
                return self._real(number)
            case bytes(data):
                text = base64.b64encode(data).decode()
            case Undecodable(raw=raw):
                text = raw.decode(errors="replace")
            case str(text):
                pass
        return _quoted(kept(text))

    def _real(self, cell: float) -> str:
        text = str(cell)
        if self._decimal != "." and isfinite(cell):
            text = text.replace(".", self._decimal)
        return _quoted(text) if self._separator in text else text


def _texts(column: Sequence[str]) -> list[str]:
    """One look at the whole column finds out whether any cell needs more than quotes."""
    joined = "\n".join(column)
    if _SUSPECT.search(joined):
        fields = {text: _quoted(kept(text)) for text in set(column)}
        return [fields[text] for text in column]
    return list(map(_quoted, column)) if '"' in joined else [f'"{text}"' for text in column]


def kept(text: str) -> str:
    """Text that Excel shows as it is, and that no program takes for a formula."""
    if _NUMBER.fullmatch(text):
        digits = sum(map(str.isdigit, text))
        if digits <= 15 and _AS_SPELLED.fullmatch(text):
            return text
        if len(text) <= _LITERAL:
            return f'="{text}"'
    return f"'{text}" if _FORMULA.match(text) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
