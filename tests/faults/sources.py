"""The sources of these tests: tables of each kind of key and views without one, whose rows take a while.

Reading a row costs SQLite a little work, so that there is time for a fault; how long a report
takes depends on the machine, and no test on how long.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tables import create

KEYED = ("number", "word", "pair", "plain")  # tables of `paced`
VIEW = "seen"
ROWS = 4_000
CHUNK_ROWS = 50

# Added last: SQLite would compute it for each row that is inserted.
_WORK = "ADD COLUMN work AS (length(replace(hex(zeroblob({work} + length(name) % 2)), '00', 'x')))"


def paced(path: Path, rows: int = ROWS, work: int = 12_000) -> Path:
    """`number`, `word`, `pair` and `plain`, tables with every kind of key, and the view `seen` without one.

    The first column of each tells its rows apart.
    """
    return create(
        path,
        f"""
        CREATE TABLE number (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO number SELECT i * 3, 'row ' || i FROM n;
        CREATE TABLE word (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
        INSERT INTO word SELECT printf('%x-%d', id * 7919 % 65536, id), name FROM number;
        CREATE TABLE pair (
            id TEXT NOT NULL, name TEXT NOT NULL, half INTEGER NOT NULL, PRIMARY KEY (half, id)
        ) WITHOUT ROWID;
        INSERT INTO pair SELECT 'p' || id, name, id % 7 FROM number;
        CREATE TABLE plain (id TEXT, name TEXT NOT NULL);
        INSERT INTO plain SELECT 'q' || id, name FROM number ORDER BY id DESC;
        {"".join(f"ALTER TABLE {table} {_WORK.format(work=work)};" for table in KEYED)}
        CREATE VIEW seen AS SELECT id, name, work FROM number;
        """,
    )


def endless(path: Path) -> Path:
    """The views `endless`, of which nobody sees the end, and `silent`, of which nobody sees a row."""
    return create(
        path,
        """
        CREATE VIEW endless AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9)
            SELECT i, length(replace(hex(zeroblob(12000 + i % 2)), '00', 'x')) AS work FROM n;
        CREATE VIEW silent AS SELECT i FROM endless WHERE i < 0;
        """,
    )


def odd_texts(path: Path, rows: int = 500) -> Path:
    """`odd`: texts with NUL inside, and texts that are not UTF-8."""
    create(path, "CREATE TABLE odd (id INTEGER PRIMARY KEY, nul TEXT, bad TEXT)")
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO odd VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT))",
            ((i, b"a\0b%d" % i, b"\xff\xfe caf\xe9 %d" % i) for i in range(1, rows + 1)),
        )
        connection.commit()
    return path


def keys(path: Path, table: str) -> Sequence[object]:
    """The first cell of each row in the order of a report."""
    order = {"number": "id", "word": "id", "pair": "half, id", "plain": "rowid", "odd": "id"}.get(table)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        query = f"SELECT id FROM {table}" + (f" ORDER BY {order}" if order else "")
        return [key for (key,) in connection.execute(query)]
