"""NDJSON: one JSON object a row.

Objects and not arrays, so that each line stands on its own for jq, DuckDB, BigQuery or pandas; so names are
made unique. The JSON API gives arrays, with cells as here.
"""

import base64
from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from app.exports.counting import Counter
from app.exports.naming import unique_names
from app.exports.writing import Options
from app.model import Cell, Column, Cut, Row, Undecodable

_encoder = msgspec.json.Encoder()
_DIRECT = frozenset({int, str, type(None)})
_NUMBERS_OR_NULL = frozenset({int, float, type(None)})


def values(_options: Options) -> dict[str, str]:
    return {
        "NULL": "null",
        "integer": "all digits",
        "real": 'the shortest text that gives the same number; {"number": "inf"}, "-inf" or "nan"',
        "text": "as it is",
        "binary": '{"binary": base64}',
        "cut cell": '{"cut": the start of it, at most 32,768 characters or bytes}',
        "text that is not UTF-8": '{"undecodable": base64 of its bytes}',
        "column names": "a repeated one gets a number, an empty one is column_1 and so on",
    }


class Writer(Counter):
    def __init__(self, columns: Sequence[Column], _options: Options) -> None:
        super().__init__()
        self._names = unique_names(columns)

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Sequence[Row], first_row: int) -> bytes:
        names = self._names
        ready = zip(*map(self._ready, zip(*rows, strict=True)), strict=True)
        return _encoder.encode_lines([dict(zip(names, row, strict=True)) for row in ready])

    def end(self) -> bytes:
        return b""

    def _ready(self, column: tuple[Cell, ...]) -> Sequence[Any]:
        kinds = set(map(type, column))
        if kinds <= _DIRECT or (kinds <= _NUMBERS_OR_NULL and isfinite(sum(filter(None, column)))):  # type: ignore[arg-type]
            return column
        self.count(column, kinds)
        return list(map(plain, column))


def plain(cell: Cell) -> Any:
    """A cell as JSON has it; what JSON cannot hold is an object that says what it is."""
    match cell:
        case bytes():
            return {"binary": base64.b64encode(cell).decode()}
        case Cut(value=str() as start):
            return {"cut": start}
        case Cut(value=bytes() as start):
            return {"cut": {"binary": base64.b64encode(start).decode()}}
        case Undecodable(raw=raw):
            return {"undecodable": base64.b64encode(raw).decode()}
        case float() if not isfinite(cell):
            return {"number": str(cell)}
    return cell
