"""The key a table is read by: a total order over its rows in which a report can continue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.errors import SourceChanged

KeyCell = int | float | str | bytes


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Term:
    """One column of a key, as the index that keeps it unique sorts it."""

    name: str
    sql: str  # of a table called `t`, with its collation
    descending: bool = False

    @property
    def order(self) -> str:
        return f"{self.sql} DESC" if self.descending else self.sql

    @property
    def beyond(self) -> str:
        return f"{self.sql} {'<' if self.descending else '>'}"


@dataclass(frozen=True, slots=True)
class Key:
    """Unique and never NULL."""

    terms: tuple[Term, ...]
    implicit: bool = False  # the row number of a table that declares no column for it

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(term.name for term in self.terms)

    @property
    def orders(self) -> tuple[str, ...]:
        return tuple(term.order for term in self.terms)


def tails(
    key: Key, last: Sequence[KeyCell] | None, condition: str = ""
) -> Iterator[tuple[str, list[KeyCell]]]:
    """The ends of the statements that give, one after the other, all rows after `last`, and their values.

    For (a, b): first `a = ? AND b > ?`, then `a > ?`. SQLite seeks in the index for each of them,
    whatever its collations and directions; a row value, `(a, b) > (?, ?)`, would scan and sort where
    a collation is spelled out or directions differ. The values of `condition` follow those of the key.
    """
    order = f" ORDER BY {', '.join(key.orders)}"
    if last is None:
        yield (f" WHERE {condition}{order}" if condition else order), []
        return
    for depth in range(len(key.terms), 0, -1):
        bound = [_bound(cell) for cell in last[:depth]]
        tests = [term.sql + " =" for term in key.terms[: depth - 1]] + [key.terms[depth - 1].beyond]
        where = " AND ".join(f"{test} {mark}" for test, (mark, _) in zip(tests, bound, strict=True))
        where = f"{where} AND {condition}" if condition else where
        yield f" WHERE {where}{order}", [value for _, value in bound]


def _bound(cell: KeyCell) -> tuple[str, KeyCell]:
    raw = _undecodable(cell)
    return ("?", cell) if raw is None else ("CAST(? AS TEXT)", raw)


def _undecodable(cell: KeyCell) -> bytes | None:
    """The bytes of text that is not UTF-8."""
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            return cell.encode("utf-8", "surrogateescape")
    return None


_VERSION = 1
_RAW_TEXT = 1  # a MessagePack extension: the bytes of text that is not UTF-8


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    version: int
    key: tuple[str, ...]  # its order, so that a cursor of another key is told
    schema: int | None  # SQLite's schema version, where VACUUM may number the rows anew
    values: tuple[Any, ...]  # cells of the key


def _raw_text(code: int, data: memoryview) -> str:
    return bytes(data).decode("utf-8", "surrogateescape")


_decoder = msgspec.msgpack.Decoder(_Cursor, ext_hook=_raw_text)


def pack(key: Key, schema: int, last: Sequence[Any]) -> bytes:
    """The cursor after the row whose key is `last`."""
    values = []
    for cell in last:
        raw = _undecodable(cell)
        values.append(cell if raw is None else msgspec.msgpack.Ext(_RAW_TEXT, raw))
    numbering = schema if key.implicit else None
    return msgspec.msgpack.encode(_Cursor(_VERSION, key.orders, numbering, tuple(values)))


def unpack(key: Key, schema: int, cursor: bytes) -> tuple[KeyCell, ...]:
    """The key values in a cursor. SourceChanged if it belongs to another key or numbering."""
    try:
        found = _decoder.decode(cursor)
    except msgspec.DecodeError as error:
        raise SourceChanged(_CANNOT_CONTINUE) from error
    numbering = schema if key.implicit else None
    expected = (_VERSION, key.orders, numbering, len(key.terms))
    if (found.version, found.key, found.schema, len(found.values)) != expected:
        raise SourceChanged(_CANNOT_CONTINUE)
    values: tuple[KeyCell, ...] = found.values
    return values


_CANNOT_CONTINUE = (
    "The report cannot continue where it stopped, because the table's key or the order of its rows is"
    " no longer the same. Run it again."
)
