"""Names of columns for formats in which a name stands for one column."""

from collections.abc import Sequence

from app.model import Column


def unique_names(columns: Sequence[Column]) -> tuple[str, ...]:
    """The names; an empty one becomes `column_3`, a repeated one gets `_2` or the next that is free."""
    wanted = [column.name or f"column_{number}" for number, column in enumerate(columns, 1)]
    taken = set(wanted)
    seen: set[str] = set()
    names = []
    for name in wanted:
        unique, count = name, 1
        while unique in seen or (count > 1 and unique in taken):
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique)
        names.append(unique)
    return tuple(names)
