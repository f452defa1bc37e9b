"""What a SQLite file holds: its tables and views, their columns and keys."""

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import InvalidRequest, SourceChanged
from app.model import Column, Dataset, Kind, Skipped
from app.source.sqlite_connection import TOLERANT, SqliteError, error_code, message
from app.source.sqlite_key import Key, Term, quoted

# SQLite's own rules for a column's affinity: the first of these that the declared type contains.
_AFFINITIES = (
    ("INT", Kind.INTEGER),
    ("CHAR", Kind.TEXT),
    ("CLOB", Kind.TEXT),
    ("TEXT", Kind.TEXT),
    ("BLOB", Kind.BINARY),
    ("REAL", Kind.REAL),
    ("FLOA", Kind.REAL),
    ("DOUB", Kind.REAL),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    type: str  # "table", "virtual" or "view"
    without_rowid: bool


_ENTRIES = r"""
    SELECT name, type, wr FROM pragma_table_list
    WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
"""


def discover(connection: sqlite3.Connection, source: str) -> tuple[list[Dataset], list[Skipped]]:
    """By name. A thing that cannot be prepared is left out with the reason; nothing is executed."""
    connection.text_factory = TOLERANT
    datasets, skipped = [], []
    for entry in sorted(_entries(connection, _ENTRIES), key=lambda entry: entry.name.casefold()):
        try:
            reason = _obstacle(connection, entry)
            if reason is None:
                datasets.append(_described(connection, source, entry)[0])
        except SqliteError as error:
            if error_code(error) not in (0, sqlite3.SQLITE_ERROR):
                raise
            reason = _REASONS.get(message(error), f"SQLite cannot prepare it: {message(error)}.")
        if reason is not None:
            skipped.append(Skipped(_printable(entry.name), reason))
    return datasets, skipped


_REASONS = {"no query solution": "Its key is sorted by rules that only the program it belongs to knows."}


def _entries(connection: sqlite3.Connection, sql: str, *values: str) -> list[_Entry]:
    return [_Entry(name, kind, bool(wr)) for name, kind, wr in connection.execute(sql, values)]


def _obstacle(connection: sqlite3.Connection, entry: _Entry) -> str | None:
    if entry.name != _printable(entry.name):
        return "Its name is not UTF-8."
    # EXPLAIN prepares, so that a missing table, function or module is found, and runs nothing.
    connection.execute(f"EXPLAIN SELECT * FROM main.{quoted(entry.name)}").close()
    columns = _columns(connection, entry.name, "main")
    if not columns:
        return "It has no columns."
    if any(column.name != _printable(column.name) for column in columns):
        return "The name of one of its columns is not UTF-8."
    return None


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _described(connection: sqlite3.Connection, source: str, entry: _Entry) -> tuple[Dataset, Key | None]:
    columns = _columns(connection, entry.name, "main")
    key = _key(connection, entry, columns) if entry.type == "table" else None
    kind = "view" if entry.type == "view" else "table"
    names = key.names if key else ()
    return Dataset(f"{source}.{entry.name}", source, entry.name, kind, columns, names), key


def _columns(connection: sqlite3.Connection, name: str, schema: str) -> tuple[Column, ...]:
    """Those that `SELECT *` gives: generated ones too, but no hidden ones of a virtual table."""
    found = connection.execute(
        "SELECT name, type FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1 ORDER BY cid", (name, schema)
    ).fetchall()
    names = _as_written(name for name, _ in found)
    return tuple(
        Column(name, _kind(declared), _printable(declared))
        for name, (_, declared) in zip(names, found, strict=True)
    )


def _as_written(names: Iterable[str]) -> list[str]:
    """SQLite gives repeated columns of a view a suffix (`id:1`), a random one after the fifth."""
    written: list[str] = []
    seen: set[str] = set()
    for name in names:
        suffixed = re.fullmatch(r"(.*):\d+", name, re.DOTALL)
        repeated = suffixed is not None and suffixed[1].lower() in seen
        written.append(suffixed[1] if suffixed and repeated else name)
        seen.add(written[-1].lower())
    return written


def _kind(declared: str) -> Kind:
    spelled = declared.upper()
    return next((kind for part, kind in _AFFINITIES if part in spelled), Kind.ANY)


def _key(connection: sqlite3.Connection, entry: _Entry, columns: tuple[Column, ...]) -> Key | None:
    if entry.without_rowid:
        return _primary_key(connection, entry.name)
    alias = _rowid_alias(connection, entry.name)
    if alias is not None:
        return Key((Term(alias, f"t.{quoted(alias)}"),))
    return _implicit_rowid(connection, columns)


def _primary_key(connection: sqlite3.Connection, name: str) -> Key | None:
    if connection.execute("PRAGMA encoding").fetchone()[0] != "UTF-8":
        # Text that is not UTF-16 is altered on its way out: no way to compare with it afterwards.
        return None
    found = connection.execute(
        'SELECT name, "desc", coll FROM pragma_index_xinfo(?, ?) WHERE key ORDER BY seqno', (name, "main")
    ).fetchall()
    return Key(
        tuple(
            Term(column, f"t.{quoted(column)} COLLATE {quoted(collation.upper())}", bool(descending))
            for column, descending, collation in found
        )
    )


def _rowid_alias(connection: sqlite3.Connection, name: str) -> str | None:
    """The INTEGER PRIMARY KEY. It has no index; any other primary key, even of integers, has one."""
    indexed = "SELECT 1 FROM pragma_index_list(?, 'main') WHERE origin = 'pk'"
    if connection.execute(indexed, (name,)).fetchone():
        return None
    row = connection.execute("SELECT name FROM pragma_table_xinfo(?, 'main') WHERE pk", (name,)).fetchone()
    return row[0] if row else None


def _implicit_rowid(connection: sqlite3.Connection, columns: tuple[Column, ...]) -> Key | None:
    """The row number, through a name that no column takes. It is one more column of the result."""
    taken = {column.name.lower() for column in columns}
    free = next((name for name in ("rowid", "oid", "_rowid_") if name not in taken), None)
    if free is None or len(columns) >= connection.getlimit(sqlite3.SQLITE_LIMIT_COLUMN):
        return None
    return Key((Term("rowid", f"t.{free}"),), implicit=True)


def verify(connection: sqlite3.Connection, dataset: Dataset) -> Key | None:
    """The key of a dataset that is still as described. SourceChanged if it is not."""
    if dataset.sql is not None:
        same = query_columns(connection, dataset.sql) == _bare(dataset.columns)
        key = None
    else:
        found = _entries(connection, f"{_ENTRIES} AND name = ?", dataset.name)
        if not found:
            raise SourceChanged(f"There is no {dataset.kind} “{dataset.name}” any more.")
        now, key = _described(connection, dataset.source, found[0])
        same = (now.kind, now.columns, now.key) == (dataset.kind, _bare(dataset.columns), dataset.key)
    if not same:
        raise SourceChanged(f"The columns or the key of “{dataset.name}” have changed. Run it again.")
    return key


def _bare(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Without what the page found out about them."""
    return tuple(Column(column.name, column.kind, column.declared) for column in columns)


def query_columns(connection: sqlite3.Connection, sql: str) -> tuple[Column, ...]:
    """The columns of a query's result, without running it. InvalidRequest if it is not one query."""
    create_query_view(connection, sql)
    return _columns(connection, QUERY_VIEW, "temp")


QUERY_VIEW = "rowfall_query"


def create_query_view(connection: sqlite3.Connection, sql: str) -> None:
    """A view of this connection alone: the grammar takes one SELECT, VALUES or WITH, no parameters."""
    # The file itself stays read-only by the way it was opened.
    connection.execute("PRAGMA query_only = 0")
    try:
        connection.execute(f"DROP VIEW IF EXISTS temp.{QUERY_VIEW}")
        connection.execute(f"CREATE TEMP VIEW {QUERY_VIEW} AS {sql}")
    except (sqlite3.Error, UnicodeEncodeError) as error:
        if isinstance(error, sqlite3.Error) and error_code(error) not in (0, sqlite3.SQLITE_ERROR):
            raise
        raise InvalidRequest(f"A saved query must be one SELECT without parameters: {error}.") from error
    finally:
        connection.execute("PRAGMA query_only = 1")
