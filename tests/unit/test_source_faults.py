# ruff: noqa: ASYNC240 - blocking file operations are fine in a test's own event loop
"""What goes wrong with a SQLite file while a report reads it, and what a person then reads."""

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from app.codec import decode
from app.errors import (
    SourceChanged,
    SourceCorrupt,
    SourceError,
    SourceInterrupted,
    SourceQueryFailed,
    SourceUnreachable,
)
from app.model import Row
from app.source import sqlite_batches
from app.source.sqlite import SqliteSource
from app.source.sqlite_reader import SqliteReader

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"
PAGE = 4096  # bytes
TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"
VIEW = "CREATE VIEW v AS SELECT id, a FROM t ORDER BY id"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as owner:
        for statement in statements:
            owner.execute(statement)


def filled(count: int, cell: str = "-n") -> str:
    numbers = f"SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {count}"
    return f"INSERT INTO t WITH RECURSIVE r(n) AS ({numbers}) SELECT n, {cell} FROM r"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.db"


@pytest.fixture
def source(path: Path) -> SqliteSource:
    return SqliteSource("s", path, timeout=0.3)


@asynccontextmanager
async def reading(
    source: SqliteSource, name: str = "t", cursor: bytes | None = None, chunk_rows: int = 10
) -> AsyncIterator[SqliteReader]:
    dataset = next(dataset for dataset in (await source.discover())[0] if dataset.name == name)
    columns = tuple(range(len(dataset.columns)))
    reader = await source.open_reader(dataset, columns, cursor, chunk_rows)
    try:
        yield reader
    finally:
        await reader.close()


async def until_error(reader: SqliteReader, rows: list[Row]) -> SourceError:
    """The error that ends the read; what came before it is added to `rows`."""
    try:
        while batch := await reader.read():
            rows += decode(batch.payload)
    except SourceError as error:
        return error
    pytest.fail("The read came to its end.")


async def rest(reader: SqliteReader) -> list[Row]:
    rows: list[Row] = []
    while batch := await reader.read():
        rows += decode(batch.payload)
    return rows


class TestTheFilesPlace:
    @pytest.mark.parametrize("name", ["t", "v"])
    @pytest.mark.parametrize("moved", ["file", "folder"])
    async def test_a_file_that_is_moved_away_is_missed_and_read_on_when_it_is_back(
        self, tmp_path: Path, name: str, moved: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        path = tmp_path / "folder" / "data.db"
        change(path, TABLE, filled(30), VIEW)
        place = path if moved == "file" else path.parent
        async with reading(SqliteSource("s", path), name) as reader:
            assert await reader.read()
            place.rename(tmp_path / "away")
            for _ in range(2):
                with pytest.raises(SourceUnreachable, match="not where it was: it was moved or deleted"):
                    await reader.read()
            (tmp_path / "away").rename(place)
            assert await rest(reader) == [(n, -n) for n in range(11, 31)]

    async def test_a_deleted_file_does_not_come_to_its_end(self, path: Path, source: SqliteSource) -> None:
        change(path, TABLE, filled(10))
        async with reading(source) as reader:
            assert await reader.read()
            path.unlink()
            with pytest.raises(SourceUnreachable, match="moved or deleted"):
                await reader.read()
        assert not path.exists()

    @pytest.mark.parametrize("name", ["t", "v"])
    async def test_a_file_that_is_replaced_is_not_read_on_as_if_nothing_was(
        self, path: Path, source: SqliteSource, name: str
    ) -> None:
        change(path, TABLE, filled(30), VIEW)
        async with reading(source, name) as reader:
            assert await reader.read()
            shutil.copy(path, path.with_name("new.db"))
            path.with_name("new.db").rename(path)
            for _ in range(2):
                with pytest.raises(SourceChanged, match="replaced by another file"):
                    await reader.read()

    async def test_a_link_that_leads_to_another_file_replaces_it(self, path: Path) -> None:
        change(path, TABLE, filled(30))
        shutil.copy(path, path.with_name("new.db"))
        link = path.with_name("current.db")
        link.symlink_to(path)
        async with reading(SqliteSource("s", link)) as reader:
            assert await reader.read()
            link.unlink()
            link.symlink_to(path.with_name("new.db"))
            with pytest.raises(SourceChanged, match="replaced"):
                await reader.read()

    async def test_readers_of_one_file_have_one_identity_and_of_its_successor_another(
        self, path: Path, source: SqliteSource
    ) -> None:
        change(path, TABLE, filled(30))
        async with reading(source) as first, reading(source) as second:
            change(path, "DELETE FROM t WHERE id > 20")
            assert first.identity == second.identity
            shutil.copy(path, path.with_name("new.db"))
            path.with_name("new.db").rename(path)
            async with reading(source) as third:
                assert first.identity == second.identity != third.identity


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


def overwrite(path: Path, start: int, filler: bytes) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(start)
        file.write(filler * (size - start))


def half(path: Path) -> int:
    """To a whole page: SQLite has no checksums, so garbage in a row's own bytes passes for the row."""
    return path.stat().st_size // 2 // PAGE * PAGE


OVERWRITTEN = "is damaged|was overwritten while it was read"
DAMAGES = {
    "emptied": (lambda path: truncate(path, 0), "was truncated while it was read: 0 of"),
    "cut in half": (lambda path: truncate(path, half(path)), "was truncated"),
    "cut at an odd length": (lambda path: truncate(path, half(path) + 777), "was truncated"),
    "cut in the header": (lambda path: truncate(path, 99), "was truncated"),
    "garbage in the second half": (lambda path: overwrite(path, half(path), b"\xee"), OVERWRITTEN),
    "zeros in the second half": (lambda path: overwrite(path, half(path), b"\0"), OVERWRITTEN),
    "garbage everywhere": (
        lambda path: overwrite(path, 0, b"\xee"),
        OVERWRITTEN,
    ),
}
TABLES = {
    "t": TABLE,
    "v": TABLE,
    "row numbers": "CREATE TABLE t (id, a)",
    "without rowid": "CREATE TABLE t (id PRIMARY KEY, a) WITHOUT ROWID",
}


class TestDamage:
    @pytest.mark.parametrize("mode", ["DELETE", "WAL"])
    @pytest.mark.parametrize("table", TABLES)
    @pytest.mark.parametrize("damage", DAMAGES)
    async def test_it_never_looks_like_a_shorter_report(
        self, path: Path, source: SqliteSource, mode: str, table: str, damage: str
    ) -> None:
        change(
            path,
            f"PRAGMA journal_mode = {mode}",
            TABLES[table],
            filled(4000, "printf('%.*c', 200, 'x')"),
            VIEW,
        )
        spoil, sentence = DAMAGES[damage]
        rows: list[Row] = []
        async with reading(source, "v" if table == "v" else "t", chunk_rows=100) as reader:
            for _ in range(2):
                batch = await reader.read()
                assert batch is not None
                rows += decode(batch.payload)
            spoil(path)
            error = await until_error(reader, rows)
            assert isinstance(error, SourceCorrupt | SourceChanged)
            assert error.sentence.startswith(str(path))
            with pytest.raises(type(error), match=sentence):
                await reader.read()
        assert 200 <= len(rows) < 4000
        assert rows == [(n, "x" * 200) for n in range(1, len(rows) + 1)]

    @pytest.mark.parametrize("table", ["t", "row numbers"])
    async def test_a_smaller_or_older_database_copied_over_it_is_no_shorter_report(
        self, path: Path, source: SqliteSource, table: str
    ) -> None:
        other = path.with_name("other.db")
        change(path, TABLES[table], filled(4000))
        change(other, TABLES[table], filled(50))
        async with reading(source) as reader:
            assert await reader.read()
            shutil.copyfile(other, path)
            with pytest.raises(SourceChanged, match="Another database was copied over the file"):
                await rest(reader)
        change(path, "CREATE TABLE u (a)", filled(4000, "n + 50").replace("SELECT n,", "SELECT n + 50,"))
        async with reading(source) as reader:
            assert await reader.read()
            change(other, filled(9000, "n + 50").replace("SELECT n,", "SELECT n + 50,"))
            shutil.copyfile(other, path)
            with pytest.raises(SourceChanged, match="Another database was copied over the file"):
                await rest(reader)

    async def test_a_table_that_is_dropped_and_vacuumed_is_no_truncation(
        self, path: Path, source: SqliteSource
    ) -> None:
        change(path, TABLE, filled(4000))
        async with reading(source) as reader:
            assert await reader.read()
            change(path, "CREATE TABLE u (a)", "DROP TABLE t", "VACUUM")
            with pytest.raises(SourceChanged, match="no table “t” any more"):
                await reader.read()

    @pytest.mark.parametrize("mode", ["NONE", "FULL"])
    async def test_rows_that_are_deleted_make_no_other_database_of_it(
        self, path: Path, source: SqliteSource, mode: str
    ) -> None:
        change(path, f"PRAGMA auto_vacuum = {mode}", "CREATE TABLE t (id, a)", filled(4000))
        async with reading(source) as reader:
            assert await reader.read()
            size = path.stat().st_size
            change(path, "DELETE FROM t WHERE id > 20")
            assert (path.stat().st_size < size) == (mode == "FULL")
            assert await rest(reader) == [(n, -n) for n in range(11, 21)]


class TestAFailureInTheMiddle:
    @pytest.mark.parametrize("failing", [1, 2, 20, 21, 22, 25_000])
    async def test_of_a_view_keeps_the_rows_before_it(
        self, path: Path, source: SqliteSource, failing: int
    ) -> None:
        change(
            path,
            TABLE,
            filled(failing + 5),
            f"CREATE VIEW v AS SELECT id, CASE WHEN id = {failing} THEN json('{{') END FROM t ORDER BY id",
        )
        rows: list[Row] = []
        async with reading(source, "v", chunk_rows=10 if failing < 1000 else 1000) as reader:
            for _ in range(2):  # it never looks finished
                error = await until_error(reader, rows)
                assert isinstance(error, SourceQueryFailed)
                assert "malformed JSON" in error.sentence
                assert isinstance(error.__cause__, sqlite3.Error)
            change(path, "DELETE FROM t")  # fails as long as somebody reads
        # Python's driver steps ahead: the error takes the row before it along.
        assert len(rows) >= failing - 2
        assert rows == [(n, None) for n in range(1, len(rows) + 1)]

    @pytest.mark.parametrize("failing", [1, 2, 20, 21, 22, 25_000])
    @pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id"])
    async def test_of_a_generated_column_keeps_them_all_and_goes_on_when_it_is_mended(
        self, path: Path, source: SqliteSource, failing: int, key: str
    ) -> None:
        last = failing + 5
        change(
            path,
            f"CREATE TABLE t ({key}, a)",
            filled(last, f"CASE WHEN n = {failing} THEN '{{' ELSE '{{}}' END"),
            "ALTER TABLE t ADD COLUMN b AS (json_extract(a, '$.x'))",
        )
        rows, cursor = [], None
        async with reading(source, chunk_rows=10 if failing < 1000 else 1000) as reader:
            with pytest.raises(SourceQueryFailed, match="malformed JSON"):  # noqa: PT012
                while batch := await reader.read():
                    rows += decode(batch.payload)
                    cursor = batch.cursor
            with pytest.raises(SourceQueryFailed, match="malformed JSON"):
                await reader.read()
        assert [row[0] for row in rows] == list(range(1, failing))
        change(
            path,
            f"DELETE FROM t WHERE id = {failing}",
            f"INSERT INTO t (_rowid_, id, a) VALUES ({failing}, {failing}, '{{}}')",
        )
        async with reading(source, cursor=cursor) as reader:
            assert [row[0] for row in await rest(reader)] == list(range(failing, last + 1))

    @pytest.mark.parametrize("name", ["t", "v"])
    async def test_a_slow_view_gives_the_rows_that_it_has(
        self, path: Path, source: SqliteSource, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        change(path, TABLE, filled(7), VIEW)
        monkeypatch.setattr(sqlite_batches, "BATCH_SECONDS", -1.0)  # any two rows are slow
        sizes, rows = [], []
        async with reading(source, name) as reader:
            while batch := await reader.read():
                sizes.append(batch.rows)
                rows += decode(batch.payload)
        assert sizes == [2, 2, 2, 1]
        assert rows == [(n, -n) for n in range(1, 8)]


class TestDefinitions:
    @pytest.mark.parametrize(
        "statements",
        [
            ["CREATE INDEX i ON u (b)"],
            ["CREATE INDEX i ON t (a)"],
            ["CREATE TABLE w (a UNIQUE, b UNIQUE)"],
            ["CREATE VIEW w AS SELECT 1"],
            ["DROP INDEX old"],
            ["DROP TABLE u"],
            ["BEGIN", "CREATE INDEX i ON u (b)", "CREATE INDEX j ON u (a, b)", "COMMIT"],
        ],
    )
    async def test_of_other_things_do_not_stop_a_read_by_row_number(
        self, path: Path, source: SqliteSource, statements: list[str]
    ) -> None:
        change(path, "CREATE TABLE t (id, a)", filled(30), "DELETE FROM t WHERE id < 6")
        change(path, "CREATE TABLE u (a, b)", "CREATE INDEX old ON u (a)")
        async with reading(source) as reader:
            assert await reader.read()
            change(path, *statements)
            batch = await reader.read()
            assert batch is not None
            assert decode(batch.payload) + await rest(reader) == [(n, -n) for n in range(16, 31)]
        async with reading(source, cursor=batch.cursor) as reader:
            assert await rest(reader) == [(n, -n) for n in range(26, 31)]

    @pytest.mark.parametrize(
        "statements",
        [
            ["VACUUM"],
            ["CREATE INDEX i ON u (b)", "VACUUM"],
            ["VACUUM", "CREATE INDEX i ON u (b)", "CREATE INDEX j ON u (a, b)"],
            ["DROP INDEX old", "VACUUM"],
            ["DROP TABLE u", "VACUUM"],
            ["DROP TABLE t", "CREATE TABLE t (id, a)"],
        ],
    )
    async def test_row_numbers_that_may_be_new_stop_it(
        self, path: Path, source: SqliteSource, statements: list[str]
    ) -> None:
        change(path, "CREATE TABLE t (id, a)", filled(30), "DELETE FROM t WHERE id < 6")
        change(path, "CREATE TABLE u (a, b)", "CREATE INDEX old ON u (a)")
        async with reading(source) as reader:
            assert await reader.read()
            change(path, *statements)
            with pytest.raises(SourceChanged, match="numbered anew"):
                await reader.read()

    async def test_a_restored_backup_stops_it(self, path: Path, source: SqliteSource) -> None:
        """SQLite's own restore raises the schema's version by one, as a new index does."""
        change(path, "CREATE TABLE t (id, a)", filled(30), "CREATE TABLE u (a, b)")
        other = path.with_name("other.db")
        change(other, "CREATE TABLE u (a, b)", "CREATE TABLE t (id, a)", "CREATE INDEX i ON t (a)")
        change(other, filled(4000))
        with closing(sqlite3.connect(other)) as backup, closing(sqlite3.connect(path)) as owner:
            async with reading(source) as reader:
                assert await reader.read()
                backup.backup(owner)
                with pytest.raises(SourceChanged):
                    await reader.read()

    @pytest.mark.parametrize(
        "table", ["(id TEXT PRIMARY KEY, a) WITHOUT ROWID", "(id, a)", "(id INT PRIMARY KEY, a)"]
    )
    async def test_another_key_stops_it(self, path: Path, source: SqliteSource, table: str) -> None:
        change(path, TABLE, filled(30))
        async with reading(source) as reader:
            assert await reader.read()
            change(path, "DROP TABLE t", f"CREATE TABLE t {table}", filled(30))
            with pytest.raises(SourceChanged, match="key"):
                await reader.read()

    @pytest.mark.parametrize(
        "statements",
        [
            ["DROP VIEW v"],
            ["DROP VIEW v", "CREATE VIEW v AS SELECT a, id FROM t"],
            ["DROP VIEW v", "CREATE VIEW v AS SELECT id FROM t"],
            ["DROP VIEW v", "CREATE TABLE v (id INTEGER PRIMARY KEY, a)"],
        ],
    )
    async def test_a_view_that_is_redefined_before_its_first_row(
        self, path: Path, source: SqliteSource, statements: list[str]
    ) -> None:
        change(path, TABLE, filled(30), VIEW)
        async with reading(source, "v") as reader:
            change(path, *statements)
            with pytest.raises(SourceChanged, match="“v”"):
                await reader.read()
            change(path, "DELETE FROM t")  # fails as long as somebody reads

    async def test_a_view_that_is_redefined_later_is_read_as_it_was(
        self, path: Path, source: SqliteSource
    ) -> None:
        change(path, "PRAGMA journal_mode = WAL", TABLE, filled(30), VIEW)
        async with reading(source, "v") as reader:
            assert await reader.read()
            change(path, "DROP VIEW v", "CREATE VIEW v AS SELECT 1 AS id, 2 AS a", "DROP TABLE t")
            assert await rest(reader) == [(n, -n) for n in range(11, 31)]


class TestLocks:
    @pytest.mark.parametrize("table", ["t", "row numbers", "without rowid"])
    async def test_one_that_outlasts_the_patience_costs_no_row(
        self, path: Path, source: SqliteSource, table: str
    ) -> None:
        change(path, TABLES[table], filled(30))
        async with reading(source) as reader:
            first = await reader.read()
            assert first is not None
            with closing(sqlite3.connect(path, isolation_level=None)) as owner:
                owner.execute("BEGIN EXCLUSIVE")
                for _ in range(2):
                    with pytest.raises(SourceUnreachable, match="locked by another program"):
                        await reader.read()
            second = await reader.read()
            assert second is not None
            assert decode(second.payload) == [(n, -n) for n in range(11, 21)]
            async with reading(source, cursor=first.cursor) as other:
                assert await rest(other) == [(n, -n) for n in range(11, 31)]
            assert await rest(reader) == [(n, -n) for n in range(21, 31)]


class TestStopping:
    """Each within a second, whatever SQLite is at."""

    @pytest.mark.parametrize(
        "sql",
        [
            f"{ENDLESS} WHERE n < 0",  # no first row
            f"SELECT n, hex(randomblob(40)) FROM ({ENDLESS}) ORDER BY 2",  # sorting
            f"SELECT n % 1000, COUNT(*) FROM ({ENDLESS}) GROUP BY 1",
            f"SELECT DISTINCT n % 1000 FROM ({ENDLESS})",  # after 1,000 rows
            f"SELECT x.n FROM ({ENDLESS} LIMIT 10000) AS x, ({ENDLESS} LIMIT 10000) AS y WHERE x.n + y.n < 0",
        ],
    )
    async def test_a_read(self, path: Path, source: SqliteSource, sql: str) -> None:
        change(path, f"CREATE VIEW v AS {sql}")
        async with reading(source, "v", chunk_rows=2000) as reader:
            running = asyncio.ensure_future(reader.read())
            await asyncio.sleep(0.3)
            assert not running.done()
            started = time.monotonic()
            reader.interrupt()
            with pytest.raises(SourceInterrupted):
                await running
            assert time.monotonic() - started < 1

    async def test_an_opening_that_waits_for_a_lock(self, path: Path) -> None:
        change(path, TABLE)
        source = SqliteSource("s", path, timeout=60)
        [dataset] = (await source.discover())[0]
        with closing(sqlite3.connect(path, isolation_level=None)) as owner:
            owner.execute("BEGIN EXCLUSIVE")
            opening = asyncio.ensure_future(source.open_reader(dataset, (0,), None, 10))
            await asyncio.sleep(0.1)
            started = time.monotonic()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert time.monotonic() - started < 1

    async def test_a_count(self, path: Path, source: SqliteSource) -> None:
        change(path, f"CREATE VIEW v AS {ENDLESS}")
        [dataset] = (await source.discover())[0]
        counting = asyncio.ensure_future(source.count(dataset, seconds=60))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        counting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await counting
        assert time.monotonic() - started < 1
