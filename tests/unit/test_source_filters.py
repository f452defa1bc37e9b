"""Which rows filters let through: SQLite's answer against a plain evaluation of docs/filters.md."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.codec import decode
from app.errors import SourceChanged
from app.model import Dataset, Filter, Op, Row
from app.source.sqlite import SqliteSource
from app.source.sqlite_catalog import verify
from app.source.sqlite_filter import number_of
from app.source.sqlite_statement import Batched, count, whole

# A column for each way in which SQLite may treat what is stored in it, and how a filter compares its cells.
DECLARED = {
    "n": ("INTEGER", "numbers"),
    "r": ("REAL", "numbers"),
    "m": ("DECIMAL(9,2)", "numbers"),
    "x": ("TEXT", "texts"),
    "d": ("DATE", "each"),
    "u": ("", "each"),
    "b": ("BLOB", "each"),
}
CELLS: list[Any] = [
    None, "", " ", "0", "007", "7", " 7 ", "10", "9", "1e1", "n/a", "!x", "abc", "ABC", "aBc", "ab", "été",
    "ÉTÉ", "100%", "a_b", "a\\b", "axb", "inf", "nan", "-1", "2024-05-01", "2024", "a\0b", "0x10", "1e400",
    "'; --", "\U0001f600", 0, 7, 9, 10, -1, 2024, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, 10.0, 7.0,
    2.0**53, 2.0**63, 1e22, float("inf"), float("-inf"), b"", b"abc", b"7", b"\x00\xff",
]  # fmt: skip
VALUES = [cell for cell in CELLS if isinstance(cell, str)] + [
    "9007199254740993", "9223372036854775807", "9223372036854775808", "99999999999999999999", "+7", "7.",
    ".5", "-inf", "10.0", "\t10\n", "1_0", "٧", "1e", "%", "_", "\\", "B", "e+22", "0.5",
]  # fmt: skip


def make(path: Path) -> None:
    names = ", ".join(f"{name} {declared}" for name, (declared, _) in DECLARED.items())
    marks = ", ".join("?" * len(DECLARED))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"""
            CREATE TABLE t (id INTEGER PRIMARY KEY, {names});
            CREATE TABLE w (k TEXT, id INTEGER, {names}, PRIMARY KEY (k DESC, id)) WITHOUT ROWID;
            CREATE VIEW v AS SELECT * FROM t ORDER BY id DESC;
            CREATE VIEW e AS SELECT id, +n, r + 0, +m, x || '', +d, u, CAST(b AS BLOB) FROM t;
            CREATE VIEW mixed AS SELECT id, x AS a FROM t UNION ALL SELECT id, n FROM t;
            CREATE VIEW twice AS SELECT id, n AS a, x AS a, u AS a FROM t;
        """)
        for number, cell in enumerate(CELLS):
            row = [cell] * len(DECLARED)
            connection.execute(f"INSERT INTO t VALUES (?, {marks})", (number, *row))
            connection.execute(f"INSERT INTO w VALUES (?, ?, {marks})", (str(number % 3), number, *row))
        connection.commit()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filters") / "data.db"
    make(path)
    return path


@pytest.fixture(scope="module")
def owner(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as owner:
        yield owner


@pytest.fixture(scope="module")
def source(path: Path) -> SqliteSource:
    return SqliteSource("s", path)


async def dataset(source: SqliteSource, name: str) -> Dataset:
    return next(each for each in (await source.discover())[0] if each.name == name)


def filter_on(dataset: Dataset, position: int, op: Op, *values: str) -> Filter:
    column = dataset.columns[position]
    return Filter(position, column.name, column.declared, op, values)


async def read(
    source: SqliteSource, found: Dataset, filters: Sequence[Filter], chunk_rows: int = 1000
) -> list[Row]:
    """All rows of a report, which must be as many as are counted."""
    columns = tuple(range(len(found.columns)))
    reader = await source.open_reader(found, columns, None, chunk_rows, tuple(filters))
    rows: list[Row] = []
    while batch := await reader.read():
        rows += decode(batch.payload)
    await reader.close()
    assert await source.count(found, filters=tuple(filters)) == len(rows)
    assert await source.preview(found, 3, tuple(filters)) == rows[:3]
    return rows


# The rules, in plain Python


def meets(cell: Any, compared: str, op: Op, values: Sequence[str]) -> bool:  # noqa: PLR0911
    if op in (Op.ISNULL, Op.NOTNULL):
        return (cell is None) == (op is Op.ISNULL)
    if cell is None:
        return False
    if op is Op.NE:
        return not meets(cell, compared, Op.EQ, values)
    if op is Op.IN:
        return any(meets(cell, compared, Op.EQ, [value]) for value in values)
    (value,) = values
    if op in (Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH):
        return part(cell, op, value)
    number = number_of(value)
    if isinstance(cell, int | float):
        return compared != "texts" and number is not None and holds(cell, op, number)
    if isinstance(cell, str) and not (compared == "numbers" and number is not None):
        return holds(cell.encode(), op, value.encode())
    return False


def holds(one: Any, op: Op, other: Any) -> bool:
    found = {Op.EQ: one == other, Op.LT: one < other, Op.LTE: one <= other, Op.GT: one > other}
    return bool(found.get(op, one >= other))


def part(cell: Any, op: Op, value: str) -> bool:
    if isinstance(cell, bytes):
        return False
    if not isinstance(cell, str):
        with closing(sqlite3.connect(":memory:")) as connection:
            cell = connection.execute("SELECT CAST(? AS TEXT)", (cell,)).fetchone()[0]
    one, other = (text.encode().lower() for text in (cell, value))  # of bytes, only A to Z
    return bool(
        {
            Op.CONTAINS: other in one,
            Op.STARTSWITH: one.startswith(other),
            Op.ENDSWITH: one.endswith(other),
        }[op]
    )


one_value = st.sampled_from(VALUES) | st.integers().map(str) | st.floats().map(repr) | st.text(max_size=3)


@st.composite
def wanted(draw: st.DrawFn) -> tuple[int, Op, tuple[str, ...]]:
    """Position among DECLARED, operator, values."""
    op = draw(st.sampled_from(Op))
    least, most = {Op.IN: (1, 4), Op.ISNULL: (0, 0), Op.NOTNULL: (0, 0)}.get(op, (1, 1))
    value = one_value.filter(lambda text: text.isprintable() or "\0" in text or text == "\t10\n")
    return (
        draw(st.integers(0, len(DECLARED) - 1)),
        op,
        tuple(draw(st.lists(value, min_size=least, max_size=most))),
    )


@settings(derandomize=True, deadline=None, max_examples=300)
@given(asked=st.lists(wanted(), min_size=1, max_size=2), name=st.sampled_from(["t", "w", "v", "query"]))
def test_the_rows_are_those_that_meet_all_filters(
    source: SqliteSource, owner: sqlite3.Connection, asked: list[tuple[int, Op, tuple[str, ...]]], name: str
) -> None:
    async def check() -> None:
        if name == "query":
            found = await source.describe_query("q", "SELECT * FROM t ORDER BY id DESC; -- all")
        else:
            found = await dataset(source, name)
        first = len(found.columns) - len(DECLARED)
        filters = [filter_on(found, first + place, op, *values) for place, op, values in asked]
        rules = [list(DECLARED.values())[place][1] for place, _, _ in asked]
        order = {"t": "id", "w": "k DESC, id"}.get(name, "id DESC")
        rows = owner.execute(f"SELECT * FROM {'w' if name == 'w' else 't'} ORDER BY {order}").fetchall()
        expected = [
            row
            for row in rows
            if all(
                meets(row[each.column], rule, each.op, each.values)
                for each, rule in zip(filters, rules, strict=True)
            )
        ]
        assert await read(source, found, filters, 7) == expected

    asyncio.run(check())


@pytest.mark.parametrize(
    ("column", "op", "values", "expected"),
    [
        ("x", Op.EQ, ["007"], ["007"]),
        ("x", Op.EQ, ["7"], ["7", "7"]),
        ("n", Op.EQ, ["007"], [7] * 5),  # "007", "7", " 7 ", 7 and 7.0 as SQLite stored them
        ("n", Op.EQ, [" 7 "], [7] * 5),
        ("n", Op.GT, ["9223372036854775806"], [2**63 - 1, float("inf"), 1e22, 2.0**63, float("inf")]),
        ("n", Op.GT, ["99999999999999999999"], [float("inf"), 1e22, float("inf")]),
        ("r", Op.EQ, ["inf"], [float("inf"), float("inf")]),  # one of them was "1e400"
        ("n", Op.EQ, ["nan"], ["nan"]),
        ("n", Op.LT, ["-1e3"], [-(2**63), float("-inf")]),
        ("x", Op.CONTAINS, ["%"], ["100%"]),
        ("x", Op.CONTAINS, ["_"], ["a_b"]),
        ("x", Op.ENDSWITH, ["\\b"], ["a\\b"]),
        ("x", Op.STARTSWITH, ["ABC"], ["abc", "ABC", "aBc"]),
        ("x", Op.CONTAINS, ["ÉT"], ["ÉTÉ"]),  # é is not É
        ("x", Op.ENDSWITH, ["\0B"], ["a\0b"]),
        ("u", Op.IN, ["7", "abc"], ["7", "abc", 7, 7.0]),
        ("b", Op.NE, ["7"], None),
        ("u", Op.ISNULL, [], [None]),
    ],
)
async def test_some_answers_word_by_word(
    source: SqliteSource, column: str, op: Op, values: list[str], expected: list[Any] | None
) -> None:
    found = await dataset(source, "t")
    place = [each.name for each in found.columns].index(column)
    cells = [row[place] for row in await read(source, found, [filter_on(found, place, op, *values)], 2)]
    if expected is None:
        assert len(cells) == len(CELLS) - 4  # NULL, "7", 7 and 7.0 are not: b"7" is no number
    else:
        assert sorted(map(repr, cells)) == sorted(map(repr, expected))


async def test_a_view_that_mixes_types_is_compared_cell_by_cell(source: SqliteSource) -> None:
    found = await dataset(source, "mixed")
    assert found.columns[1].declared == "TEXT"  # of the first part alone
    rows = await read(source, found, [filter_on(found, 1, Op.EQ, "10")], 3)
    assert sorted(repr(cell) for _, cell in rows) == ["'10'", "'10'", "10", "10", "10", "10"]


async def test_expressions_are_compared_as_what_they_give(source: SqliteSource) -> None:
    found = await dataset(source, "e")
    for position in (1, 2, 6):
        cells = [
            row[position] for row in await read(source, found, [filter_on(found, position, Op.EQ, "10.0")])
        ]
        assert {float(cell) for cell in cells} == {10}
        assert len(cells) >= 2
    assert await read(source, found, [filter_on(found, 4, Op.EQ, "7")])
    assert not await read(source, found, [filter_on(found, 7, Op.EQ, "7")])  # binary


async def test_of_columns_with_one_name_each_is_filtered_by_its_position(source: SqliteSource) -> None:
    view = await dataset(source, "twice")
    query = await source.describe_query("q", "SELECT id, n AS a, x AS a, u AS a FROM t")
    for found in (view, query):
        assert [row[0] for row in await read(source, found, [filter_on(found, 2, Op.EQ, "1e1")])] == [
            CELLS.index("1e1")
        ]
        assert len(await read(source, found, [filter_on(found, 1, Op.EQ, "1e1")])) == 4


async def test_a_filter_on_a_column_that_the_report_does_not_show(source: SqliteSource) -> None:
    query = await source.describe_query("q", "SELECT id, x FROM t -- all")
    for found in (await dataset(source, "t"), await dataset(source, "v"), query):
        place = [column.name for column in found.columns].index("x")
        reader = await source.open_reader(found, (0,), None, 10, (filter_on(found, place, Op.EQ, "été"),))
        batch = await reader.read()
        await reader.close()
        assert batch is not None
        assert decode(batch.payload) == [(CELLS.index("été"),)]


async def test_in_a_column_of_dates_text_is_compared_with_numbers(
    source: SqliteSource,
) -> None:
    found = await dataset(source, "t")
    filters = [filter_on(found, 5, Op.GTE, "2024"), filter_on(found, 5, Op.LT, "2025")]
    assert {row[5] for row in await read(source, found, filters)} == {2024, "2024-05-01"}


async def test_text_is_equal_as_the_columns_collation_says(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with closing(sqlite3.connect(path)) as owner:
        owner.executescript(
            "CREATE TABLE t (a TEXT COLLATE NOCASE); INSERT INTO t VALUES ('Rome'), ('rome');"
        )
    source = SqliteSource("s", path)
    found = await dataset(source, "t")
    assert len(await read(source, found, [filter_on(found, 0, Op.EQ, "ROME")])) == 2
    assert len(await read(source, found, [filter_on(found, 0, Op.IN, "ROME", "Oslo")])) == 2


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
async def test_text_of_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "data.db"
    with closing(sqlite3.connect(path)) as owner:
        owner.execute(f"PRAGMA encoding = '{encoding}'")
        owner.executescript("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('xÉa'), ('x\u6144'), ('');")
    source = SqliteSource("s", path)
    found = await dataset(source, "t")
    for op, value in ((Op.ENDSWITH, "ÉA"), (Op.CONTAINS, "\u6144"), (Op.EQ, "")):
        assert len(await read(source, found, [filter_on(found, 0, op, value)])) == 1, op


# Where a report stands


async def test_after_a_cursor_the_same_filters_give_the_rest(source: SqliteSource) -> None:
    for name in ("t", "w"):
        found = await dataset(source, name)
        filters = (filter_on(found, len(found.columns) - 2, Op.NOTNULL), filter_on(found, 0, Op.NE, "2"))
        everything = await read(source, found, filters)
        columns = tuple(range(len(found.columns)))
        rows: list[Row] = []
        cursor = None
        while True:
            reader = await source.open_reader(found, columns, cursor, 5, filters)
            batch = await reader.read()
            await reader.close()
            if batch is None:
                break
            rows, cursor = rows + decode(batch.payload), batch.cursor
        assert rows == everything
        assert len(rows) > 20


async def test_a_filtered_column_that_disappears_while_it_is_read_ends_the_report(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with closing(sqlite3.connect(path)) as owner:
        owner.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t (a) VALUES (1), (1), (1);"
        )
        source = SqliteSource("s", path)
        found = await dataset(source, "t")
        filters = (filter_on(found, 1, Op.EQ, "1"),)
        reader = await source.open_reader(found, (0,), None, 1, filters)
        assert await reader.read()
        owner.execute("ALTER TABLE t DROP COLUMN a")
        with pytest.raises(SourceChanged, match="columns or the key of “t” have changed"):
            await reader.read()
        await reader.close()
        with pytest.raises(SourceChanged):
            await source.count(found, filters=filters)


# Indexes


def plan(owner: sqlite3.Connection, sql: str, values: Sequence[Any]) -> str:
    return "; ".join(detail for *_, detail in owner.execute(f"EXPLAIN QUERY PLAN {sql}", values))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """1,000 orders of 10 cities; the city has an index, and so has the price."""
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as owner:
        owner.executescript("""
            CREATE TABLE orders (id INTEGER PRIMARY KEY, city TEXT, price INTEGER, note);
            CREATE INDEX by_city ON orders (city); CREATE INDEX by_price ON orders (price);
            CREATE INDEX by_note ON orders (note);
            CREATE VIEW sold AS SELECT id, city, price FROM orders;
            WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000)
                INSERT INTO orders SELECT n, 'c' || n % 10, n, n FROM r;
        """)
        yield owner


async def batches(owner: sqlite3.Connection, path: Path, op: Op, name: str, *values: str) -> list[str]:
    """The plans of the first batch and of a later one."""
    found = await dataset(SqliteSource("s", path), "orders")
    key = verify(owner, found)
    assert key is not None
    place = [column.name for column in found.columns].index(name)
    statements = Batched(owner, found, key, (0, 1), (), [filter_on(found, place, op, *values)])
    return [plan(owner, *statement) for last in (None, (5,)) for statement in statements.after(last)]


async def test_an_index_that_keeps_the_order_of_the_key_is_used(
    shop: sqlite3.Connection, tmp_path: Path
) -> None:
    first, later = await batches(shop, tmp_path / "shop.db", Op.EQ, "city", "c3")
    assert first == "SEARCH t USING COVERING INDEX by_city (city=?)"
    assert later == "SEARCH t USING COVERING INDEX by_city (city=? AND rowid>?)"


@pytest.mark.parametrize(
    ("op", "name", "values"),
    [
        (Op.IN, "city", ["c3", "c4"]),
        (Op.IN, "price", ["3", "4"]),
        (Op.EQ, "note", ["5"]),
        (Op.GT, "price", ["9"]),
    ],
)
async def test_no_batch_sorts_all_rows_that_are_left(
    shop: sqlite3.Connection, tmp_path: Path, op: Op, name: str, values: list[str]
) -> None:
    first, later = await batches(shop, tmp_path / "shop.db", op, name, *values)
    assert first == "SCAN t"
    assert later == "SEARCH t USING INTEGER PRIMARY KEY (rowid>?)"


@pytest.mark.parametrize(
    ("position", "op", "value", "index"),
    [
        (1, Op.EQ, "c3", "by_city (city=?)"),
        (2, Op.GT, "990", "by_price (price>?)"),
        (1, Op.LT, "c", "by_city"),
    ],
)
async def test_what_is_read_by_one_query_uses_the_index_of_a_filtered_column(
    shop: sqlite3.Connection, tmp_path: Path, position: int, op: Op, value: str, index: str
) -> None:
    found = await dataset(SqliteSource("s", tmp_path / "shop.db"), "sold")
    filters = [filter_on(found, position, op, value)]
    for statement in (whole(found, (0,), filters), count(found, filters)):
        assert index in plan(shop, *statement)


# Advice


async def test_an_index_is_advised_where_a_filter_would_use_it(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.executescript("""
            CREATE TABLE t (id INTEGER PRIMARY KEY, "a ""b" TEXT COLLATE NOCASE, n INTEGER, u);
            CREATE TABLE w (k TEXT, n INTEGER, city, PRIMARY KEY (k DESC, n)) WITHOUT ROWID;
            CREATE TABLE "t_a ""b" (x);
        """)
        source = SqliteSource("s", path)
        for name, place, op, value in [("t", 1, Op.EQ, "x"), ("t", 2, Op.EQ, "5"), ("w", 2, Op.EQ, "Rome")]:
            found = await dataset(source, name)
            filters = (filter_on(found, place, op, value), filter_on(found, 0, Op.NE, "1"))
            (sentence,) = await source.advise(found, (0,), filters)
            assert sentence.startswith(f"All of “{name}” is read to find the rows that meet the filter on ")
            assert await source.advise(found, (0,)) == ()
            owner.execute(sentence.split(" An index would spare that: ")[1])
            assert await source.advise(found, (0,), filters) == ()


@pytest.mark.parametrize(
    ("place", "op", "value"), [(0, Op.EQ, "5"), (3, Op.EQ, "5"), (2, Op.GT, "5"), (1, Op.CONTAINS, "5")]
)
async def test_no_index_is_advised_that_a_filter_would_not_use(
    source: SqliteSource, place: int, op: Op, value: str
) -> None:
    found = await dataset(source, "t")
    place = [0, 4, 1, 6][place]  # the key, text, a number, anything
    assert await source.advise(found, (0,), (filter_on(found, place, op, value),)) == ()


async def test_a_saved_query_with_filters_gets_its_advice_all_the_same(source: SqliteSource) -> None:
    found = await source.describe_query("q", "SELECT * FROM t a JOIN w b ON a.x = b.x")
    (sentence,) = await source.advise(found, (0,), (filter_on(found, 1, Op.GT, "5"),))
    assert sentence.startswith("SQLite builds an index of “")
