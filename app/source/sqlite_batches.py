"""The rows of a dataset as batches, two ways. All of this runs in a reader's own thread."""

import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from operator import itemgetter
from typing import Any

from app.codec import ChunkEncoder
from app.errors import SourceChanged, SourceCorrupt, SourceQueryFailed
from app.model import Batch, Dataset, Filter
from app.source.sqlite_catalog import verify
from app.source.sqlite_connection import TOLERANT, SqliteError, is_busy, is_interrupt, is_undecodable
from app.source.sqlite_file import OpenFile
from app.source.sqlite_key import Key, KeyCell, pack, unpack
from app.source.sqlite_schema import Schema, schema
from app.source.sqlite_statement import Batched, whole

# A batch ends after the row that passes this many bytes before compression: 1,000 rows of ordinary
# cells are 0.2 MB, but 1,000 of CELL_LIMIT would be 33 MB, for the server and for the page.
BATCH_BYTES = 1024 * 1024

# And after the row that comes this long after its first: the rows of a slow view show as they come.
BATCH_SECONDS = 1.0

_SQLRow = tuple[Any, ...]
_Pick = Callable[[_SQLRow], _SQLRow]


class _Filling:
    """One batch while it is filled."""

    def __init__(self, limit: int, pick: _Pick | None) -> None:
        self.limit = limit  # rows
        self.full = False
        self.last: _SQLRow | None = None  # the row taken last
        self.encoder = ChunkEncoder()
        self._pick = pick
        self._until = math.inf

    def take(self, rows: Iterable[_SQLRow]) -> None:
        """Encodes rows until the batch is full or they end."""
        encoder, pick, limit, until = self.encoder, self._pick, self.limit, self._until
        for row in rows:
            size = encoder.add(pick(row) if pick else row)
            self.last = row
            now = time.monotonic()
            if encoder.rows >= limit or size > BATCH_BYTES or now > until:
                self.full = True
                return
            if encoder.rows == 1:  # which may have taken minutes, and shall not come alone
                until = self._until = now + BATCH_SECONDS

    def may_end_with(self, error: Exception) -> bool:
        """Whether the rows before this error are handed out first; the next read then meets it again.

        Not those before an interruption: who cancels waits for nothing, and loses at most what came within
        BATCH_SECONDS. What a lock or text that is not UTF-8 broke off is read again.
        """
        return self.last is not None and not (is_interrupt(error) or is_busy(error) or is_undecodable(error))


class KeysetBatches:
    """Each batch is a short statement after the last key, so that nobody is locked out meanwhile."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: OpenFile,
        dataset: Dataset,
        key: Key,
        columns: tuple[int, ...],
        filters: tuple[Filter, ...],
        cursor: bytes | None,
    ) -> None:
        self._connection, self._file, self._dataset, self._key = connection, file, dataset, key
        self._schema = schema(connection, key.implicit)
        self._last = unpack(key, self._schema.version, cursor) if cursor is not None else None
        self._ended = False
        names = [dataset.columns[position].name for position in columns]
        extra = [term for term in key.terms if key.implicit or term.name not in names]
        self._statements = Batched(connection, dataset, key, columns, [term.sql for term in extra], filters)
        self._pick: _Pick | None = itemgetter(slice(len(columns))) if extra else None
        places = {term: len(columns) + place for place, term in enumerate(extra)}
        self._places = [places[term] if term in places else names.index(term.name) for term in key.terms]

    def next(self, limit: int) -> Batch | None:
        if self._ended:
            return None
        try:
            return self._in_snapshot(limit)
        except SqliteError as error:
            if is_undecodable(error):
                self._connection.text_factory = TOLERANT
                return self.next(limit)
            if is_interrupt(error) or is_busy(error):
                raise
        # The driver fetches one row ahead, so the error also took the good row before it.
        return self._in_snapshot(1)

    def _in_snapshot(self, limit: int) -> Batch | None:
        self._connection.execute("BEGIN")
        try:
            self._check_schema()
            self._file.begin(self._connection)
            return self._read(limit)
        finally:
            self._connection.rollback()

    def _check_schema(self) -> None:
        """Part of the snapshot."""
        before, now = self._schema, schema(self._connection, starts=False)
        if now.is_other_than(before):
            raise SourceChanged(
                f"Another database was copied over the file while “{self._dataset.name}” was read. The rows"
                " so far are of the old one. Run it again."
            )
        if now.version != before.version:
            now = self._verified(before)
        self._schema = replace(now, starts=now.starts or before.starts)

    def _verified(self, before: Schema) -> Schema:
        """The schema now, if what is read is still as it was."""
        self._statements.forget()
        if verify(self._connection, self._dataset) != self._key:
            raise SourceChanged(f"The key of “{self._dataset.name}” changed while it was read. Run it again.")
        now = schema(self._connection, self._key.implicit)
        if self._key.implicit and not now.has_numbers_of(before):
            raise SourceChanged(
                f"The file was rebuilt or a definition in it changed while “{self._dataset.name}” was read."
                " It has no primary key, so its rows may be numbered anew. Run it again."
            )
        return now

    def _read(self, limit: int) -> Batch | None:
        filling = _Filling(limit, self._pick)
        try:
            self._fill(filling)
        except SqliteError as error:
            if not filling.may_end_with(error):
                raise
        self._file.require_unspoiled()
        if filling.last is None:
            return None
        last = self._key_of(filling.last)
        encoder = filling.encoder
        batch = Batch(encoder.rows, encoder.finish(), pack(self._key, self._schema.version, last))
        self._last = last
        return batch

    def _fill(self, filling: _Filling) -> None:
        for sql, values in self._statements.after(self._last):
            left = filling.limit - filling.encoder.rows
            with closing(self._connection.execute(f"{sql} LIMIT ?", (*values, left))) as rows:
                filling.take(rows)
            if filling.full:
                return
        self._ended = True

    def _key_of(self, row: _SQLRow) -> tuple[KeyCell, ...]:
        last = tuple(row[place] for place in self._places)
        if None in last:
            # Nothing compares with NULL: the report would end here without a word.
            raise SourceCorrupt(f"“{self._dataset.name}” has NULL in its primary key: its file is damaged.")
        return last

    def close(self) -> None:
        """No statement is open between batches."""


class StatementBatches:
    """One statement for the whole report: for views, saved queries and virtual tables.

    It sees one snapshot of the file, and keeps its owner from writing in another mode than WAL.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: OpenFile,
        dataset: Dataset,
        columns: tuple[int, ...],
        filters: tuple[Filter, ...],
    ) -> None:
        connection.text_factory = TOLERANT  # a row that failed could not be fetched again
        self._connection, self._file, self._dataset = connection, file, dataset
        self._version = schema(connection, starts=False).version
        self._statement = whole(dataset, columns, filters)
        self._needs_view = dataset.sql is not None and bool(filters)
        self._pick = _picker(columns, len(dataset.columns)) if dataset.sql is not None else None
        self._rows: sqlite3.Cursor | None = None
        self._ended = False
        self._broken: Exception | None = None  # why there is nothing more to come

    def next(self, limit: int) -> Batch | None:
        if self._broken is not None:
            raise self._broken
        if self._ended:
            return None
        if self._rows is None:
            self._rows = self._execute()
        return self._read(self._rows, limit)

    def _execute(self) -> sqlite3.Cursor:
        self._connection.execute("BEGIN")
        try:
            if self._needs_view or schema(self._connection, starts=False).version != self._version:
                verify(self._connection, self._dataset)
            self._file.begin(self._connection)
            return self._connection.execute(*self._statement)
        except BaseException:
            self._connection.rollback()
            raise

    def _read(self, rows: sqlite3.Cursor, limit: int) -> Batch | None:
        filling = _Filling(limit, self._pick)
        # After any error SQLite's cursor looks as if it had come to its end.
        self._broken = SourceQueryFailed(f"Reading “{self._dataset.name}” was broken off before.")
        broken = None
        try:
            filling.take(rows)
        except SqliteError as error:
            broken = error
        # While the lock is still held: once it is gone, anybody may write.
        self._file.require_unspoiled()
        self._broken = broken
        if broken is not None or not filling.full:
            self._ended = True
            self.close()
        if broken is not None and not filling.may_end_with(broken):
            raise broken
        encoder = filling.encoder
        return Batch(encoder.rows, encoder.finish(), None) if encoder.rows else None

    def close(self) -> None:
        """Lets the owner write again."""
        if self._rows is not None:
            self._rows.close()
            self._connection.rollback()


def _picker(columns: tuple[int, ...], width: int) -> _Pick | None:
    if columns == tuple(range(width)):
        return None
    return lambda row: tuple(row[position] for position in columns)
