"""Cells that files tend to lose, a report's manifest, and what writers make of them."""

import math
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from app.exports import EXPORTS
from app.exports.manifest import Manifest
from app.exports.writing import Options
from app.model import CELL_LIMIT, Cell, Column, Cut, Kind, Row, Undecodable

TEXTS = [
    "",
    " ",
    " spaces at both ends ",
    "a,b;c\td",
    'a "quoted" word',
    '"',
    "line\nfeed",
    "carriage\rreturn",
    "both\r\nof them",
    "back\\slash \\n \\u0041",
    "[1],[2]",
    "null",
    ",null,",
    '{"value":1}',
    "007",
    "1.50",
    "1E5",
    "+49301234",
    "12345678901234567890",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "https://example.org/?a=1&b=<2>",
    "_x000D_",
    "_x000d_x0041_",
    "a\0b",
    "a\x01\x1f\x7f\x85b",
    "\ufffe\uffff\ufeff",
    "e\u0301 \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "שלום \u202e عالم",
    "TRUE",
    "#N/A",
    "2024-02-30",
    "ß" * 40_000,
    "\U0001f600" * 20_000,
]
NUMBERS: list[int | float] = [
    *(0, 1, -1, 10**14, 10**15 - 1, 10**15, -(10**15), 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 0.1, 0.1 + 0.2, 1e16, 1e22, 1e-7, 5e-324, 2.2250738585072014e-308),
    *(1.7976931348623157e308, math.inf, -math.inf, math.nan),
]
OTHERS: list[Cell] = [
    None,
    b"",
    b"\x00\xff",
    b"=1",
    b"x" * CELL_LIMIT,
    Cut("y" * CELL_LIMIT),
    Cut(b"\xfe" * CELL_LIMIT),
    Undecodable(b"caf\xe9"),
]
CELLS: list[Cell] = [*TEXTS, *NUMBERS, *OTHERS]
COLUMNS = (Column("n", Kind.INTEGER, "INTEGER"), Column("cell", Kind.ANY), Column("", Kind.ANY))
ROWS: list[Row] = [(number, cell, "end") for number, cell in enumerate(CELLS)]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats()
cells: st.SearchStrategy[Cell] = st.one_of(
    st.none(),
    texts,
    st.sampled_from(TEXTS[:-2]),
    numbers,
    st.binary(max_size=20),
    st.builds(Cut, texts | st.binary(max_size=9)),
    st.builds(Undecodable, st.binary(max_size=9).map(lambda start: start + b"\xff")),
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[Row]]:
    """Chunks of rows; a column holds one kind of value, or any."""
    columns = draw(st.lists(st.sampled_from([texts, numbers, cells]), min_size=1, max_size=4))
    row: st.SearchStrategy[Row] = st.tuples(*columns)
    return draw(st.lists(st.lists(row, min_size=1, max_size=5), max_size=3))


def columns_of(chunks: Sequence[Sequence[Row]]) -> list[Column]:
    return [Column(f"c{number}", Kind.ANY) for number in range(len(chunks[0][0]) if chunks else 1)]


def about(dataset: str = "shop.orders") -> Manifest:
    return Manifest(
        report="0199",
        dataset=dataset,
        status="done",
        rows_expected=len(ROWS),
        rows_written=0,
        started="2026-01-02T03:04:05.000Z",
        finished=None,
        zone="UTC",
        columns=(),
        filters=(),
        sort=(),
        key=("n",),
        format="xlsx",
        preset=None,
        values={"NULL": "no cell"},
        notes=("The table changed while it was read.",),
    )


def streamed(
    name: str, columns: Sequence[Column], chunks: Sequence[Sequence[Row]], options: Options | None = None
) -> bytes:
    """The whole file of a format that streams."""
    make = EXPORTS[name].stream
    assert make is not None
    writer = make(columns, options or Options())
    parts, first = [writer.begin()], 1
    for rows in chunks:
        parts.append(writer.rows(rows, first))
        first += len(rows)
    return b"".join([*parts, writer.end()])


def written(name: str, path: Path, columns: Sequence[Column], chunks: Sequence[Sequence[Row]]) -> Manifest:
    """Makes the file of a format that does not stream."""
    make = EXPORTS[name].file
    assert make is not None
    return make(columns, Options()).write(path, lambda: iter(chunks), about())


def same(one: object, other: object) -> bool:
    """Equal in value and type, and both not a number or both of one sign."""
    return type(one) is type(other) and repr(one) == repr(other)
