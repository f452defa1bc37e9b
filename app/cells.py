"""A row in full: what the page of one row says of each of its cells."""

from collections.abc import Sequence
from typing import NamedTuple

from app.model import CELL_LIMIT, Cell, Column, Cut, Row, Undecodable

_LINE = 16  # bytes in a line of a dump


class FullCell(NamedTuple):
    column: int  # its position in the report, from 1
    name: str
    declared: str
    kind: str  # the class that marks it as in the table (static/app.css); "" for plain text and numbers
    text: str  # unescaped, as long as the spool has it
    about: str  # a remark on the value, "" without one


def in_full(columns: Sequence[Column], row: Row) -> list[FullCell]:
    return [
        FullCell(position, column.name, column.declared, *_shown(cell))
        for position, (column, cell) in enumerate(zip(columns, row, strict=True), 1)
    ]


def _shown(cell: Cell) -> tuple[str, str, str]:
    """Kind, text, remark."""
    match cell:
        case None:
            return "null", "NULL", ""
        case "":
            return "empty", "", ""
        case bytes():
            return "binary", dump(cell), f"{len(cell):,} {'byte' if len(cell) == 1 else 'bytes'}"
        case Cut(value=start):
            text, unit = (dump(start), "bytes") if isinstance(start, bytes) else (start, "characters")
            return "cut", text, f"Longer; a report keeps the first {CELL_LIMIT:,} {unit} of a cell."
        case Undecodable(raw=raw):
            return (
                "undecodable",
                raw.decode(errors="replace"),
                "Not UTF-8: � stands for what is no character.",
            )
        case _:
            return "", str(cell), ""


def dump(data: bytes) -> str:
    """Lines of 16 bytes: the offset of the first, all in hexadecimal, and those that are printable ASCII."""
    lines = (
        (start, line.hex(" "), "".join([chr(byte) if 32 <= byte < 127 else "." for byte in line]))
        for start in range(0, len(data), _LINE)
        for line in (data[start : start + _LINE],)
    )
    return "\n".join([f"{start:08x}  {digits:<47}  {text}" for start, digits, text in lines])
