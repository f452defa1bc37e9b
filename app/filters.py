"""Filters as people and programs read them."""

from collections.abc import Iterator, Sequence

from app.model import Filter, Op

_SAID = {
    Op.EQ: "=",
    Op.NE: "is not",
    Op.LT: "<",
    Op.LTE: "≤",
    Op.GT: ">",
    Op.GTE: "≥",
    Op.CONTAINS: "contains",
    Op.STARTSWITH: "starts with",
    Op.ENDSWITH: "ends with",
    Op.IN: "is one of",
    Op.ISNULL: "is NULL",
    Op.NOTNULL: "is not NULL",
}

_SHOWN_CHARACTERS, _SHOWN_VALUES = 60, 5  # of a value, of a list


def sentence(given: Filter) -> str:
    """Such as `price > 10` or `name contains "x"`; long values and lists are cut."""
    cut = [
        value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
        for value in given.values[:_SHOWN_VALUES]
    ]
    more = len(given.values) - len(cut)
    return said(given.name, given.op, cut) + (f" and {more:,} more" if more else "")


def said(column: str, op: Op, values: Sequence[str]) -> str:
    shown = ", ".join(_quoted(op, value) for value in values)
    return f"{column or '(no name)'} {_SAID[op]} {shown}".removesuffix(" ")


def sentences(filters: Sequence[Filter]) -> str:
    """All of them as one line."""
    return " and ".join(map(sentence, filters))


def shortly(filters: Sequence[Filter]) -> str:
    """For a place with room for one."""
    more = f" and {len(filters) - 1} more" if len(filters) > 1 else ""
    return sentence(filters[0]) + more


def pairs(filters: Sequence[Filter]) -> Iterator[tuple[str, str]]:
    """The fields of a form or an address that ask for the same."""
    for each in filters:
        for value in each.values or ("1",):
            yield f"{each.name}__{each.op}", value


def _quoted(op: Op, value: str) -> str:
    compared = op not in (Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH)
    return value if compared and _is_plain_number(value) else f'"{value}"'


def _is_plain_number(value: str) -> bool:
    digits = value.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit()
