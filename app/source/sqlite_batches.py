"""The rows of a dataset as batches, two ways. All of this runs in a reader's own thread."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from operator import itemgetter
from typing import Any

from app.codec import ChunkEncoder
from app.errors import SourceChanged, SourceCorrupt, SourceQueryFailed
from app.model import Batch, Dataset
from app.source.sqlite_catalog import verify
from app.source.sqlite_connection import TOLERANT, is_undecodable
from app.source.sqlite_key import Key, KeyCell, pack, quoted, tails, unpack

# A batch ends after the row that passes this many bytes before compression: 1,000 rows of ordinary
# cells are 0.2 MB, but 1,000 of CELL_LIMIT would be 33 MB, for the server and for the page.
BATCH_BYTES = 1024 * 1024

_SQLRow = tuple[Any, ...]
_Pick = Callable[[_SQLRow], _SQLRow]


def _fill(encoder: ChunkEncoder, rows: Iterable[_SQLRow], limit: int, pick: _Pick | None) -> _SQLRow | None:
    """Encodes rows until the batch is full; the last one taken, None if there was none."""
    row = None
    for row in rows:
        size = encoder.add(pick(row) if pick else row)
        if encoder.rows >= limit or size > BATCH_BYTES:
            break
    return row


def _is_full(encoder: ChunkEncoder, limit: int) -> bool:
    return encoder.rows >= limit or encoder.size > BATCH_BYTES


def first_rows(dataset: Dataset, key: Key | None) -> str:
    """The statement that gives all rows in the order of a report, all columns at their positions."""
    if key is None:
        return _whole(dataset, tuple(range(len(dataset.columns))))
    return _select(dataset, range(len(dataset.columns)), key, []) + next(tails(key, None))[0]


def _select(dataset: Dataset, columns: Iterable[int], key: Key, extra: Iterable[str]) -> str:
    # Through the alias, because SQLite takes a bare "name" for a string where no such column exists.
    cells = [f"t.{quoted(dataset.columns[position].name)}" for position in columns]
    return f"SELECT {', '.join([*cells, *extra])} FROM main.{quoted(dataset.name)} AS t"


class KeysetBatches:
    """Each batch is a short statement after the last key, so that nobody is locked out meanwhile."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        dataset: Dataset,
        key: Key,
        columns: tuple[int, ...],
        cursor: bytes | None,
    ) -> None:
        self._connection, self._dataset, self._key = connection, dataset, key
        self._schema = _schema_version(connection)
        self._last = unpack(key, self._schema, cursor) if cursor is not None else None
        self._ended = False
        names = [dataset.columns[position].name for position in columns]
        extra = [term for term in key.terms if key.implicit or term.name not in names]
        self._select = _select(dataset, columns, key, [term.sql for term in extra])
        self._pick: _Pick | None = itemgetter(slice(len(columns))) if extra else None
        places = {term: len(columns) + place for place, term in enumerate(extra)}
        self._places = [places[term] if term in places else names.index(term.name) for term in key.terms]

    def next(self, limit: int) -> Batch | None:
        if self._ended:
            return None
        try:
            return self._in_snapshot(limit)
        except sqlite3.OperationalError as error:
            if not is_undecodable(error):
                raise
            self._connection.text_factory = TOLERANT
            return self._in_snapshot(limit)

    def _in_snapshot(self, limit: int) -> Batch | None:
        self._connection.execute("BEGIN")
        try:
            self._check_schema()
            return self._read(limit)
        finally:
            self._connection.rollback()

    def _check_schema(self) -> None:
        """VACUUM may number rows anew, and counts as a change of the schema. Part of the snapshot."""
        now = _schema_version(self._connection)
        if now == self._schema:
            return
        if self._key.implicit:
            raise SourceChanged(
                f"The file was rebuilt or a definition in it changed while “{self._dataset.name}” was read."
                " It has no primary key, so its rows may be numbered anew. Run it again."
            )
        if verify(self._connection, self._dataset) != self._key:
            raise SourceChanged(f"The key of “{self._dataset.name}” changed while it was read.")
        self._schema = now

    def _read(self, limit: int) -> Batch | None:
        encoder = ChunkEncoder()
        row = None
        for tail, values in tails(self._key, self._last):
            statement = f"{self._select}{tail} LIMIT ?"
            with closing(self._connection.execute(statement, (*values, limit - encoder.rows))) as rows:
                row = _fill(encoder, rows, limit, self._pick) or row
            if _is_full(encoder, limit):
                break
        else:
            self._ended = True
        if row is None:
            return None
        last = self._key_of(row)
        batch = Batch(encoder.rows, encoder.finish(), pack(self._key, self._schema, last))
        self._last = last
        return batch

    def _key_of(self, row: _SQLRow) -> tuple[KeyCell, ...]:
        last = tuple(row[place] for place in self._places)
        if None in last:
            # Nothing compares with NULL: the report would end here without a word.
            raise SourceCorrupt(f"“{self._dataset.name}” has NULL in its primary key: its file is damaged.")
        return last

    def close(self) -> None:
        """No statement is open between batches."""


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    return version


class StatementBatches:
    """One statement for the whole report: for views, saved queries and virtual tables.

    It sees one snapshot of the file, and keeps its owner from writing in another mode than WAL.
    """

    def __init__(self, connection: sqlite3.Connection, dataset: Dataset, columns: tuple[int, ...]) -> None:
        connection.text_factory = TOLERANT  # a row that failed could not be fetched again
        self._connection, self._dataset = connection, dataset
        self._sql = _whole(dataset, columns)
        self._pick = _picker(columns, len(dataset.columns)) if dataset.sql is not None else None
        self._rows: sqlite3.Cursor | None = None
        self._ended = False
        self._broken = False

    def next(self, limit: int) -> Batch | None:
        if self._broken:
            raise SourceQueryFailed(f"Reading “{self._dataset.name}” was broken off before.")
        if self._ended:
            return None
        if self._rows is None:
            self._rows = self._execute()
        # After an error SQLite's cursor looks as if it had come to its end.
        self._broken = True
        batch = self._read(self._rows, limit)
        self._broken = False
        return batch

    def _execute(self) -> sqlite3.Cursor:
        rows = self._connection.execute(self._sql)
        if len(rows.description) < len(self._dataset.columns) and self._dataset.sql is not None:
            rows.close()
            raise SourceChanged(f"The columns of “{self._dataset.name}” have changed. Run it again.")
        return rows

    def _read(self, rows: sqlite3.Cursor, limit: int) -> Batch | None:
        encoder = ChunkEncoder()
        _fill(encoder, rows, limit, self._pick)
        if not _is_full(encoder, limit):
            rows.close()
            self._ended = True
        return Batch(encoder.rows, encoder.finish(), None) if encoder.rows else None

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()


def _whole(dataset: Dataset, columns: tuple[int, ...]) -> str:
    if dataset.sql is not None:
        return dataset.sql
    # By position: SQLite names a view's repeated columns anew, at random, for each connection.
    names = [f"c{position}" for position in range(len(dataset.columns))]
    cells = ", ".join(f"t.{names[position]}" for position in columns)
    return f"WITH t({', '.join(names)}) AS (SELECT * FROM main.{quoted(dataset.name)}) SELECT {cells} FROM t"


def _picker(columns: tuple[int, ...], width: int) -> _Pick | None:
    if columns == tuple(range(width)):
        return None
    return lambda row: tuple(row[position] for position in columns)
