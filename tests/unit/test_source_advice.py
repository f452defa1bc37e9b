# ruff: noqa: ASYNC240 - blocking file operations are fine in a test's own event loop
"""What would make a report faster, told from SQLite's plan of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.errors import InvalidRequest, SourceChanged, SourceUnreachable
from app.model import Dataset
from app.source.sqlite import SqliteSource

TABLES = """
    CREATE TABLE recordings (id INTEGER PRIMARY KEY, place TEXT COLLATE NOCASE, x);
    CREATE TABLE measurements (recording_id INTEGER, at, db, place TEXT);
    CREATE TABLE "odd ""name" ("a b", "c""d", place TEXT COLLATE RTRIM);
    CREATE TABLE stations (code TEXT PRIMARY KEY, name) WITHOUT ROWID;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.db"


@pytest.fixture
def owner(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.executescript(TABLES)
        yield owner


async def advice(path: Path, sql: str) -> tuple[str, ...]:
    source = SqliteSource("s", path)
    query = await source.describe_query("q", sql)
    return await source.advise(query, (0,))


@pytest.mark.parametrize(
    ("sql", "table", "columns"),
    [
        (
            "SELECT * FROM recordings AS r LEFT JOIN measurements m ON m.recording_id = r.id",
            "measurements",
            '"recording_id"',
        ),
        (
            "SELECT * FROM recordings JOIN measurements USING (place)",
            "measurements",
            '"place" COLLATE NOCASE',
        ),
        ("SELECT * FROM measurements m LEFT JOIN recordings r ON m.place = r.place", "recordings", '"place"'),
        (
            """SELECT * FROM recordings r LEFT JOIN "odd ""name" o ON o."c""d" = r.x AND o."a b" = 5""",
            'odd "name',
            '"c""d"',
        ),
    ],
)
async def test_an_index_that_is_built_anew_for_each_report_can_be_created_once(
    owner: sqlite3.Connection, path: Path, sql: str, table: str, columns: str
) -> None:
    for query in (sql, f"SELECT * FROM ({sql})"):
        [sentence] = await advice(path, query)
        assert sentence.startswith(f"SQLite builds an index of “{table}” on ")
        said, create = sentence.split(" Create it once: ")
        assert said.endswith("anew for each report.")
        assert columns in create
    owner.execute(create)
    assert await advice(path, sql) == ()


async def test_an_alias_in_a_view_of_a_view_is_told_by_the_name_of_its_table(
    owner: sqlite3.Connection, path: Path
) -> None:
    owner.executescript("""
        CREATE VIEW inside AS SELECT r.id, m.db
            FROM recordings r LEFT JOIN measurements m ON m.recording_id = r.id;
        CREATE VIEW outside AS SELECT * FROM inside WHERE id > 5;
        CREATE TABLE measurements_recording_id (a);
    """)
    source = SqliteSource("s", path)
    view = next(dataset for dataset in (await source.discover())[0] if dataset.name == "outside")
    [sentence] = await source.advise(view, (1,))
    assert sentence.endswith(
        'CREATE INDEX "measurements_recording_id_2" ON "measurements" ("recording_id")'
    )  # the name without a number is taken
    assert await source.advise(view, (0,)) == await source.advise(view, (0, 1))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM recordings r, measurements AS m WHERE m.db > r.x",
        "SELECT *, (SELECT MAX(db) FROM measurements m WHERE m.recording_id = r.id) FROM recordings r",
        "SELECT *, (SELECT COUNT(*) FROM measurements m WHERE m.recording_id = r.id) FROM recordings r",
        "SELECT * FROM recordings r WHERE EXISTS (SELECT 1 FROM measurements WHERE at LIKE '%' || r.id)",
    ],
)
async def test_a_table_that_is_read_again_for_each_row_of_another(
    owner: sqlite3.Connection, path: Path, sql: str
) -> None:
    [sentence] = await advice(path, sql)
    assert sentence.startswith("All of “measurements” is read again for each row of what it is joined with.")
    owner.execute("CREATE INDEX i ON measurements (recording_id)")
    assert (await advice(path, sql) == ()) == ("m.recording_id = r.id" in sql)


@pytest.mark.parametrize(
    ("sql", "word", "index"),
    [
        ("SELECT * FROM measurements ORDER BY db", "ORDER BY", "db"),
        ("SELECT place, COUNT(*) FROM measurements GROUP BY place", "GROUP BY", "place"),
        ("SELECT DISTINCT place FROM measurements", "DISTINCT", "place"),
    ],
)
async def test_rows_that_are_collected_before_the_first_comes(
    owner: sqlite3.Connection, path: Path, sql: str, word: str, index: str
) -> None:
    [sentence] = await advice(path, sql)
    assert f"({word})" in sentence
    owner.execute(f"CREATE INDEX i ON measurements ({index})")
    assert await advice(path, sql) == ()


@pytest.mark.usefixtures("owner")
async def test_a_union_that_compares_all_rows(path: Path) -> None:
    sql = "SELECT db FROM measurements UNION SELECT x FROM recordings"
    [sentence] = await advice(path, sql)
    assert "UNION ALL" in sentence
    assert await advice(path, sql.replace("UNION", "UNION ALL")) == ()


@pytest.mark.usefixtures("owner")
async def test_all_advice_for_one_query_each_once(path: Path) -> None:
    found = await advice(
        path,
        "SELECT DISTINCT m.db FROM recordings r, measurements m, measurements n"
        " WHERE m.db > r.x AND n.db > m.db ORDER BY m.at",
    )
    assert [sentence.split("(")[-1].split(")")[0] for sentence in found[1:]] == ["DISTINCT", "ORDER BY"]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (
            "SELECT * FROM recordings r LEFT JOIN"
            " (SELECT place, COUNT(*) AS n FROM measurements GROUP BY place) g ON g.place = r.x",
            "g",
        ),
        (
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 9)"
            " SELECT * FROM recordings r LEFT JOIN c ON c.n = r.x",
            "c",
        ),
    ],
)
@pytest.mark.usefixtures("owner")
async def test_no_index_is_advised_on_what_is_no_table(path: Path, sql: str, name: str) -> None:
    found = await advice(path, sql)
    assert any(f"“{name}”" in sentence for sentence in found)
    assert not any("CREATE INDEX" in sentence for sentence in found)


@pytest.mark.parametrize(
    "sql",
    [
        "VALUES (1), (2)",
        "SELECT * FROM recordings -- with a comment",
        "SELECT * FROM recordings r JOIN stations s ON s.code = r.place;",
        "SELECT * FROM recordings r, json_each(r.x)",
        "SELECT * FROM recordings WHERE x IN (SELECT db FROM measurements) OR id = 3",
        "SELECT MAX(id), (SELECT COUNT(*) FROM measurements) FROM recordings",
        "SELECT sqlite_version()",
    ],
)
@pytest.mark.usefixtures("owner")
async def test_what_is_fine_gets_no_advice(path: Path, sql: str) -> None:
    assert await advice(path, sql) == ()


async def test_tables_get_none_whatever_the_columns(owner: sqlite3.Connection, path: Path) -> None:
    owner.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
    source = SqliteSource("s", path)
    tables = (await source.discover())[0]
    assert len(tables) == 5
    for table in tables:
        assert await source.advise(table, (len(table.columns) - 1, 0)) == ()


@pytest.mark.usefixtures("owner")
async def test_nothing_is_executed_and_nothing_written(path: Path) -> None:
    before = path.read_bytes()
    endless = (
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r ORDER BY 1"
    )
    assert await advice(path, endless) == ()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_names_that_are_not_utf8_can_still_be_sent(owner: sqlite3.Connection, path: Path) -> None:
    owner.execute("CREATE TABLE caf_ (k_)")
    owner.execute("CREATE VIEW v AS SELECT r.id, o.k_ FROM recordings r LEFT JOIN caf_ o ON o.k_ = r.x")
    owner.execute("CREATE VIEW w AS SELECT r.id FROM recordings r LEFT JOIN caf_ o WHERE o.k_ > r.x")
    owner.execute("PRAGMA writable_schema = 1")
    for (sql,) in owner.execute(
        "SELECT sql FROM sqlite_schema WHERE sql LIKE '%caf!_%' ESCAPE '!'"
    ).fetchall():
        spoiled = sql.encode().replace(b"_", b"\xe9")
        owner.execute("UPDATE sqlite_schema SET sql = CAST(? AS TEXT) WHERE sql = ?", (spoiled, sql))
    name = "UPDATE sqlite_schema SET {0} = CAST(replace({0}, '_', x'e9') AS TEXT) WHERE {0} = 'caf_'"
    owner.execute(name.format("name"))
    owner.execute(name.format("tbl_name"))
    source = SqliteSource("s", path)
    views = {dataset.name: dataset for dataset in (await source.discover())[0] if dataset.kind == "view"}
    for view in (Dataset("s.v", "s", "v", "query", views["w"].columns, sql="SELECT id FROM v"), views["w"]):
        found = await source.advise(view, (0,))
        assert all("caf\ufffd" in sentence for sentence in found), found
        assert found


async def test_errors_are_those_of_the_source(owner: sqlite3.Connection, path: Path) -> None:
    source = SqliteSource("s", path, timeout=0.1)
    dataset = next(dataset for dataset in (await source.discover())[0] if dataset.name == "recordings")
    with pytest.raises(InvalidRequest, match="column"):
        await source.advise(dataset, (9,))
    with pytest.raises(InvalidRequest, match="one SELECT"):
        await source.advise(
            Dataset("s.q", "s", "q", "query", dataset.columns, sql="DELETE FROM recordings"), (0,)
        )
    owner.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceUnreachable, match="locked"):
        await source.advise(dataset, (0,))
    owner.execute("COMMIT")
    owner.execute("DROP TABLE recordings")
    with pytest.raises(SourceChanged):
        await source.advise(dataset, (0,))
    owner.close()
    path.unlink()
    with pytest.raises(SourceUnreachable, match="no file"):
        await source.advise(dataset, (0,))


@pytest.mark.parametrize(
    ("spelled", "table"),
    [
        ("measurements m", "measurements"),
        ('main."measurements" AS m', "measurements"),
        ('"odd ""name" as [M]', 'odd "name'),
    ],
)
@pytest.mark.usefixtures("owner")
async def test_an_alias_is_told_by_the_name_of_its_table(path: Path, spelled: str, table: str) -> None:
    [sentence] = await advice(path, f"SELECT * FROM recordings r, {spelled} WHERE m.place LIKE r.x")
    assert sentence.startswith(f"All of “{table}” is read again")
    assert "An index on those of its columns" in sentence


@pytest.mark.usefixtures("owner")
async def test_an_alias_that_may_stand_for_several_tables_is_left_as_it_is(path: Path) -> None:
    one, other = (
        f"SELECT 1 FROM recordings r, {table} m WHERE m.{column} LIKE r.x"
        for table, column in (("measurements", "place"), ("stations", "name"))
    )
    assert await advice(path, f"{one} UNION ALL {other}") == (
        "All of “m” is read again for each row of what it is joined with.",
    )
