# ruff: noqa: ASYNC240 - blocking file operations are fine in a test's own event loop
import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.codec import decode
from app.errors import (
    InvalidRequest,
    SourceChanged,
    SourceCorrupt,
    SourceInterrupted,
    SourceUnreachable,
)
from app.model import CELL_LIMIT, Batch, Cut, Dataset, Kind, Row, Undecodable
from app.source.sqlite import SqliteSource
from app.source.sqlite_batches import BATCH_BYTES
from app.source.sqlite_reader import SqliteReader

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"


class Owner:
    """The program that a file belongs to, which goes on writing while reports are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        self.source = SqliteSource("s", path, timeout=0.3)

    def does(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def rows(self, sql: str) -> list[Row]:
        return self.connection.execute(sql).fetchall()

    async def dataset(self, name: str = "t") -> Dataset:
        return next(dataset for dataset in (await self.source.discover())[0] if dataset.name == name)

    @asynccontextmanager
    async def reader(
        self,
        dataset: Dataset | str = "t",
        columns: Sequence[int] | None = None,
        cursor: bytes | None = None,
        chunk_rows: int = 1000,
    ) -> AsyncIterator[SqliteReader]:
        if isinstance(dataset, str):
            dataset = await self.dataset(dataset)
        chosen = tuple(range(len(dataset.columns)) if columns is None else columns)
        reader = await self.source.open_reader(dataset, chosen, cursor, chunk_rows)
        try:
            yield reader
        finally:
            await reader.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.db"


@pytest.fixture
async def owner(path: Path) -> AsyncIterator[Owner]:
    owner = Owner(path)
    yield owner
    owner.connection.close()


async def one(reader: SqliteReader) -> list[Row]:
    batch = await reader.read()
    assert batch is not None
    rows = decode(batch.payload)
    assert len(rows) == batch.rows
    return rows


async def rest(reader: SqliteReader) -> list[Row]:
    rows: list[Row] = []
    while batch := await reader.read():
        assert batch.rows > 0
        rows += decode(batch.payload)
    return rows


def numbered(count: int) -> str:
    """An INSERT's SELECT of `count` rows: a number, and its negative."""
    numbers = f"SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {count}"
    return f"WITH RECURSIVE r(n) AS ({numbers}) SELECT n, -n FROM r"


class TestBatches:
    async def test_an_empty_table_ends_at_once_and_stays_ended(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)")
        async with owner.reader() as reader:
            assert await reader.read() is None
            owner.does("INSERT INTO t VALUES (1)")
            assert await reader.read() is None

    async def test_one_row(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", "INSERT INTO t VALUES ('x')")
        async with owner.reader() as reader:
            assert await one(reader) == [("x",)]
            assert await reader.read() is None

    @pytest.mark.parametrize("count", [9, 10, 11, 20, 25])
    @pytest.mark.parametrize("name", ["t", "v"])
    async def test_full_batches_and_the_rest(self, owner: Owner, count: int, name: str) -> None:
        owner.does(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            f"INSERT INTO t {numbered(count)}",
            "CREATE VIEW v AS SELECT * FROM t ORDER BY id",
        )
        sizes = []
        async with owner.reader(name, chunk_rows=10) as reader:
            while batch := await reader.read():
                sizes.append(batch.rows)
        assert sizes == [10] * (count // 10) + ([count % 10] if count % 10 else [])

    async def test_columns_come_in_the_order_asked_for_and_more_than_once(self, owner: Owner) -> None:
        owner.does(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b REAL)",
            "INSERT INTO t VALUES (1, 'x', 0.5), (2, 'y', 1.5)",
            "CREATE VIEW v AS SELECT * FROM t",
        )
        query = await owner.source.describe_query("q", "SELECT * FROM t")
        for dataset in (await owner.dataset("t"), await owner.dataset("v"), query):
            async with owner.reader(dataset, (2, 1, 2), chunk_rows=1) as reader:
                assert [column.name for column in reader.columns] == ["b", "a", "b"]
                assert [column.kind for column in reader.columns] == [Kind.REAL, Kind.TEXT, Kind.REAL]
                assert await rest(reader) == [(0.5, "x", 0.5), (1.5, "y", 1.5)]

    @pytest.mark.parametrize("columns", [(), (2,), (-1,), (0, 5)])
    async def test_columns_that_are_not_there_are_refused(self, owner: Owner, columns: tuple[int]) -> None:
        owner.does("CREATE TABLE t (a, b)")
        with pytest.raises(InvalidRequest, match="column"):
            async with owner.reader("t", columns):
                pass

    @pytest.mark.parametrize("name", ["t", "v"])
    async def test_large_cells_end_a_batch_early(self, owner: Owner, name: str) -> None:
        owner.does(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            *("INSERT INTO t (a) VALUES (printf('%.*c', 100000, 'x'))" for _ in range(1000)),
            "CREATE VIEW v AS SELECT * FROM t ORDER BY id",
        )
        sizes, ids = [], []
        async with owner.reader(name) as reader:
            while batch := await reader.read():
                rows = decode(batch.payload)
                sizes.append(batch.rows)
                ids += [row[0] for row in rows]
                assert {row[1] for row in rows} == {Cut("x" * CELL_LIMIT)}
        assert ids == list(range(1, 1001))
        expected = BATCH_BYTES // CELL_LIMIT
        assert expected - 2 <= max(sizes) <= expected + 1

    async def test_a_ten_megabyte_cell_is_cut_and_its_neighbours_are_whole(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a, b)")
        owner.connection.execute("INSERT INTO t VALUES (?, ?)", ("é" * 10_000_000, b"\xff" * 10_000_000))
        owner.does("INSERT INTO t VALUES (1, 2)")
        async with owner.reader() as reader:
            assert await one(reader) == [(Cut("é" * CELL_LIMIT), Cut(b"\xff" * CELL_LIMIT)), (1, 2)]

    async def test_every_kind_of_value_in_one_column(self, owner: Owner) -> None:
        values = [
            None,
            0,
            2**63 - 1,
            -(2**63),
            1.0,
            math.inf,
            -math.inf,
            5e-324,
            "",
            "a\0b",
            b"",
            b"\0\xff",
            "é",
        ]
        owner.does("CREATE TABLE t (a)")
        owner.connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        async with owner.reader() as reader:
            rows = await one(reader)
        assert [(type(cell), cell) for (cell,) in rows] == [(type(value), value) for value in values]

    @pytest.mark.parametrize("name", ["t", "v", "w"])
    async def test_text_that_is_not_utf8_is_marked_and_no_row_is_lost(self, owner: Owner, name: str) -> None:
        owner.does(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            f"INSERT INTO t {numbered(30)}",
            "UPDATE t SET a = CAST(x'63ff00' AS TEXT) WHERE id IN (15, 16, 29)",
            "UPDATE t SET a = 'é' WHERE id = 17",
            "CREATE VIEW v AS SELECT * FROM t ORDER BY id",
            "CREATE TABLE w (id PRIMARY KEY, a) WITHOUT ROWID",
            "INSERT INTO w SELECT * FROM t",
        )
        expected: list[Row] = [(n, -n) for n in range(1, 31)]
        for broken in (15, 16, 29):
            expected[broken - 1] = (broken, Undecodable(b"c\xff\0"))
        expected[16] = (17, "é")
        async with owner.reader(name, chunk_rows=10) as reader:
            assert await rest(reader) == expected

    async def test_a_virtual_table_and_a_table_without_a_usable_row_number(self, owner: Owner) -> None:
        owner.does(
            "CREATE VIRTUAL TABLE f USING fts5(body)",
            "INSERT INTO f VALUES ('one'), ('two')",
            "CREATE TABLE t (rowid, oid, _rowid_)",
            "INSERT INTO t VALUES (3, 1, 1), (3, 1, 1)",
        )
        async with owner.reader("f", chunk_rows=1) as reader:
            assert await rest(reader) == [("one",), ("two",)]
        async with owner.reader("t", chunk_rows=1) as reader:
            assert await rest(reader) == [(3, 1, 1), (3, 1, 1)]

    @pytest.mark.parametrize("columns", ["rowid", "rowid, oid", "_rowid_, rowid", "ROWID, x"])
    async def test_columns_called_like_the_row_number(self, owner: Owner, columns: str) -> None:
        width = columns.count(",") + 1
        owner.does(f"CREATE TABLE t ({columns})")
        for number in range(7):
            owner.does(f"INSERT INTO t VALUES ({', '.join([str(number % 2)] * width)})")
        async with owner.reader(chunk_rows=2) as reader:
            assert await rest(reader) == [(number % 2,) * width for number in range(7)]


KEYS = {
    "text and numbers in one column": (
        "t (k PRIMARY KEY, x) WITHOUT ROWID",
        [1, 1.5, "1", "", b"", b"1", "a", -(2**63), 2**63 - 1, math.inf, -math.inf, 2**53, 2.0**53 + 2],
    ),
    "text in a numeric column": (
        "t (k NUMERIC PRIMARY KEY, x) WITHOUT ROWID",
        [1, "1x", "x", 2.5, b"2", "é"],
    ),
    "numbers as text": (
        "t (k TEXT PRIMARY KEY, x) WITHOUT ROWID",
        ["10", "9", "1e1", " 10", "A", "a", "B", b"A"],
    ),
    "descending": ("t (k, x, PRIMARY KEY (k DESC)) WITHOUT ROWID", [3, 1, "a", 2, b"x", 7.5]),
    "NOCASE": (
        "t (k TEXT COLLATE NOCASE PRIMARY KEY, x) WITHOUT ROWID",
        ["a", "B", "c", "D", "É", "é", "_", "Z"],
    ),
    "NOCASE column, BINARY key": (
        "t (k TEXT COLLATE NOCASE, x, PRIMARY KEY (k COLLATE BINARY)) WITHOUT ROWID",
        ["a", "A", "B", "b", "c", "D"],
    ),
    "RTRIM": ("t (k TEXT COLLATE RTRIM PRIMARY KEY, x) WITHOUT ROWID", ["a ", "b", "  ", "a\t"]),
    "NUL": ("t (k PRIMARY KEY, x) WITHOUT ROWID", ["a", "a\0", "a\0b", "a\0c", "b"]),
    "real": ("t (k REAL PRIMARY KEY, x) WITHOUT ROWID", [1, 2, 0.1, 0.1 + 0.2, 1e300, -5e-324, math.inf]),
    "declared row number": ("t (k INTEGER PRIMARY KEY, x)", [5, -(2**63), 2**63 - 1, 0, -1]),
    "implicit row number": ("t (k UNIQUE, x)", ["b", "a", 2, 1, None, b""]),
}


class TestKeys:
    @pytest.mark.parametrize("rows", [1, 2, 3])
    @pytest.mark.parametrize("case", KEYS)
    async def test_every_row_once_in_the_order_of_the_key(self, owner: Owner, case: str, rows: int) -> None:
        table, keys = KEYS[case]
        owner.does(f"CREATE TABLE {table}")
        owner.connection.executemany("INSERT INTO t VALUES (?, ?)", [(key, n) for n, key in enumerate(keys)])
        async with owner.reader(chunk_rows=rows) as reader:
            found = await rest(reader)
        assert len(found) == len(keys)
        assert found == owner.rows("SELECT * FROM t")

    @pytest.mark.parametrize(
        "order", ["a, b, c", "a, b DESC, c", "a DESC, b, c DESC", "c, a COLLATE NOCASE, b"]
    )
    @pytest.mark.parametrize("columns", [(0, 1, 2, 3), (3,), (2, 3)])
    async def test_keys_of_several_columns(self, owner: Owner, order: str, columns: tuple[int, ...]) -> None:
        owner.does(
            f"CREATE TABLE t (a, b TEXT COLLATE NOCASE, c, x, PRIMARY KEY ({order})) WITHOUT ROWID",
            "CREATE INDEX covers ON t (x)",
        )
        keys = [(a, b, c) for a in (1, "B", "a", b"") for b in ("x", "Y", "") for c in (1, 2.5, "z")]
        owner.connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)", [(*key, n) for n, key in enumerate(keys)]
        )
        expected = owner.rows(f"SELECT a, b, c, x FROM t ORDER BY {order}")
        async with owner.reader(columns=columns, chunk_rows=5) as reader:
            assert await rest(reader) == [tuple(row[place] for place in columns) for row in expected]

    async def test_keys_that_are_not_utf8(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (k TEXT, l, PRIMARY KEY (k, l)) WITHOUT ROWID")
        raw = [b"\xff", b"\xfe\x00", b"a\xe9", b"a\xe9b", "aé".encode(), b"a", b"\xed\xa0\x80"]
        for key in raw:
            for part in (b"\xff\xff", b"x"):
                owner.does(
                    f"INSERT INTO t VALUES (CAST(x'{key.hex()}' AS TEXT), CAST(x'{part.hex()}' AS TEXT))"
                )
        seen, cursor = [], None
        while True:  # through the cursor's bytes, not only in memory
            async with owner.reader(cursor=cursor, chunk_rows=3) as reader:
                batch = await reader.read()
            if batch is None:
                break
            seen += [tuple(bytes_of(cell) for cell in row) for row in decode(batch.payload)]
            cursor = batch.cursor
        assert seen == owner.rows("SELECT CAST(k AS BLOB), CAST(l AS BLOB) FROM t")
        assert len(seen) == 14

    async def test_no_batch_sorts_or_scans(self, owner: Owner) -> None:
        """A statement that scans would make a report of n rows take n * n steps."""
        owner.does(
            "CREATE TABLE t (a, b TEXT COLLATE NOCASE, c, PRIMARY KEY (a, b DESC)) WITHOUT ROWID",
            "INSERT INTO t SELECT 1, n, n FROM (WITH RECURSIVE r(n) AS"
            " (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 50000) SELECT n FROM r)",
            "CREATE TABLE u (id INTEGER PRIMARY KEY, c)",
            "INSERT INTO u SELECT c, -c FROM t",
            "CREATE INDEX covers ON u (c, id)",
        )
        for name in ("t", "u"):
            async with owner.reader(name, (1,), chunk_rows=10) as reader:
                connection = reader._connection
                assert connection is not None
                steps = 0

                def step() -> bool:
                    nonlocal steps
                    steps += 1
                    return False

                connection.set_progress_handler(step, 100)
                for _ in range(20):
                    await reader.read()
            assert steps < 20 * 20  # each batch below 2,000 steps of SQLite's machine

    async def test_null_in_a_primary_key_is_damage_and_not_the_end(self, owner: Owner) -> None:
        owner.does(
            "CREATE TABLE t (k TEXT, PRIMARY KEY (k)) WITHOUT ROWID",
            "INSERT INTO t VALUES ('a'), ('b')",
        )
        async with owner.reader() as reader:
            assert reader._batches is not None
            with pytest.raises(SourceCorrupt, match="NULL"):
                reader._batches._key_of((None,))  # type: ignore[union-attr]


def bytes_of(cell: object) -> object:
    if isinstance(cell, Undecodable):
        return cell.raw
    return cell.encode() if isinstance(cell, str) else cell


class TestContinuing:
    @pytest.mark.parametrize(
        "table", ["t (id INTEGER PRIMARY KEY, a)", "t (id, a)", "t (id PRIMARY KEY, a) WITHOUT ROWID"]
    )
    async def test_from_every_batch_with_another_reader(self, owner: Owner, table: str) -> None:
        owner.does(f"CREATE TABLE {table}", f"INSERT INTO t {numbered(25)}")
        batches: list[Batch] = []
        async with owner.reader(chunk_rows=10) as reader:
            while batch := await reader.read():
                batches.append(batch)
        for place, batch in enumerate(batches):
            assert batch.cursor is not None
            async with owner.reader(cursor=batch.cursor, chunk_rows=10) as reader:
                expected = [row for later in batches[place + 1 :] for row in decode(later.payload)]
                assert await rest(reader) == expected

    async def test_key_columns_that_are_not_shown_are_still_continued_by(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", f"INSERT INTO t {numbered(4)}")
        async with owner.reader(columns=(1,), chunk_rows=3) as reader:
            batch = await reader.read()
        assert batch is not None
        assert decode(batch.payload) == [(-1,), (-2,), (-3,)]
        async with owner.reader(columns=(1,), cursor=batch.cursor) as reader:
            assert await rest(reader) == [(-4,)]

    @pytest.mark.parametrize("cursor", [b"", b"\xc1", b"\x90", b"\x94\x01\x90\xc0\x90", b"junk"])
    async def test_bytes_that_are_no_cursor(self, owner: Owner, cursor: bytes) -> None:
        owner.does("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        with pytest.raises(SourceChanged, match="Run it again"):
            async with owner.reader(cursor=cursor):
                pass

    @pytest.mark.parametrize(
        "other",
        [
            "o (id, a, PRIMARY KEY (id)) WITHOUT ROWID",
            "o (k INTEGER PRIMARY KEY, a)",
            "o (id, a)",
            "o (id, a, PRIMARY KEY (id, a)) WITHOUT ROWID",
        ],
    )
    async def test_a_cursor_of_another_key(self, owner: Owner, other: str) -> None:
        owner.does(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            f"INSERT INTO t {numbered(4)}",
            f"CREATE TABLE {other}",
        )
        async with owner.reader() as reader:
            batch = await reader.read()
        assert batch is not None
        with pytest.raises(SourceChanged):
            async with owner.reader("o", cursor=batch.cursor):
                pass

    async def test_a_view_gives_no_cursor_and_takes_none(self, owner: Owner) -> None:
        owner.does("CREATE VIEW t AS VALUES (1), (2)")
        async with owner.reader() as reader:
            batch = await reader.read()
        assert batch is not None
        assert batch.cursor is None
        with pytest.raises(SourceChanged, match="no key"):
            async with owner.reader(cursor=b"\x90"):
                pass


class TestChanges:
    @pytest.mark.parametrize("mode", ["DELETE", "WAL"])
    async def test_the_owner_writes_between_batches_and_is_not_locked_out(
        self, owner: Owner, mode: str
    ) -> None:
        owner.does(
            f"PRAGMA journal_mode = {mode}",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            f"INSERT INTO t {numbered(50)}",
        )
        async with owner.reader(chunk_rows=10) as reader:
            first = await one(reader)
            assert not await reader.changed()
            owner.does("DELETE FROM t WHERE id IN (2, 5, 10)", "DELETE FROM t WHERE id BETWEEN 15 AND 20")
            owner.does(
                "INSERT INTO t VALUES (-5, 'before'), (100, 'after')", "INSERT INTO t VALUES (5, 'again')"
            )
            assert await reader.changed()
            after = await rest(reader)
        assert [row[0] for row in first] == list(range(1, 11))
        assert [row[0] for row in after] == [*range(11, 15), *range(21, 51), 100]

    async def test_a_reader_does_not_keep_the_wal_from_being_reset(self, owner: Owner) -> None:
        owner.does(
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            f"INSERT INTO t {numbered(50)}",
        )
        async with owner.reader(chunk_rows=10) as reader:
            await reader.read()
            owner.does("UPDATE t SET a = 0")
            [(busy, _, _)] = owner.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            assert busy == 0

    async def test_a_lock_that_goes_away_is_waited_for(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", f"INSERT INTO t {numbered(3)}")
        dataset = await owner.dataset()
        owner.does("BEGIN EXCLUSIVE")
        asyncio.get_running_loop().call_later(0.1, owner.does, "COMMIT")
        async with owner.reader(dataset) as reader:
            owner.does("BEGIN EXCLUSIVE")
            asyncio.get_running_loop().call_later(0.1, owner.does, "COMMIT")
            assert len(await rest(reader)) == 3

    @pytest.mark.parametrize("name", ["t", "v"])
    async def test_a_lock_that_stays_is_an_error_and_the_read_can_be_tried_again(
        self, owner: Owner, name: str
    ) -> None:
        owner.does("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", f"INSERT INTO t {numbered(3)}")
        owner.does("CREATE VIEW v AS SELECT * FROM t")
        async with owner.reader(name) as reader:
            owner.does("BEGIN EXCLUSIVE")
            started = time.monotonic()
            with pytest.raises(SourceUnreachable, match="locked"):
                await reader.read()
            assert 0.25 < time.monotonic() - started < 1.5
            owner.does("COMMIT")
            assert len(await rest(reader)) == 3

    async def test_vacuum_numbers_rows_anew_and_stops_a_read_by_row_number(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a, b)", f"INSERT INTO t {numbered(30)}")
        owner.does("DELETE FROM t WHERE a < 6")
        async with owner.reader(chunk_rows=10) as reader:
            batch = await reader.read()
            owner.does("VACUUM")
            assert owner.rows("SELECT rowid, a FROM t LIMIT 1") == [(1, 6)]
            with pytest.raises(SourceChanged, match="numbered anew"):
                await reader.read()
        assert batch is not None
        with pytest.raises(SourceChanged, match="Run it again"):
            async with owner.reader(cursor=batch.cursor):
                pass

    @pytest.mark.parametrize(
        "table", ["t (id INTEGER PRIMARY KEY, b)", "t (id PRIMARY KEY, b) WITHOUT ROWID"]
    )
    async def test_vacuum_does_not_matter_to_a_declared_key(self, owner: Owner, table: str) -> None:
        owner.does(f"CREATE TABLE {table}", f"INSERT INTO t {numbered(30)}", "DELETE FROM t WHERE id < 6")
        async with owner.reader(chunk_rows=10) as reader:
            batch = await reader.read()
            owner.does("VACUUM", "CREATE TABLE another (a)")
            assert [row[0] for row in await rest(reader)] == list(range(16, 31))
        assert batch is not None
        async with owner.reader(cursor=batch.cursor) as reader:
            assert [row[0] for row in await rest(reader)] == list(range(16, 31))

    @pytest.mark.parametrize(
        "change",
        [
            "ALTER TABLE t RENAME COLUMN b TO c",
            "ALTER TABLE t DROP COLUMN b",
            "ALTER TABLE t ADD COLUMN c",
            "DROP TABLE t",
            "ALTER TABLE t RENAME TO u",
        ],
    )
    async def test_a_changed_definition_stops_the_read(self, owner: Owner, change: str) -> None:
        owner.does("CREATE TABLE t (id INTEGER PRIMARY KEY, b)", f"INSERT INTO t {numbered(30)}")
        dataset = await owner.dataset()
        async with owner.reader(chunk_rows=10) as reader:
            await reader.read()
            owner.does(change)
            with pytest.raises(SourceChanged, match="“t”"):
                await reader.read()
        with pytest.raises(SourceChanged, match="“t”"):
            async with owner.reader(dataset):
                pass

    async def test_a_table_that_became_a_view_and_a_changed_query_are_not_read(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a, b)", "CREATE VIEW v AS SELECT a FROM t")
        table, view = await owner.dataset("t"), await owner.dataset("v")
        query = await owner.source.describe_query("q", "SELECT * FROM t")
        owner.does("DROP VIEW v", "DROP TABLE t", "CREATE VIEW t AS SELECT 1 AS a, 2 AS b, 3 AS c")
        for dataset in (table, view, query):
            with pytest.raises(SourceChanged):
                async with owner.reader(dataset):
                    pass

    async def test_what_the_page_learned_about_columns_is_no_change(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        dataset = await owner.dataset()
        measured = replace(dataset, columns=tuple(replace(c, width=90, right=True) for c in dataset.columns))
        async with owner.reader(measured) as reader:
            assert await rest(reader) == [(1,)]

    async def test_a_view_is_one_snapshot(self, owner: Owner) -> None:
        owner.does(
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            f"INSERT INTO t {numbered(30)}",
            "CREATE VIEW v AS SELECT a FROM t ORDER BY id",
        )
        async with owner.reader("v", chunk_rows=10) as reader:
            first = await one(reader)
            owner.does("UPDATE t SET a = 0", "DELETE FROM t WHERE id > 20")
            assert first + await rest(reader) == [(-n,) for n in range(1, 31)]
            assert await reader.changed()


class TestFailures:
    async def test_damaged_pages_are_named_as_damage(self, owner: Owner, path: Path) -> None:
        owner.does("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", f"INSERT INTO t {numbered(20000)}")
        owner.connection.close()
        with path.open("r+b") as file:
            file.seek(4096 * 20)
            file.write(b"\xee" * 4096 * 5)
        async with owner.reader() as reader:
            assert await reader.read()
            with pytest.raises(SourceCorrupt, match="is damaged: database disk image is malformed"):
                await rest(reader)

    async def test_a_file_that_is_gone_or_no_database(self, owner: Owner, path: Path) -> None:
        owner.does("CREATE TABLE t (a)")
        dataset = await owner.dataset()
        owner.connection.close()
        path.write_bytes(b"no database" * 1000)
        with pytest.raises(SourceCorrupt, match="not a SQLite database"):
            async with owner.reader(dataset):
                pass
        path.unlink()
        with pytest.raises(SourceUnreachable, match="no file"):
            async with owner.reader(dataset):
                pass
        assert not path.exists()


class TestInterruption:
    @pytest.mark.parametrize(
        "sql",
        [
            f"SELECT COUNT(*) FROM ({ENDLESS})",
            f"{ENDLESS} ORDER BY n",
            f"SELECT 1 FROM ({ENDLESS}) WHERE n < 0",
            f"SELECT COUNT(*) FROM ({ENDLESS}) WHERE length(randomblob(1000000)) = n",  # few, slow steps,
        ],
    )
    async def test_a_view_that_never_ends_stops_at_once_and_stays_stopped(
        self, owner: Owner, sql: str
    ) -> None:
        owner.does(f"CREATE VIEW v AS {sql}")
        async with owner.reader("v") as reader:
            reading = asyncio.ensure_future(reader.read())
            await asyncio.sleep(0.2)
            assert not reading.done()
            started = time.monotonic()
            reader.interrupt()
            with pytest.raises(SourceInterrupted):
                await reading
            assert time.monotonic() - started < 0.5
            with pytest.raises(SourceInterrupted):
                await reader.read()

    async def test_from_another_thread(self, owner: Owner) -> None:
        owner.does(f"CREATE VIEW v AS SELECT COUNT(*) FROM ({ENDLESS})")
        async with owner.reader("v") as reader:
            timer = threading.Timer(0.1, reader.interrupt)
            timer.start()
            with pytest.raises(SourceInterrupted):
                await asyncio.wait_for(reader.read(), 2)
            timer.join()

    async def test_one_that_comes_just_before_the_statement_is_not_lost(self, owner: Owner) -> None:
        owner.does(f"CREATE VIEW v AS SELECT COUNT(*) FROM ({ENDLESS})")
        async with owner.reader("v") as reader:
            # What SQLite forgets: nothing runs yet, and the check before the statement was passed.
            reader._check_brake = lambda: None  # type: ignore[method-assign]
            reader.interrupt()
            started = time.monotonic()
            with pytest.raises(SourceInterrupted):
                await asyncio.wait_for(reader.read(), 5)
            assert time.monotonic() - started < 1

    async def test_before_the_first_read_and_for_tables(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        async with owner.reader() as reader:
            reader.interrupt()
            with pytest.raises(SourceInterrupted):
                await reader.read()

    async def test_while_waiting_for_a_lock(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        owner.source = SqliteSource("s", owner.path, timeout=30)
        async with owner.reader() as reader:
            owner.does("BEGIN EXCLUSIVE")
            asyncio.get_running_loop().call_later(0.1, reader.interrupt)
            started = time.monotonic()
            with pytest.raises(SourceInterrupted):
                await reader.read()
            assert time.monotonic() - started < 1

    async def test_a_cancelled_task_leaves_no_query_behind(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        owner.does(f"CREATE VIEW v AS SELECT COUNT(*) FROM t, ({ENDLESS})")
        async with owner.reader("v") as reader:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.1)
            await asyncio.sleep(0.5)
            owner.does("DELETE FROM t")  # fails as long as somebody reads

    async def test_close_stops_a_running_read_and_may_be_called_again(self, owner: Owner) -> None:
        owner.does(f"CREATE VIEW v AS SELECT COUNT(*) FROM ({ENDLESS})")
        async with owner.reader("v") as reader:
            reading = asyncio.ensure_future(reader.read())
            await asyncio.sleep(0.1)
            await asyncio.wait_for(asyncio.gather(reader.close(), reader.close()), 1)
            with pytest.raises(SourceInterrupted):
                await reading
            await reader.close()
            reader.interrupt()
            for verb in (reader.read, reader.changed):
                with pytest.raises(SourceInterrupted):
                    await verb()

    async def test_close_lets_go_of_the_file(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", f"INSERT INTO t SELECT n FROM ({numbered(30)})")
        owner.does("CREATE VIEW v AS SELECT a FROM t")
        async with owner.reader("v", chunk_rows=10) as reader:
            await reader.read()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                owner.does("DELETE FROM t")
            await reader.close()
            owner.does("DELETE FROM t")

    async def test_no_thread_stays_after_closing_or_failing_to_open(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)")
        dataset = await owner.dataset()
        async with owner.reader(dataset):
            assert reader_threads() == 1
        owner.does("DROP TABLE t")
        with pytest.raises(SourceChanged):
            async with owner.reader(dataset):
                pass
        for _ in range(100):
            if reader_threads() == 0:
                break
            await asyncio.sleep(0.01)
        assert reader_threads() == 0


def reader_threads() -> int:
    return sum(thread.name.startswith("sqlite-reader") for thread in threading.enumerate())


class TestQueries:
    async def test_repeated_names_and_a_trailing_comment(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a, b)", f"INSERT INTO t {numbered(25)}")
        query = await owner.source.describe_query("q", "SELECT b, a, a, b FROM t ORDER BY b; -- newest first")
        async with owner.reader(query, chunk_rows=10) as reader:
            assert await rest(reader) == [(-n, n, n, -n) for n in range(25, 0, -1)]
        async with owner.reader(query, (2,)) as reader:
            assert (await rest(reader))[:2] == [(25,), (24,)]

    async def test_a_dataset_with_another_text_than_a_query_is_refused(self, owner: Owner) -> None:
        owner.does("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        columns = (await owner.dataset()).columns
        for sql in ("DELETE FROM t RETURNING a", "SELECT a FROM t; DELETE FROM t"):
            with pytest.raises(InvalidRequest, match="one SELECT"):
                async with owner.reader(Dataset("s.q", "s", "q", "query", columns, sql=sql)):
                    pass
        assert owner.rows("SELECT * FROM t") == [(1,)]


_value = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text("aAbBéÉ \0_1", max_size=3),
    st.binary(max_size=2),
)
_type = st.sampled_from(
    ["", "INTEGER", "TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM", "NUMERIC", "REAL", "BLOB"]
)
_direction = st.sampled_from(["", " DESC", " COLLATE BINARY", " COLLATE NOCASE DESC"])


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    types=st.tuples(_type, _type),
    directions=st.lists(_direction, min_size=1, max_size=2),
    implicit=st.booleans(),
    keys=st.lists(st.tuples(_value, _value), max_size=25),
    rows=st.integers(1, 7),
)
def test_every_row_exactly_once_whatever_the_key(
    tmp_path: Path,
    types: tuple[str, str],
    directions: list[str],
    implicit: bool,
    keys: list[tuple[object, object]],
    rows: int,
) -> None:
    path = tmp_path / "generated.db"
    path.unlink(missing_ok=True)
    terms = ", ".join(name + direction for name, direction in zip("ab", directions, strict=False))
    kind = "" if implicit else " WITHOUT ROWID"
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute(f"CREATE TABLE t (a {types[0]}, b {types[1]}, n, PRIMARY KEY ({terms})){kind}")
        for n, key in enumerate(keys):
            with suppress(sqlite3.IntegrityError):  # an INTEGER PRIMARY KEY takes nothing else
                owner.execute("INSERT OR IGNORE INTO t VALUES (?, ?, ?)", (*key, n))
        expected = owner.execute("SELECT * FROM t").fetchall()

    async def read() -> list[Row]:
        source = SqliteSource("s", path)
        dataset = (await source.discover())[0][0]
        assert dataset.key
        reader = await source.open_reader(dataset, (0, 1, 2), None, rows)
        try:
            return await rest(reader)
        finally:
            await reader.close()

    found = asyncio.run(read())
    assert [row[2] for row in found] == [row[2] for row in expected]
    assert found == expected
