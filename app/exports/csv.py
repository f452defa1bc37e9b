"""CSV for programs: RFC 4180, UTF-8 without BOM, nothing altered. `csv_excel` is the other preset.

A chunk is encoded as JSON by msgspec, whose text in quotes differs from that of CSV only in what stands
behind a backslash; that takes about a third of the csv module's time (bench/EXPORTS.md). So all text is
quoted and no number is, which also tells NULL from empty text.
"""

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from app.exports import csv_excel
from app.exports.counting import Counter
from app.exports.writing import Options, Preset, StreamWriter
from app.model import Cell, Column, Cut, Row, Undecodable

LINE_END = b"\r\n"
_NOTHING = msgspec.Raw(b"")
_encoder = msgspec.json.Encoder()

# Kinds of cells that the encoder writes as they should be; bytes become base64 in quotes.
_DIRECT = frozenset({int, str, bytes})
_NUMBERS_OR_NULL = frozenset({int, float, type(None)})


def values(options: Options) -> dict[str, str]:
    if options.preset is Preset.EXCEL:
        return csv_excel.VALUES
    return {
        "NULL": "an empty field without quotes",
        "integer": "all digits",
        "real": "the shortest text that gives the same number, inf, -inf or nan",
        "text": "in quotes, as it is; empty text is two quotes",
        "binary": "base64, in quotes",
        "cut cell": "the start of it, at most 32,768 characters or bytes",
        "text that is not UTF-8": "in quotes, � for what is no character",
    }


def writer(columns: Sequence[Column], options: Options) -> StreamWriter:
    return csv_excel.Writer(columns, options) if options.preset is Preset.EXCEL else Writer(columns)


class Writer(Counter):
    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._names = [tuple(column.name for column in columns)]

    def begin(self) -> bytes:
        return _lines(self._names)

    def rows(self, rows: Sequence[Row], first_row: int) -> bytes:
        if not rows:
            return b""
        columns = list(zip(*rows, strict=True))
        ready = list(map(self._ready, columns))
        changed = any(map(lambda new, old: new is not old, ready, columns))
        return _lines(list(zip(*ready, strict=True)) if changed else rows)

    def end(self) -> bytes:
        return b""

    def _ready(self, column: tuple[Cell, ...]) -> Sequence[Any]:
        """The column with what JSON has otherwise replaced by the field itself."""
        kinds = set(map(type, column))
        if kinds <= _DIRECT:
            return column
        if kinds <= _NUMBERS_OR_NULL and isfinite(sum(filter(None, column))):  # type: ignore[arg-type]
            return [_NOTHING if cell is None else cell for cell in column] if type(None) in kinds else column
        self.count(column, kinds)
        return list(map(_field, column))


def _field(cell: Cell) -> Any:
    match cell:
        case None:
            return _NOTHING
        case float() if not isfinite(cell):
            return msgspec.Raw(str(cell).encode())
        case Cut(value=start):
            return start
        case Undecodable(raw=raw):
            return raw.decode(errors="replace")
    return cell


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    """Each row as a line, by way of JSON: `[["a",1],["b",2]]`."""
    json = _encoder.encode(rows)
    if json.count(b"],[") == len(rows) - 1:
        lines = json[2:-2].replace(b"],[", LINE_END)
    else:  # some text holds what should only stand between two rows
        lines = LINE_END.join([_encoder.encode(row)[1:-1] for row in rows])
    return (_unescaped(lines) if b"\\" in lines else lines) + LINE_END


_ESCAPE = re.compile(rb"\\(?:u00([0-9a-f]{2})|(.))")
_SHORT = {b'"': b'""', b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def _unescaped(json: bytes) -> bytes:
    """JSON's escapes as CSV has them: a quote twice, everything else as itself."""
    if b"\\u" in json:
        return _ESCAPE.sub(
            lambda found: _SHORT[found[2]] if found[2] else bytes.fromhex(found[1].decode()), json
        )
    # JSON holds no control characters, so one of them can stand for a backslash meanwhile.
    text = json.replace(b"\\\\", b"\0")
    for letter in (b'"', b"n", b"r", b"t", b"b", b"f"):
        text = text.replace(b"\\" + letter, _SHORT[letter])
    return text.replace(b"\0", b"\\")
