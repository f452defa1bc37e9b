"""Filters as a condition of SQL.

A cell is compared as its own type: a number with the filter's value as a number, if it reads as one, and text
with the value as it was written. Comparisons stay bare (`c > ?`), so that an index on the column can be used;
`typeof` beside them keeps SQLite's order of types, in which every text is greater than every number, out.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.model import Column, Dataset, Filter, Kind, Op

Value = int | float | str

_SIGNS = {Op.EQ: "=", Op.NE: "=", Op.LT: "<", Op.LTE: "<=", Op.GT: ">", Op.GTE: ">=", Op.IN: "="}

# What SQLite itself takes for a number in a text that it compares with one.
_NUMBER = re.compile(r"[ \t-\r]*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t-\r]*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}  # as they are shown


@dataclass(frozen=True, slots=True)
class Condition:
    """For a WHERE; empty if there are no filters."""

    sql: str = ""
    values: list[Value] = field(default_factory=list)  # in the order of the question marks


def condition(dataset: Dataset, filters: Sequence[Filter], cell: Callable[[int], str]) -> Condition:
    """That a row meets all filters. `cell` gives the SQL of the column at a position."""
    parts: list[str] = []
    values: list[Value] = []
    for each in filters:
        part, bound = _one(dataset, each, cell(each.column))
        parts.append(f"({part})")
        values += bound
    return Condition(" AND ".join(parts), values)


def _one(dataset: Dataset, given: Filter, cell: str) -> tuple[str, list[Value]]:
    match given.op:
        case Op.ISNULL:
            return f"{cell} IS NULL", []
        case Op.NOTNULL:
            return f"{cell} IS NOT NULL", []
        case Op.CONTAINS | Op.STARTSWITH | Op.ENDSWITH:
            return _part_of_text(given.op, cell, given.values[0])
    alternatives, values = _alternatives(dataset, given, cell)
    compared = " OR ".join(alternatives)
    if given.op is Op.NE:
        return f"{cell} IS NOT NULL AND NOT ({compared})", values
    return compared, values


def is_sought(dataset: Dataset, given: Filter) -> bool:
    """Whether an index on the column has the rows together, in the order of the key."""
    return given.op is Op.EQ and len(_alternatives(dataset, given, "")[0]) == 1


def _part_of_text(op: Op, cell: str, value: str) -> tuple[str, list[Value]]:
    """Text and numbers, as SQLite writes them; A to Z in either case.

    LIKE does the same, but reads no further than a NUL and takes no pattern over 50,000 bytes.
    """
    readable = f"typeof({cell}) NOT IN ('null', 'blob')"
    if not value:
        return readable, []
    if op is Op.ENDSWITH:
        end = f"substr(CAST(lower({cell}) AS BLOB), -length(CAST(lower(?) AS BLOB)))"
        return f"{readable} AND {end} = CAST(lower(?) AS BLOB)", [value, value]
    place = "= 1" if op is Op.STARTSWITH else "> 0"
    return f"{readable} AND instr(lower({cell}), lower(?)) {place}", [value]


def _alternatives(dataset: Dataset, given: Filter, cell: str) -> tuple[list[str], list[Value]]:
    """The comparisons with numbers and with text, of which one has to hold, and the values of both."""
    column = dataset.columns[given.column]
    texts: list[Value] = []
    numbers: list[Value] = []
    for value in given.values:
        number = number_of(value)
        if number is not None and not _holds_text(column, dataset):
            numbers.append(number)
        if number is None or not _holds_numbers(column, dataset, given.op):
            texts.append(value)
    if len(texts) + len(numbers) > len(given.values) and not _has_no_affinity(column, dataset):
        # By its affinity SQLite would turn both into numbers, or both into text.
        cell = f"+{cell}"
    alternatives: list[str] = []
    bound: list[Value] = []
    for types, values in (("IN ('integer', 'real')", numbers), ("= 'text'", texts)):
        if values:
            test = f"IN ({', '.join('?' * len(values))})" if len(values) > 1 else f"{_SIGNS[given.op]} ?"
            alternatives.append(f"typeof({cell}) {types} AND {cell} {test}")
            bound += values
    return alternatives, bound


def _holds_text(column: Column, dataset: Dataset) -> bool:
    """Whether it has no numbers. A view's column may be declared by the first part of a union only."""
    return column.kind is Kind.TEXT and dataset.kind == "table"


def _holds_numbers(column: Column, dataset: Dataset, op: Op) -> bool:
    """Whether a value that reads as a number means numbers only, and not also the text "n/a" > "10"."""
    declared = column.declared.upper()
    if column.kind.numeric or "NUM" in declared or "DEC" in declared:
        return True
    # In a DATE is often text, but none that reads as a number: SQLite stored it as one.
    has_affinity = column.kind is Kind.ANY and declared not in ("", "ANY")
    return has_affinity and dataset.kind == "table" and op in (Op.EQ, Op.NE, Op.IN)


def _has_no_affinity(column: Column, dataset: Dataset) -> bool:
    """Surely so: it may be ANY in a STRICT table, and there is no telling of a view's column."""
    return dataset.kind == "table" and (column.declared == "" or column.kind is Kind.BINARY)


def number_of(text: str) -> int | float | None:
    """The number that a text reads as: a float where 64 bits are too few; None if it is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return _INFINITIES.get(text)
    if _INTEGER.fullmatch(found[1]) and -(2**63) <= (number := int(found[1])) < 2**63:
        return number
    return float(found[1])
