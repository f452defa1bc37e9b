import base64
import json
import math
from pathlib import Path

import duckdb
from hypothesis import given, settings
from nasty import CELLS, COLUMNS, ROWS, columns_of, same, streamed, tables

from app.exports.naming import unique_names
from app.model import Cell, Column, Cut, Kind, Row, Undecodable


def meant(value: object) -> Cell:
    """The cell that a value of JSON stands for."""
    match value:
        case {"binary": str(text)}:
            return base64.b64decode(text)
        case {"cut": start}:
            return Cut(meant(start))  # type: ignore[arg-type]
        case {"undecodable": str(text)}:
            return Undecodable(base64.b64decode(text))
        case {"number": str(text)}:
            return float(text)
    return value  # type: ignore[return-value]


def test_each_nasty_cell_is_read_back() -> None:
    lines = streamed("ndjson", COLUMNS, [ROWS]).decode().split("\n")
    assert lines.pop() == ""
    records = [json.loads(line) for line in lines]
    assert {tuple(record) for record in records} == {("n", "cell", "column_3")}
    back = [meant(record["cell"]) for record in records]
    assert [cell for cell, read in zip(CELLS, back, strict=True) if not same(cell, read)] == []


@settings(deadline=None)
@given(tables())
def test_any_table_is_read_back(chunks: list[list[Row]]) -> None:
    data = streamed("ndjson", columns_of(chunks), chunks)
    rows = [row for chunk in chunks for row in chunk]
    back = [tuple(map(meant, json.loads(line).values())) for line in data.decode().split("\n")[:-1]]
    assert len(back) == len(rows)
    assert all(
        same(one, other)
        for row, read in zip(rows, back, strict=True)
        for one, other in zip(row, read, strict=True)
    )


def test_a_reader_of_records_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(streamed("ndjson", COLUMNS[:2], [[(2**62, "é"), (1, None)]]))
    assert duckdb.execute("SELECT n, cell FROM read_json(?)", [str(path)]).fetchall() == [
        (2**62, "é"),
        (1, None),
    ]


def test_infinity_is_no_null() -> None:
    data = streamed("ndjson", COLUMNS[:2], [[(1, math.inf), (2, None)]])
    assert data == b'{"n":1,"cell":{"number":"inf"}}\n{"n":2,"cell":null}\n'


def test_names_are_made_unique_and_a_name_that_is_there_keeps_its_column() -> None:
    columns = [Column(name, Kind.ANY) for name in ("a", "", "a", "a_2", "", "column_2", "a")]
    names = unique_names(columns)
    assert names == ("a", "column_2", "a_3", "a_2", "column_5", "column_2_2", "a_4")
