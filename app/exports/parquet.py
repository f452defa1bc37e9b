"""Parquet by pyarrow, which comes with `pip install "rowfall[parquet]"` (170 MB installed).

A column of SQLite may hold anything and a Parquet column has one type, so the chunks are read twice: first to
find the narrowest type that holds every cell of a column, then to write. A column that has no such type, say
numbers among text, is written as text, spelled as in the CSV for programs; the manifest names it.
"""

import base64
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.exports.counting import Counter
from app.exports.manifest import Manifest
from app.exports.naming import unique_names
from app.exports.writing import Chunks, Options
from app.model import Cell, Column, Cut, Kind, Row, Undecodable

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_BYTES = 16 * 2**20  # of a row group before compression: it is in memory until it is full
_GROUP_ROWS = 100_000
_EXACT = 2**53  # integers up to here are exact as doubles


def values(_options: Options) -> dict[str, str]:
    return {
        "NULL": "null",
        "integer": "int64",
        "real": "double, with infinities and NaN; integers too where the column holds both and all fit",
        "text": "string",
        "binary": "binary",
        "column of several kinds": "string, spelled as in CSV: binary as base64",
        "cut cell": "the start of it, at most 32,768 characters or bytes",
        "text that is not UTF-8": "string with � for what is no character",
        "column names": "a repeated one gets a number, an empty one is column_1 and so on",
    }


class Type(Enum):
    INTEGER = "int64"
    REAL = "double"
    TEXT = "string"
    BINARY = "binary"


_BY_KIND = {Kind.INTEGER: Type.INTEGER, Kind.REAL: Type.REAL, Kind.BINARY: Type.BINARY}


class Writer(Counter):
    passes = 2

    def __init__(self, columns: Sequence[Column], _options: Options) -> None:
        super().__init__()
        self._columns = columns
        self._names = unique_names(columns)

    def write(self, path: Path, chunks: Chunks, about: Manifest) -> Manifest:
        import pyarrow as pa
        import pyarrow.parquet as pq

        seen = [_Seen() for _ in self._columns]
        for rows in chunks():
            for column, cells in zip(seen, zip(*rows, strict=True), strict=False):
                column.look(cells)
        types = [each.fitting(column.kind) for each, column in zip(seen, self._columns, strict=True)]
        schema = pa.schema(
            [
                pa.field(name, _arrow(kind), metadata={"declared": column.declared})
                for name, kind, column in zip(self._names, types, self._columns, strict=True)
            ],
            metadata={"rowfall": about.to_json()},
        )
        try:
            with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as file:
                written = self._groups(file, schema, types, chunks())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return about.written(written, self.cut, self.undecodable, self._notes(seen, types))

    def _groups(
        self, file: Any, schema: "pa.Schema", types: Sequence[Type], chunks: Iterable[Sequence[Row]]
    ) -> int:
        """Writes row groups of a bounded size; the number of rows."""
        import pyarrow as pa

        written, batches, rows, size = 0, list["pa.RecordBatch"](), 0, 0
        for chunk in chunks:
            batch = self._batch(schema, types, chunk)
            batches.append(batch)
            written, rows, size = written + len(chunk), rows + len(chunk), size + batch.nbytes
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                file.write_table(pa.Table.from_batches(batches, schema))
                batches, rows, size = [], 0, 0
        if batches:
            file.write_table(pa.Table.from_batches(batches, schema))
        return written

    def _batch(self, schema: "pa.Schema", types: Sequence[Type], rows: Sequence[Row]) -> "pa.RecordBatch":
        import pyarrow as pa

        columns = zip(*rows, strict=True) if rows else [()] * len(types)
        arrays = [
            pa.array(self._cells(cells, kind), field.type)
            for cells, kind, field in zip(columns, types, schema, strict=True)
        ]
        return pa.record_batch(arrays, schema=schema)

    def _cells(self, cells: tuple[Cell, ...], kind: Type) -> Sequence[Any]:
        kinds = set(map(type, cells))
        self.count(cells, kinds)
        if kind is Type.TEXT and not kinds <= {str, type(None)}:
            return list(map(_text, cells))
        if kind is Type.BINARY and Cut in kinds:
            return [cell.value if isinstance(cell, Cut) else cell for cell in cells]
        return cells

    def _notes(self, seen: Sequence["_Seen"], types: Sequence[Type]) -> list[str]:
        return [
            f"Column {number}, {name}, holds values of several kinds and is written as {kind.value}."
            for number, (name, column, kind) in enumerate(zip(self._names, seen, types, strict=True), 1)
            if len(column.kinds) > 1
        ]


class _Seen:
    """What a column was found to hold."""

    def __init__(self) -> None:
        self.kinds: set[Type] = set()
        self._exact = True  # all integers are exact as doubles

    def look(self, cells: tuple[Cell, ...]) -> None:
        types = set(map(type, cells))
        if int in types:
            self.kinds.add(Type.INTEGER)
            numbers = cells if types == {int} else [cell for cell in cells if type(cell) is int]
            self._exact = self._exact and max(numbers) <= _EXACT and min(numbers) >= -_EXACT  # type: ignore[type-var, operator]
        if float in types:
            self.kinds.add(Type.REAL)
        if bytes in types:
            self.kinds.add(Type.BINARY)
        if str in types or Undecodable in types:
            self.kinds.add(Type.TEXT)
        if Cut in types:
            starts = {type(cell.value) for cell in cells if isinstance(cell, Cut)}
            self.kinds |= {Type.TEXT if start is str else Type.BINARY for start in starts}

    def fitting(self, kind: Kind) -> Type:
        """The type that holds every cell; by the declared kind where all cells are NULL."""
        if not self.kinds:
            return _BY_KIND.get(kind, Type.TEXT)
        if len(self.kinds) == 1:
            return next(iter(self.kinds))
        numbers = self.kinds == {Type.INTEGER, Type.REAL}
        return Type.REAL if numbers and self._exact else Type.TEXT


def _text(cell: Cell) -> str | None:
    match cell.value if isinstance(cell, Cut) else cell:
        case None:
            return None
        case str(text):
            return text
        case bytes(data):
            return base64.b64encode(data).decode()
        case Undecodable(raw=raw):
            return raw.decode(errors="replace")
        case number:
            return str(number)


def _arrow(kind: Type) -> "pa.DataType":
    import pyarrow as pa

    return {
        Type.INTEGER: pa.int64(),
        Type.REAL: pa.float64(),
        Type.TEXT: pa.string(),
        Type.BINARY: pa.binary(),
    }[kind]
