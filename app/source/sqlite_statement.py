"""The statements that a report runs."""

from collections.abc import Iterable

from app.model import Dataset
from app.source.sqlite_key import Key, quoted, tails


def all_rows(dataset: Dataset, key: Key | None, columns: tuple[int, ...]) -> str:
    """Gives all rows in the order of a report; with a key it is the first of its batches without a limit.

    The columns are those at these positions, except that a saved query always gives all of its own.
    """
    if key is None:
        return whole(dataset, columns)
    return select(dataset, columns, key, []) + next(tails(key, None))[0]


def select(dataset: Dataset, columns: Iterable[int], key: Key, extra: Iterable[str]) -> str:
    # Through the alias, because SQLite takes a bare "name" for a string where no such column exists.
    cells = [f"t.{quoted(dataset.columns[position].name)}" for position in columns]
    return f"SELECT {', '.join([*cells, *extra])} FROM main.{quoted(dataset.name)} AS t"


def whole(dataset: Dataset, columns: tuple[int, ...]) -> str:
    if dataset.sql is not None:
        return dataset.sql
    # By position: SQLite names a view's repeated columns anew, at random, for each connection.
    names = [f"c{position}" for position in range(len(dataset.columns))]
    cells = ", ".join(f"t.{names[position]}" for position in columns)
    return f"WITH t({', '.join(names)}) AS (SELECT * FROM main.{quoted(dataset.name)}) SELECT {cells} FROM t"
