# ruff: noqa: ASYNC240 - blocking file operations are fine in a test's own event loop
import os
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.errors import (
    InvalidRequest,
    SourceChanged,
    SourceCorrupt,
    SourceQueryFailed,
    SourceUnreachable,
)
from app.model import CELL_LIMIT, Cut, Dataset, Kind, Skipped, Undecodable
from app.source import open_source
from app.source.sqlite import SqliteSource

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"


def make(path: Path, *statements: str) -> SqliteSource:
    """A file with these statements carried out, as a source called `s`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return SqliteSource("s", path, timeout=0.3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.db"


async def offered(source: SqliteSource) -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in (await source.discover())[0]}


async def skipped(source: SqliteSource) -> dict[str, str]:
    return {thing.name: thing.reason for thing in (await source.discover())[1]}


class TestAddresses:
    @pytest.mark.parametrize("form", ["{path}", "sqlite:///{path}", "SQLite:///{path}"])
    async def test_a_path_and_a_url_lead_to_the_same_file(self, path: Path, form: str) -> None:
        make(path, "CREATE TABLE t (a)")
        source = open_source("s", form.format(path=path))
        assert [dataset.id for dataset in (await source.discover())[0]] == ["s.t"]

    async def test_three_slashes_are_relative(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(path, "CREATE TABLE t (a)")
        monkeypatch.chdir(path.parent)
        assert (await open_source("s", "sqlite:///data.db").discover())[0]

    @pytest.mark.parametrize("address", ["", "mysql://host/db", "sqlite://", "sqlite:///", "sqlite://host/x"])
    def test_anything_else_is_refused_with_what_is_understood(self, address: str) -> None:
        with pytest.raises(InvalidRequest, match="sqlite://"):
            open_source("s", address)

    @pytest.mark.parametrize(
        "name", ["what?.db", "a#b.db", "100%.db", "%41.db", "a b&mode=rw.db", "größe.db", "'\".db", "file:x"]
    )
    async def test_odd_file_names(self, tmp_path: Path, name: str) -> None:
        source = make(tmp_path / name, "CREATE TABLE t (a)")
        assert list(await offered(source)) == ["t"]

    async def test_a_file_name_that_is_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / os.fsdecode(b"caf\xe9.db")
        make(tmp_path / "plain.db", "CREATE TABLE t (a)")
        (tmp_path / "plain.db").rename(path)
        assert list(await offered(SqliteSource("s", path))) == ["t"]


class TestDiscovery:
    async def test_tables_and_views_by_name_with_columns(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE b (id INTEGER PRIMARY KEY, name VARCHAR(9), price REAL, raw BLOB, what, at DATE)",
            "CREATE VIEW A AS SELECT name, price * 2 AS twice FROM b",
        )
        view, table = (await source.discover())[0]
        assert (view.id, view.kind, view.key) == ("s.A", "view", ())
        assert [(c.name, c.kind) for c in view.columns] == [("name", Kind.TEXT), ("twice", Kind.ANY)]
        assert (table.id, table.source, table.name, table.kind) == ("s.b", "s", "b", "table")
        assert [(c.name, c.kind, c.declared) for c in table.columns] == [
            ("id", Kind.INTEGER, "INTEGER"),
            ("name", Kind.TEXT, "VARCHAR(9)"),
            ("price", Kind.REAL, "REAL"),
            ("raw", Kind.BINARY, "BLOB"),
            ("what", Kind.ANY, ""),
            ("at", Kind.ANY, "DATE"),
        ]

    @pytest.mark.parametrize(
        ("declared", "kind"),
        [
            ("bigint", Kind.INTEGER),
            ("FLOATING POINT", Kind.INTEGER),  # SQLite looks for INT first
            ("CHARINT", Kind.INTEGER),
            ("nclob", Kind.TEXT),
            ("DOUBLE PRECISION", Kind.REAL),
            ("float", Kind.REAL),
            ("DECIMAL(10,2)", Kind.ANY),
            ("BOOLEAN", Kind.ANY),
            ("DATETIME", Kind.ANY),
            ("STRING", Kind.ANY),
        ],
    )
    async def test_kinds_follow_the_rules_of_affinity(self, path: Path, declared: str, kind: Kind) -> None:
        source = make(path, f"CREATE TABLE t (a {declared})")
        assert (await offered(source))["t"].columns[0].kind == kind

    @pytest.mark.parametrize(
        ("table", "key"),
        [
            ("t (id INTEGER PRIMARY KEY, x)", ("id",)),
            ("t (x, id INTEGER, PRIMARY KEY (id DESC))", ("id",)),
            ("t (id INTEGER PRIMARY KEY DESC, x)", ("rowid",)),  # SQLite's historical exception
            ("t (id INT PRIMARY KEY, x)", ("rowid",)),
            ("t (a, b, PRIMARY KEY (a, b))", ("rowid",)),
            ("t (rowid, _rowid_)", ("rowid",)),
            ("t (RowId, OID, _rowid_)", ()),
            ("t (x, oid INTEGER PRIMARY KEY)", ("oid",)),
            ("t (a, b, c, PRIMARY KEY (c, a DESC)) WITHOUT ROWID", ("c", "a")),
        ],
    )
    async def test_keys(self, path: Path, table: str, key: tuple[str, ...]) -> None:
        source = make(path, f"CREATE TABLE {table}")
        assert (await offered(source))["t"].key == key

    async def test_a_key_that_only_the_owners_program_can_sort_is_left_out(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.create_collation("MINE", lambda a, b: (a > b) - (a < b))
            connection.execute("CREATE TABLE t (a TEXT COLLATE MINE PRIMARY KEY) WITHOUT ROWID")
        assert "only the program it belongs to" in (await skipped(SqliteSource("s", path)))["t"]

    async def test_a_view_over_a_missing_table_whose_name_is_not_utf8(self, path: Path) -> None:
        sql = b"CREATE VIEW v AS SELECT * FROM caf\xe9".hex()
        source = make(
            path,
            "CREATE VIEW v AS SELECT 1",
            "PRAGMA writable_schema = 1",
            f"UPDATE sqlite_schema SET sql = CAST(x'{sql}' AS TEXT)",
        )
        assert (await skipped(source))["v"] == "SQLite cannot prepare it: no such table: main.caf\ufffd."

    async def test_text_keys_of_utf16_files_are_not_used(self, path: Path) -> None:
        source = make(path, "PRAGMA encoding = 'UTF-16'", "CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID")
        assert (await offered(source))["t"].key == ()

    async def test_the_widest_table_has_no_room_for_its_row_number(self, path: Path) -> None:
        source = make(path, f"CREATE TABLE t ({', '.join(f'c{n}' for n in range(2000))})")
        table = (await offered(source))["t"]
        assert table.key == ()
        assert len(await source.preview(table)) == 0

    async def test_generated_columns_are_kept_and_hidden_ones_left_out(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE t (a, b AS (a + 1), c AS (a + 2) STORED)",
            "CREATE VIRTUAL TABLE f USING fts5(body)",
        )
        found = await offered(source)
        assert [column.name for column in found["t"].columns] == ["a", "b", "c"]
        assert [column.name for column in found["f"].columns] == ["body"]
        assert found["f"].kind == "table"
        assert found["f"].key == ()

    async def test_no_shadow_tables_and_none_of_sqlites_own(self, path: Path) -> None:
        source = make(
            path,
            "CREATE VIRTUAL TABLE f USING fts5(body)",
            "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)",
            "ANALYZE",
            "CREATE TABLE sqliteXyz (a)",
        )
        assert list(await offered(source)) == ["f", "sqliteXyz", "t"]
        assert await skipped(source) == {}

    async def test_what_cannot_be_prepared_is_left_out_with_the_reason(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE good (a)",
            "CREATE VIEW no_table AS SELECT * FROM gone",
            "CREATE VIEW no_function AS SELECT regexp_count(a) FROM good",
            "PRAGMA writable_schema = 1",
            "INSERT INTO sqlite_schema VALUES"
            " ('table', 'no_module', 'no_module', 0, 'CREATE VIRTUAL TABLE no_module USING nowhere(x)')",
        )
        assert list(await offered(source)) == ["good"]
        reasons = await skipped(source)
        assert reasons["no_table"] == "SQLite cannot prepare it: no such table: main.gone."
        assert "no such function: regexp_count" in reasons["no_function"]
        assert "no such module: nowhere" in reasons["no_module"]

    async def test_names_that_are_not_utf8_are_left_out_with_the_reason(self, path: Path) -> None:
        source = make(path, "CREATE TABLE t (a)", "CREATE TABLE u (a)", "PRAGMA writable_schema = 1")
        for table, name, sql in (
            ("t", b"t", b"CREATE TABLE t (caf\xe9)"),
            ("u", b"u\xff", b"CREATE TABLE u\xff (a)"),
        ):
            make(
                path,
                "PRAGMA writable_schema = 1",
                f"UPDATE sqlite_schema SET name = CAST(x'{name.hex()}' AS TEXT),"
                f" tbl_name = CAST(x'{name.hex()}' AS TEXT),"
                f" sql = CAST(x'{sql.hex()}' AS TEXT) WHERE name = '{table}'",
            )
        found, left_out = await source.discover()
        assert found == []
        assert left_out == [
            Skipped("t", "The name of one of its columns is not UTF-8."),
            Skipped("u\ufffd", "Its name is not UTF-8."),
        ]

    async def test_an_empty_file_is_a_database_without_tables(self, path: Path) -> None:
        path.touch()
        assert await SqliteSource("s", path).discover() == ([], [])

    async def test_repeated_columns_of_a_view_have_the_names_they_were_written_with(self, path: Path) -> None:
        source = make(
            path,
            'CREATE TABLE t (a, "a:1")',
            f"CREATE VIEW v AS SELECT {', '.join(['a'] * 9)} FROM t",
        )
        found = await offered(source)
        assert [column.name for column in found["v"].columns] == ["a"] * 9
        assert await source.preview(found["v"]) == []  # SQLite's own names differ in each connection

    async def test_thousands_of_tables_and_endless_views_are_found_without_running_anything(
        self, path: Path
    ) -> None:
        source = make(
            path,
            "BEGIN",
            *(f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY, a, b, c)" for n in range(2000)),
            *(f"CREATE VIEW v{n} AS SELECT * FROM ({ENDLESS}) ORDER BY n" for n in range(20)),
            *(f"CREATE VIEW broken{n} AS SELECT * FROM gone" for n in range(50)),
            "COMMIT",
        )
        started = time.monotonic()
        found, left_out = await source.discover()
        assert (len(found), len(left_out)) == (2020, 50)
        assert time.monotonic() - started < 5


ODD_NAMES = ["", " ", 'a"b', "a'b", "[a]", "`a`", "a.b", "a/b", "select", "größe", "a\nb", "?1", "t", "c0"]


class TestPreview:
    async def test_first_rows_in_the_order_of_the_key(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            "CREATE INDEX covers ON t (a, id)",
            *(f"INSERT INTO t VALUES ({n}, {-n})" for n in range(20)),
        )
        table = (await offered(source))["t"]
        assert await source.preview(table) == [(n, -n) for n in range(8)]
        assert await source.preview(table, 2) == [(0, 0), (1, -1)]

    async def test_the_order_is_that_of_the_key_where_sqlite_prefers_another_index(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE t (a, b, id PRIMARY KEY) WITHOUT ROWID",
            "CREATE INDEX covers ON t (a, b)",
            "INSERT INTO t VALUES (9, 0, 1), (8, 0, 2), (7, 0, 3)",
        )
        assert await source.preview((await offered(source))["t"]) == [(9, 0, 1), (8, 0, 2), (7, 0, 3)]

    @pytest.mark.parametrize("name", ODD_NAMES)
    async def test_odd_names_of_tables_and_columns(self, path: Path, name: str) -> None:
        spelled = '"' + name.replace('"', '""') + '"'
        source = make(
            path,
            f"CREATE TABLE {spelled} ({spelled}, z)",
            f"INSERT INTO {spelled} VALUES (1, 2)",
            f"CREATE VIEW v AS SELECT z, {spelled} FROM {spelled}",
        )
        found = await offered(source)
        assert found[name].id == f"s.{name}"
        assert found[name].columns[0].name == name
        assert await source.preview(found[name]) == [(1, 2)]
        assert await source.preview(found["v"]) == [(2, 1)]
        assert await source.count(found[name]) == 1

    async def test_large_and_undecodable_cells_are_marked(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE t (a, b, c)",
            f"INSERT INTO t VALUES (CAST(x'ff41' AS TEXT), '{'x' * (CELL_LIMIT + 1)}', zeroblob(99999))",
        )
        table = (await offered(source))["t"]
        assert await source.preview(table) == [
            (Undecodable(b"\xffA"), Cut("x" * CELL_LIMIT), Cut(bytes(CELL_LIMIT)))
        ]

    async def test_a_slow_view_gives_what_came_in_two_seconds(self, path: Path) -> None:
        source = make(
            path,
            f"CREATE VIEW never AS SELECT COUNT(*) FROM ({ENDLESS})",
            f"CREATE VIEW three AS SELECT * FROM ({ENDLESS}) WHERE n < 4",
        )
        found = await offered(source)
        started = time.monotonic()
        assert await source.preview(found["never"]) == []
        assert (await source.preview(found["three"]))[:2] == [(1,), (2,)]
        assert 3.5 < time.monotonic() - started < 6

    async def test_a_view_that_fails_says_what_sqlite_says(self, path: Path) -> None:
        source = make(path, "CREATE VIEW v AS SELECT json('{')")
        view = (await offered(source))["v"]
        with pytest.raises(SourceQueryFailed, match="malformed JSON"):
            await source.preview(view)


class TestCount:
    async def test_tables_views_and_queries(self, path: Path) -> None:
        source = make(
            path,
            "CREATE TABLE t (a)",
            "INSERT INTO t VALUES (1), (NULL), (3)",
            "CREATE VIEW v AS SELECT a FROM t WHERE a > 1",
        )
        found = await offered(source)
        assert await source.count(found["t"]) == 3
        assert await source.count(found["v"]) == 1
        query = await source.describe_query("q", "SELECT a, a FROM t ORDER BY a LIMIT 2; -- two")
        assert await source.count(query) == 2

    async def test_none_when_it_takes_too_long(self, path: Path) -> None:
        source = make(path, f"CREATE VIEW v AS {ENDLESS}")
        view = (await offered(source))["v"]
        started = time.monotonic()
        assert await source.count(view, 0.3) is None
        assert 0.25 < time.monotonic() - started < 1.5

    async def test_none_while_the_file_is_locked(self, path: Path) -> None:
        source = make(path, "CREATE TABLE t (a)")
        table = (await offered(source))["t"]
        with locked(path):
            assert await source.count(table, 0.2) is None

    async def test_a_missing_file_is_an_error_and_not_an_unknown_count(self, path: Path) -> None:
        source = make(path, "CREATE TABLE t (a)")
        table = (await offered(source))["t"]
        path.unlink()
        with pytest.raises(SourceUnreachable, match="no file"):
            await source.count(table)


class TestSavedQueries:
    async def test_repeated_and_empty_names_stay_by_position(self, path: Path) -> None:
        source = make(path, "CREATE TABLE t (a INTEGER, b TEXT)", "INSERT INTO t VALUES (1, 'x')")
        query = await source.describe_query("q", 'SELECT a, a, b AS "", a + 1 AS A, a, a, a, a FROM t')
        assert (query.id, query.kind, query.name) == ("s.q", "query", "q")
        assert [column.name for column in query.columns] == ["a", "a", "", "A", "a", "a", "a", "a"]
        assert [column.kind for column in query.columns][:3] == [Kind.INTEGER, Kind.INTEGER, Kind.TEXT]
        assert await source.preview(query) == [(1, 1, "x", 2, 1, 1, 1, 1)]

    @pytest.mark.parametrize(
        "sql", ["VALUES (1, 2), (3, 4)", "WITH x AS (SELECT 1) SELECT * FROM x;", ENDLESS]
    )
    async def test_all_that_reads_is_taken_and_not_run(self, path: Path, sql: str) -> None:
        source = make(path)
        path.touch()
        assert (await source.describe_query("q", sql)).sql == sql

    @pytest.mark.parametrize(
        "sql",
        [
            "",
            "   -- nothing",
            "DELETE FROM t",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "SELECT 1; DROP TABLE t",
            "SELECT 1; SELECT 2",
            "PRAGMA journal_mode = DELETE",
            "ATTACH ':memory:' AS x",
            "EXPLAIN SELECT 1",
            "SELECT ?",
            "SELECT :name",
            "SELECT 1\0",
            "SELECT '\udcff'",
            "SELEC 1",
        ],
    )
    async def test_anything_but_one_query_is_refused(self, path: Path, sql: str) -> None:
        source = make(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        with pytest.raises(InvalidRequest, match="one SELECT"):
            await source.describe_query("q", sql)
        assert await source.count((await offered(source))["t"]) == 1

    async def test_a_missing_table_is_named(self, path: Path) -> None:
        source = make(path, "CREATE TABLE t (a)")
        with pytest.raises(SourceQueryFailed, match=r"no such table: .*gone"):
            await source.describe_query("q", "SELECT * FROM gone")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder of root's in which an ordinary user, as whom the block runs, may look but not write."""
    folder = Path(tempfile.mkdtemp(prefix="rowfall-test-"))
    root = os.geteuid() == 0
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def give_up_privileges(folder: Path) -> None:
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


class TestErrorsNameTheFile:
    async def sentence(self, path: Path, kind: type[Exception]) -> str:
        with pytest.raises(kind) as caught:
            await SqliteSource("s", path, timeout=0.2).discover()
        assert str(path) in str(caught.value)
        return str(caught.value)

    async def test_missing_file(self, path: Path) -> None:
        assert "There is no file" in await self.sentence(path, SourceUnreachable)
        assert not path.exists()

    async def test_file_below_a_file(self, path: Path) -> None:
        path.touch()
        assert "There is no file" in await self.sentence(path / "x.db", SourceUnreachable)

    async def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in await self.sentence(tmp_path, SourceUnreachable)

    async def test_pipe_is_refused_and_not_waited_for(self, path: Path) -> None:
        os.mkfifo(path)
        assert "something else than a file" in await self.sentence(path, SourceUnreachable)

    async def test_text_file(self, path: Path) -> None:
        path.write_text("name,price\n" * 1000)
        assert "not a SQLite database" in await self.sentence(path, SourceCorrupt)

    async def test_zip_file(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.db", "x" * 5000)
        assert "not a SQLite database, or it is encrypted" in await self.sentence(path, SourceCorrupt)

    async def test_damaged_schema(self, path: Path) -> None:
        make(path, "CREATE TABLE t (a)")
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xee" * 3000)
        assert "is damaged" in await self.sentence(path, SourceCorrupt)

    async def test_locked_file_within_the_timeout(self, path: Path) -> None:
        make(path, "CREATE TABLE t (a)")
        started = time.monotonic()
        with locked(path):
            assert "locked by another program" in await self.sentence(path, SourceUnreachable)
        assert time.monotonic() - started < 2

    async def test_file_that_may_not_be_read(self) -> None:
        with without_privileges() as folder:
            make(folder / "x.db", "CREATE TABLE t (a)")
            (folder / "x.db").chmod(0)
            give_up_privileges(folder)
            assert "may not read" in await self.sentence(folder / "x.db", SourceUnreachable)

    async def test_folder_that_may_not_be_entered(self) -> None:
        with without_privileges() as folder:
            inner = folder / "inner"
            inner.mkdir()
            make(inner / "x.db", "CREATE TABLE t (a)")
            inner.chmod(0)
            give_up_privileges(folder)
            assert "may not look into" in await self.sentence(inner / "x.db", SourceUnreachable)
            os.seteuid(os.getuid())
            folder.chmod(0o700)
            inner.chmod(0o700)

    async def test_change_that_its_owner_left_unfinished(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as owner:
            owner.execute("CREATE TABLE t (a)")
            owner.execute("PRAGMA cache_size = 5")
            owner.executemany("INSERT INTO t VALUES (?)", [("x" * 3000,)] * 100)
            owner.execute("BEGIN")
            owner.execute("UPDATE t SET a = 'y' || a")
            crashed = tmp_path / "crashed.db"
            shutil.copy(tmp_path / "x.db", crashed)
            shutil.copy(tmp_path / "x.db-journal", f"{crashed}-journal")
        assert "middle of a change" in await self.sentence(crashed, SourceUnreachable)


class TestWalInAReadOnlyFolder:
    async def test_at_rest_it_is_read_without_its_index(self) -> None:
        with without_privileges() as folder:
            source = make(folder / "x.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)")
            assert [file.name for file in folder.iterdir()] == ["x.db"]
            give_up_privileges(folder)
            assert list(await offered(source)) == ["t"]

    async def test_with_a_live_owner_it_is_read_with_its_changes(self) -> None:
        with without_privileges() as folder:
            source = make(folder / "x.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)")
            with closing(sqlite3.connect(folder / "x.db", isolation_level=None)) as owner:
                owner.execute("CREATE TABLE u (a)")
                give_up_privileges(folder)
                assert list(await offered(source)) == ["t", "u"]
                os.seteuid(os.getuid())
                folder.chmod(0o700)

    async def test_with_changes_that_cannot_be_seen_it_is_refused_and_not_read_without_them(self) -> None:
        with without_privileges() as folder:
            make(folder / "x.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)")
            with closing(sqlite3.connect(folder / "x.db", isolation_level=None)) as owner:
                owner.execute("CREATE TABLE u (a)")
                shutil.copy(folder / "x.db", folder / "y.db")
                shutil.copy(folder / "x.db-wal", folder / "y.db-wal")
            give_up_privileges(folder)
            with pytest.raises(SourceUnreachable, match="-wal file"):
                await SqliteSource("s", folder / "y.db").discover()

    async def test_an_owner_who_comes_back_ends_the_read(self) -> None:
        with without_privileges() as folder:
            source = make(
                folder / "x.db",
                "PRAGMA journal_mode = WAL",
                "CREATE TABLE t (a)",
                "INSERT INTO t VALUES (1), (2)",
            )
            give_up_privileges(folder)
            table = (await offered(source))["t"]
            reader = await source.open_reader(table, (0,), None, 1)
            assert await reader.read()
            assert not await reader.changed()
            os.seteuid(os.getuid())
            folder.chmod(0o700)
            make(folder / "x.db", "DELETE FROM t")
            assert await reader.changed()
            with pytest.raises(SourceChanged, match="without locks"):
                await reader.read()
            (folder / "x.db").rename(folder / "y.db")
            assert await reader.changed()
            with pytest.raises(SourceUnreachable, match="moved or deleted"):
                await reader.read()
            await reader.close()


async def test_nothing_is_ever_written(path: Path) -> None:
    source = make(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)", "CREATE VIEW v AS SELECT * FROM t")
    before = path.read_bytes()
    for dataset in (await offered(source)).values():
        await source.preview(dataset)
        await source.count(dataset)
    query = await source.describe_query("q", "SELECT * FROM t")
    await source.count(query)
    await (await source.open_reader(query, (0,), None, 10)).close()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
