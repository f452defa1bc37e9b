"""What is in a SQLite file, read without Rowfall; and the files that some tests need."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

Shown = str | list[str]  # the text of a cell, or its class and its text


def select(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def shown(rows: Iterable[Sequence[object]]) -> list[list[Shown]]:
    """The rows as the page has to show them."""
    return [[_shown(cell) for cell in row] for row in rows]


def _shown(cell: object) -> Shown:
    match cell:
        case None:
            return ["null", "NULL"]
        case "":
            return ["empty", ""]
        case str():
            return cell.replace("\0", "␀")
        case float():
            return repr(cell)
        case bytes():
            return ["binary", f"0x{cell[:16].hex()}{'…' if len(cell) > 16 else ''} ({len(cell):,} bytes)"]
    return str(cell)


def create(path: Path, script: str, rows: dict[str, Iterable[Sequence[object]]] | None = None) -> Path:
    """A SQLite file made by the script, with rows for some of its tables."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        for table, cells in (rows or {}).items():
            for row in cells:
                connection.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', row)
        connection.commit()
    return path


def slow_views(path: Path) -> Path:
    """Views that give a row in a fraction of a millisecond, for minutes: one that can be counted at once,
    and one whose count takes as long as its rows.
    """
    steps = "WITH RECURSIVE b (j) AS (SELECT i UNION ALL SELECT j + 1 FROM b WHERE j < i + 1000)"
    work = f"({steps} SELECT max(j) FROM b)"
    return create(
        path,
        f"""
        CREATE TABLE number (i INTEGER PRIMARY KEY);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)
        INSERT INTO number SELECT i FROM n;
        CREATE VIEW slow AS SELECT i, {work} - i AS work FROM number;
        CREATE VIEW uncountable AS SELECT i FROM number WHERE {work} > i;
        """,
    )


def paced_table(path: Path, rows: int, work: int = 30_000) -> Path:
    """A table with a key, whose rows take a fraction of a millisecond each to compute."""
    return create(
        path,
        f"""
        CREATE TABLE paced (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO paced SELECT i, 'row ' || i FROM n;
        -- Added last: SQLite would compute it for each row that is inserted.
        ALTER TABLE paced ADD COLUMN work AS (length(replace(hex(zeroblob({work} + id % 2)), '00', 'x')));
        """,
    )


def paced_view(path: Path, rows: int) -> Path:
    """The same rows as a view, which has no key to go on by."""
    paced_table(path, rows)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE paced RENAME TO base")
        connection.execute("CREATE VIEW paced AS SELECT * FROM base")
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can read the file meanwhile."""
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def cells_of_each_kind(path: Path) -> Path:
    """900 rows that hold cells of every kind, an empty table, and views: a slow one, a failing one."""
    rows = (
        (
            number,
            f"text {number}",
            None if number % 2 else "",
            bytes(range(number % 40)),
            "a long text, " * (2_000 if number == 2 else number % 30),
            number / 7,
        )
        for number in range(1, 901)
    )
    return create(
        path,
        """
        CREATE TABLE kinds (i INTEGER PRIMARY KEY, word TEXT, gap TEXT, data BLOB, long TEXT, share REAL);
        CREATE TABLE nothing_here (i INTEGER PRIMARY KEY, word TEXT);
        CREATE VIEW failing AS SELECT i, word, abs(iif(i > 250, -9223372036854775807 - 1, i)) AS n FROM kinds;
        CREATE VIEW slow AS SELECT a.i * 1000 + c.i AS i, (WITH RECURSIVE b (j) AS (
            SELECT a.i UNION ALL SELECT j + 1 FROM b WHERE j < a.i + 3000) SELECT max(j) FROM b) AS work
            FROM kinds a, kinds c;
        """,
        {"kinds": rows},
    )


def late_view(path: Path, seconds: float, rows: int = 3_000) -> Path:
    """A view whose first row takes about so many seconds of one processor, and the others nothing."""
    steps = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT max(i) FROM n"
    )
    tried = 300_000
    with closing(sqlite3.connect(":memory:")) as connection:

        def try_once(_: int) -> float:
            started = time.thread_time()
            connection.execute(steps.format(tried)).fetchall()
            return time.thread_time() - started

        fastest = min(map(try_once, range(10)))  # the others shared the processor with somebody
    wanted = round(seconds / fastest * tried)
    return create(
        path,
        f"""
        CREATE TABLE base (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO base SELECT i, 'row ' || i FROM n;
        CREATE VIEW late AS SELECT id, name FROM base WHERE ({steps.format(wanted)}) > 0;
        """,
    )


def pausing_view(path: Path) -> Path:
    """A view that gives five rows at once, another after seconds, and then none for minutes."""
    return create(
        path,
        """
        CREATE VIEW pausing AS WITH RECURSIVE n (i) AS (
            SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000000000)
            SELECT i, 'row ' || i AS name FROM n WHERE i <= 5 OR i IN (25000000, 5000000000);
        """,
    )
