"""The statements that a report runs."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from app.model import Dataset, Filter
from app.source.sqlite_catalog import QUERY_VIEW
from app.source.sqlite_filter import condition
from app.source.sqlite_key import Key, KeyCell, quoted, tails

Statement = tuple[str, list[KeyCell]]  # and its values


def all_rows(
    dataset: Dataset, key: Key | None, columns: tuple[int, ...], filters: Sequence[Filter] = ()
) -> Statement:
    """Gives all rows in the order of a report; with a key it is the first of its batches without a limit.

    The columns are those at these positions, except that a saved query always gives all of its own.
    """
    if key is None:
        return whole(dataset, columns, filters)
    where = condition(dataset, filters, lambda position: _cell(dataset, position))
    end, values = next(tails(key, None, where.sql))
    return select(dataset, columns, key, []) + end, [*values, *where.values]


def select(dataset: Dataset, columns: Iterable[int], key: Key, extra: Iterable[str]) -> str:
    cells = [_cell(dataset, position) for position in columns]
    return f"SELECT {', '.join([*cells, *extra])} FROM main.{quoted(dataset.name)} AS t"


def _cell(dataset: Dataset, position: int) -> str:
    # Through the alias, because SQLite takes a bare "name" for a string where no such column exists.
    return f"t.{quoted(dataset.columns[position].name)}"


def whole(dataset: Dataset, columns: tuple[int, ...], filters: Sequence[Filter] = ()) -> Statement:
    """A saved query with filters is read through the view that `verify` makes in the same transaction."""
    if dataset.sql is None:
        return _by_position(dataset, f"main.{quoted(dataset.name)}", columns, filters)
    if not filters:
        return dataset.sql, []
    return _by_position(dataset, f"temp.{QUERY_VIEW}", range(len(dataset.columns)), filters)


def count(dataset: Dataset, filters: Sequence[Filter]) -> Statement:
    """Of a saved query through the view of it: its text may end in a semicolon or a comment."""
    table = f"main.{quoted(dataset.name)}" if dataset.sql is None else f"temp.{QUERY_VIEW}"
    if not filters:
        return f"SELECT COUNT(*) FROM {table}", []
    return _by_position(dataset, table, (), filters)


def _by_position(
    dataset: Dataset, table: str, columns: Iterable[int], filters: Sequence[Filter]
) -> Statement:
    """The cells at these positions, or the number of rows if there are none."""
    # SQLite names a view's repeated columns anew, at random, for each connection.
    names = [f"c{position}" for position in range(len(dataset.columns))]
    cells = ", ".join(f"t.{names[position]}" for position in columns) or "COUNT(*)"
    where = condition(dataset, filters, lambda position: f"t.{names[position]}")
    sql = f"WITH t({', '.join(names)}) AS (SELECT * FROM {table}) SELECT {cells} FROM t"
    return (f"{sql} WHERE {where.sql}" if where.sql else sql), [*where.values]


class Batched:
    """The statements that give a table's rows in the order of its key, some at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        dataset: Dataset,
        key: Key,
        columns: tuple[int, ...],
        extra: Iterable[str],
        filters: Sequence[Filter],
    ) -> None:
        self._connection, self._key = connection, key
        self._select = select(dataset, columns, key, extra)
        self._where = condition(dataset, filters, lambda position: _cell(dataset, position))
        # The unary plus keeps SQLite from using an index on the column.
        self._by_key = condition(dataset, filters, lambda position: f"+{_cell(dataset, position)}")
        self._chosen: dict[str, str] = {}

    def after(self, last: Sequence[KeyCell] | None) -> Iterator[Statement]:
        """One after the other they give all rows after `last`; a LIMIT may follow."""
        freely, by_key = (tails(self._key, last, where.sql) for where in (self._where, self._by_key))
        for (end, values), (end_by_key, _) in zip(freely, by_key, strict=True):
            bound = [*values, *self._where.values]
            yield self._ordered(self._select + end, self._select + end_by_key, bound), bound

    def forget(self) -> None:
        """Indexes may have been created or dropped."""
        self._chosen.clear()

    def _ordered(self, freely: str, by_key: str, values: Sequence[KeyCell]) -> str:
        """By an index on a filtered column only if that gives the rows in the order of the key.

        Else each batch would read and sort all rows that are left.
        """
        if freely == by_key:
            return freely
        if freely not in self._chosen:
            plan = self._connection.execute(f"EXPLAIN QUERY PLAN {freely}", values).fetchall()
            sorts = any(detail.startswith("USE TEMP B-TREE") for *_, detail in plan)
            self._chosen[freely] = by_key if sorts else freely
        return self._chosen[freely]
