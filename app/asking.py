"""What a person asks of a dataset, from a form, an address, the API or the command line, as a report's spec.

A filter is written `column__operator=value` everywhere but in the API.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.errors import InvalidRequest
from app.model import Dataset, Filter, Op, Spec

# Far below what SQLite takes (32,766 values, 1,000 levels of an expression): the spec is read with every look
# at its report, so it stays small.
MOST_FILTERS, MOST_VALUES, MOST_CHARACTERS = 100, 1_000, 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter as it was written; nothing of it is checked."""

    column: str
    op: str
    values: tuple[str, ...]


def of_pairs(pairs: Iterable[tuple[str, str]]) -> list[Asked]:
    """Of fields of a form or an address; `in` takes the values of all fields of one name."""
    found: list[Asked] = []
    for key, value in pairs:
        # A column's own name may hold "__", an operator's does not.
        column, separator, op = key.rpartition("__")
        if not separator:
            raise InvalidRequest(
                f"“{key}” is not understood. A filter is column__operator=value, such as {key}__eq=10."
            )
        same = [place for place, each in enumerate(found) if (each.column, each.op) == (column, op)]
        if op == Op.IN and same:
            found[same[0]] = Asked(column, op, (*found[same[0]].values, value))
        else:
            found.append(Asked(column, op, (value,)))
    return found


def of_texts(texts: Iterable[str]) -> list[Asked]:
    """Of arguments such as `price__gt=10`; the value begins after the first `=`."""
    pairs = []
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator and not key.endswith((f"__{Op.ISNULL}", f"__{Op.NOTNULL}")):
            raise InvalidRequest(
                f"“{text}” is no filter: write column__operator=value, such as price__gt=10."
            )
        pairs.append((key, value))
    return of_pairs(pairs)


def of_object(column: str, op: str, value: object) -> Asked:
    """Of the API: a list for `in`, nothing for `isnull` and `notnull`, else a text or a number."""
    if op == Op.IN:
        if not isinstance(value, list) or not value:
            raise InvalidRequest(f"The filter on “{column}” by in needs a list of values.")
        return Asked(column, op, tuple(_text(column, op, each) for each in value))
    if op in (Op.ISNULL, Op.NOTNULL):
        return Asked(column, op, () if value in (None, True) else (_text(column, op, value),))
    return Asked(column, op, (_text(column, op, value),))


def _text(column: str, op: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    hint = " For NULL there are isnull and notnull." if value is None else ""
    raise InvalidRequest(f"The value of the filter on “{column}” by {op} is no text and no number.{hint}")


def spec(dataset: Dataset, columns: Sequence[str], filters: Sequence[Asked]) -> Spec:
    """Raises InvalidRequest with a sentence that names what does not fit, and what would."""
    chosen = _positions(dataset, columns) or tuple(range(len(dataset.columns)))
    positions = _positions(dataset, [each.column for each in filters])
    if len(filters) > MOST_FILTERS:
        raise InvalidRequest(f"{len(filters)} filters are too many: there may be {MOST_FILTERS}.")
    values = [value for each in filters for value in each.values]
    if len(values) > MOST_VALUES or sum(map(len, values)) > MOST_CHARACTERS:
        raise InvalidRequest(
            f"The filters have too many values: there may be {MOST_VALUES:,}, of {MOST_CHARACTERS:,}"
            " characters together."
        )
    found = tuple(_filter(dataset, *each) for each in zip(positions, filters, strict=True))
    lists = [each.column for each in found if each.op is Op.IN]
    if twice := next((each for each in lists if lists.count(each) > 1), None):
        # In an address they would be one list, which holds for more rows.
        name = dataset.columns[twice].name
        raise InvalidRequest(f"“{name}” has two filters by in. Give the values that are in both as one.")
    return Spec(chosen, found)


def _positions(dataset: Dataset, names: Sequence[str]) -> tuple[int, ...]:
    known: dict[str, int] = {}
    for position, column in enumerate(dataset.columns):
        known.setdefault(column.name, position)  # of columns with one name, the first
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidRequest(
            f"{dataset.id} has no column {', '.join(map(repr, unknown))}. "
            f"Its columns are {', '.join(map(repr, known))}."
        )
    return tuple(known[name] for name in names)


def _filter(dataset: Dataset, position: int, asked: Asked) -> Filter:
    column = dataset.columns[position]
    if asked.op not in list(Op):
        raise InvalidRequest(
            f"“{asked.op}” in the filter on “{column.name}” is no operator. There are {', '.join(Op)}."
        )
    op, values = Op(asked.op), asked.values
    for value in values:
        if not _is_unicode(value):
            raise InvalidRequest(f"A value of the filter on “{column.name}” is not Unicode text.")
    if op in (Op.ISNULL, Op.NOTNULL):
        if values not in ((), ("",), ("1",)):
            other = Op.NOTNULL if op is Op.ISNULL else Op.ISNULL
            raise InvalidRequest(
                f"The filter on “{column.name}” by {op} takes no value; its opposite is {other}."
            )
        values = ()
    return Filter(position, column.name, column.declared, op, values)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
