"""What would make reading a dataset faster, as SQLite's plan of the report's own statement tells."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.model import Dataset, Filter
from app.source.sqlite_catalog import verify
from app.source.sqlite_connection import TOLERANT
from app.source.sqlite_filter import is_sought
from app.source.sqlite_key import quoted
from app.source.sqlite_statement import all_rows

_AUTOMATIC = re.compile(r"SEARCH (.+) USING AUTOMATIC (?:PARTIAL )?(?:COVERING )?INDEX \((.*)\)")
_LOOP = re.compile(r"(?P<verb>SCAN|SEARCH) (?P<name>.+?)(?P<by> USING .*)?(?: LEFT-JOIN)?")
_NO_TABLE = re.compile(r"SCAN (?:\d+ )?CONSTANT ROWS?|SCAN .* VIRTUAL TABLE INDEX .*")

_COLLECTING = {
    "USE TEMP B-TREE FOR ORDER BY": (
        "All rows are sorted before the first one comes (ORDER BY). Leave the order away, or order by columns"
        " that have an index together."
    ),
    "USE TEMP B-TREE FOR GROUP BY": (
        "All rows are read and sorted before the first group comes (GROUP BY). An index on the columns that"
        " are grouped by saves the sorting."
    ),
    "USE TEMP B-TREE FOR DISTINCT": (
        "All distinct rows are kept to compare each new one with them (DISTINCT). Leave DISTINCT away if no"
        " row can come twice."
    ),
    "UNION USING TEMP B-TREE": (
        "All rows are collected and compared before the first one comes (UNION). Write UNION ALL if no row"
        " can come twice."
    ),
}


@dataclass(frozen=True, slots=True)
class _Step:
    """A line of EXPLAIN QUERY PLAN."""

    number: int
    parent: int  # 0: none
    detail: str


@dataclass(frozen=True, slots=True)
class _Automatic:
    """An index that the statement's program builds."""

    table: str | None  # None: of something else than a table, such as a subquery's result
    collations: tuple[str, ...]  # of its columns; "B" is BINARY


def advise(
    connection: sqlite3.Connection,
    dataset: Dataset,
    columns: tuple[int, ...],
    filters: tuple[Filter, ...] = (),
) -> tuple[str, ...]:
    """Sentences, the gravest first; () if the plan is fine or is none that is understood here."""
    key = verify(connection, dataset)
    sql, values = all_rows(dataset, key, columns, filters)
    connection.text_factory = TOLERANT
    lines = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    plan = [_Step(number, parent, detail) for number, parent, _, detail in lines]
    tables = _Tables(connection, connection.execute(f"EXPLAIN {sql}", values).fetchall())
    sql = dataset.sql or sql  # the text that names the tables
    found = [
        *_nested(plan, tables, sql),
        *_automatic(plan, tables),
        *(
            _COLLECTING[step.detail]
            for step in plan
            if step.detail in _COLLECTING and not _repeated(plan, step)
        ),
        *(_unindexed(plan, tables, dataset, filters) if key is not None else ()),
    ]
    # Names need not be UTF-8.
    return tuple(
        each.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for each in dict.fromkeys(found)
    )


class _Tables:
    """The tables that a statement opens, from its program: the plan calls them by their aliases."""

    def __init__(self, connection: sqlite3.Connection, program: list[Sequence[Any]]) -> None:
        self._connection = connection
        entries = connection.execute(
            "SELECT name, rootpage, tbl_name, type, sql FROM main.sqlite_schema"
        ).fetchall()
        self.names = {name.lower() for name, *_ in entries}
        self.views = {name: sql for name, _, _, kind, sql in entries if kind == "view"}
        self._texts = {name: sql for name, _, _, kind, sql in entries if kind == "table"}
        owners: dict[int, str] = {page: table for _, page, table, _, _ in entries if page}
        self._cursors: dict[int, str] = {
            cursor: owners[page]
            for _, opcode, cursor, page, database, *_ in program
            if opcode == "OpenRead" and database == 0 and page in owners
        }
        self.automatic = list(self._built(program))

    def _built(self, program: list[Sequence[Any]]) -> Iterator[_Automatic]:
        """In the order of the plan's lines. Each is filled by a loop that follows."""
        for place, (_, opcode, cursor, _, _, key, *_) in enumerate(program):
            if opcode != "OpenAutoindex":
                continue
            source = None
            for line in program[place:]:
                if line[1] == "Rewind" and source is None:
                    source = self._cursors.get(line[2])
                if line[1:3] == ("IdxInsert", cursor):
                    break
            yield _Automatic(source, tuple(re.sub(r"^k\(\d+,|\)$", "", key or "").split(",")))

    def columns(self, table: str) -> set[str]:
        # The driver takes a name that is not UTF-8 as bytes only.
        name = table.encode("utf-8", "surrogateescape")
        found = self._connection.execute("SELECT name FROM pragma_table_xinfo(CAST(? AS TEXT))", (name,))
        return {column for (column,) in found}

    def has_collations(self, table: str) -> bool:
        return "COLLATE" in (self._texts.get(table) or "").upper()

    def called(self, alias: str, sql: str) -> str | None:
        """The table that an alias stands for in a statement or the views it uses; None if unsure."""
        texts = [text.replace('""', '"') for text in self._used(sql)]
        renamed = rf'["\]`]?\s+(?:AS\s+)?["\[`]?{re.escape(alias)}(?!\w)'
        candidates = {
            table
            for table in self._cursors.values()
            if table.lower() == alias.lower()
            or any(re.search(rf"(?<!\w){re.escape(table)}{renamed}", text, re.IGNORECASE) for text in texts)
        }
        return candidates.pop() if len(candidates) == 1 else None

    def _used(self, sql: str) -> list[str]:
        """The statement, and the texts of the views that it uses."""
        texts, left = [sql], dict(self.views)
        for text in texts:
            texts += [left.pop(view) for view in list(left) if view.lower() in text.lower()]
        return texts


def _repeated(plan: list[_Step], step: _Step) -> bool:
    """Whether it is done anew for each row of something around it."""
    steps = {each.number: each for each in plan}
    while above := steps.pop(step.parent, None):
        if above.detail.startswith("CORRELATED"):
            return True
        step = above
    return False


def _nested(plan: list[_Step], tables: _Tables, sql: str) -> Iterator[str]:
    outer: dict[int, str] = {}  # the first loop below each parent
    for step in plan:
        loop = None if _NO_TABLE.fullmatch(step.detail) else _LOOP.fullmatch(step.detail)
        if loop is None:
            continue
        # "SEARCH t" by nothing is the scan for a max() or min().
        everything = loop["verb"] == "SCAN" or loop["by"] is None
        named = not loop["name"].startswith("(")  # unlike "(subquery-1)"
        if everything and named and (step.parent in outer or _repeated(plan, step)):
            yield _read_again(tables.called(loop["name"], sql), loop["name"])
        outer.setdefault(step.parent, loop["name"])


def _read_again(table: str | None, alias: str) -> str:
    sentence = f"All of “{table or alias}” is read again for each row of what it is joined with."
    if table is None:
        return sentence
    return (
        f"{sentence} An index on those of its columns that the condition compares by = would spare that; a"
        " LIKE, a < or a function around a column cannot use one."
    )


def _automatic(plan: list[_Step], tables: _Tables) -> Iterator[str]:
    found = [match for step in plan if (match := _AUTOMATIC.match(step.detail))]
    same = len(found) == len(tables.automatic)
    for place, match in enumerate(found):
        columns = [test.removesuffix("=?") for test in match[2].split(" AND ")]
        built = tables.automatic[place] if same else _Automatic(None, ())
        if built.table is not None and set(columns) <= tables.columns(built.table):
            yield (
                f"SQLite builds an index of “{built.table}” on {', '.join(columns)} anew for each report."
                f" Create it once: {_create_index(built.table, columns, built.collations, tables)}"
            )
        else:
            yield (
                f"SQLite builds an index of “{match[1]}” on {', '.join(columns)} anew for each report. It is"
                " a part of the query; kept as a table, it could have an index of its own."
            )


def _unindexed(
    plan: list[_Step], tables: _Tables, dataset: Dataset, filters: tuple[Filter, ...]
) -> Iterator[str]:
    """Of a table that is read by its key."""
    sought = [each for each in filters if is_sought(dataset, each)]
    if sought and plan[0].detail == "SCAN t":
        name = sought[0].name
        create = f"CREATE INDEX {quoted(_free_name([dataset.name, name], tables))}"
        yield (
            f"All of “{dataset.name}” is read to find the rows that meet the filter on {name}. An index would"
            f" spare that: {create} ON {quoted(dataset.name)} ({quoted(name)})"
        )


def _free_name(parts: list[str], tables: _Tables) -> str:
    stem = name = "_".join(parts)
    number = 1
    while name.lower() in tables.names:
        number += 1
        name = f"{stem}_{number}"
    return name


def _create_index(table: str, columns: list[str], collations: tuple[str, ...], tables: _Tables) -> str:
    name = _free_name([table, *columns], tables)
    spelled = []
    for column, collation in zip(columns, (*collations, *columns), strict=False):
        binary = collation in ("B", "")
        needed = not binary or tables.has_collations(table)
        spelled.append(quoted(column) + (f" COLLATE {'BINARY' if binary else collation}" if needed else ""))
    return f"CREATE INDEX {quoted(name)} ON {quoted(table)} ({', '.join(spelled)})"
