import math
import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from nasty import CELLS, COLUMNS, ROWS, about, columns_of, same, tables, written

from app.exports.parquet import Writer, _text
from app.exports.writing import Options
from app.model import Cell, Column, Cut, Kind, Row, Undecodable


def one_column(path: Path, cells: list[Cell], kind: Kind = Kind.ANY) -> tuple[str, list[object]]:
    """The type and the values that another reader finds."""
    written("parquet", path, [Column("cell", kind)], [[(cell,)] for cell in cells])
    table = duckdb.execute("SELECT cell FROM read_parquet(?)", [str(path)])
    return str(table.description[0][1]), [value for (value,) in table.fetchall()]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ([1, None, 2**63 - 1, -(2**63)], "BIGINT", None),
        ([0.1, None, math.inf, -math.inf, 5e-324], "DOUBLE", None),
        ([1, 2.5, 2**53], "DOUBLE", [1.0, 2.5, 2.0**53]),
        ([1, 2.5, 2**53 + 1], "VARCHAR", ["1", "2.5", "9007199254740993"]),
        (["", None, "é\0"], "VARCHAR", None),
        ([b"", None, b"\xff"], "BLOB", None),
        ([1, "a", b"\xff", None], "VARCHAR", ["1", "a", "/w==", None]),
        ([Cut("x"), Undecodable(b"\xe9")], "VARCHAR", ["x", "�"]),
        ([Cut(b"x"), b"y"], "BLOB", [b"x", b"y"]),
        ([None], "VARCHAR", None),
    ],
)
def test_a_column_has_the_type_that_holds_all_its_cells(
    tmp_path: Path, cells: list[Cell], kind: str, values: list[object] | None
) -> None:
    assert one_column(tmp_path / "one.parquet", cells) == (kind, cells if values is None else values)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [(Kind.INTEGER, "BIGINT"), (Kind.REAL, "DOUBLE"), (Kind.BINARY, "BLOB"), (Kind.TEXT, "VARCHAR")],
)
def test_a_column_of_nulls_has_the_type_it_is_declared_with(tmp_path: Path, kind: Kind, stored: str) -> None:
    assert one_column(tmp_path / "null.parquet", [None], kind) == (stored, [None])
    assert one_column(tmp_path / "none.parquet", [], kind) == (stored, [])


def test_each_nasty_cell_is_read_back_as_text_and_the_manifest_says_so(tmp_path: Path) -> None:
    path = tmp_path / "nasty.parquet"
    done = written("parquet", path, COLUMNS, [ROWS[:9], ROWS[9:]])
    found = duckdb.execute("SELECT n, cell, column_3 FROM read_parquet(?)", [str(path)]).fetchall()
    assert found == [(number, _text(cell), "end") for number, cell, _ in ROWS]
    assert done.notes[-1] == "Column 2, cell, holds values of several kinds and is written as string."
    assert (done.rows_written, done.cut, done.undecodable) == (len(ROWS), 2, 1)
    assert len([cell for cell in CELLS if isinstance(cell, str)]) > 30


@settings(max_examples=40, deadline=None)
@given(tables())
def test_any_table_is_read_back(chunks: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "any.parquet"
        written("parquet", path, columns_of(chunks), chunks)
        table = pq.read_table(path)
    for number, column in enumerate(table.columns):
        cells = [row[number] for chunk in chunks for row in chunk]
        for cell, value in zip(cells, column.to_pylist(), strict=True):
            plain = cell.value if isinstance(cell, Cut) else cell
            if isinstance(value, float) and isinstance(plain, int):
                assert value == plain
            else:
                assert same(plain, value) or value == _text(cell)


def test_a_row_group_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "groups.parquet"
    chunk: list[Row] = [(number, "x" * 10_000, None) for number in range(500)]
    written("parquet", path, COLUMNS, [chunk] * 12)
    groups = pq.ParquetFile(path).metadata
    assert groups.num_rows == 6000
    assert groups.num_row_groups >= 3


def test_the_file_carries_its_manifest(tmp_path: Path) -> None:
    written("parquet", tmp_path / "file.parquet", COLUMNS, [ROWS[:1]])
    assert b'"dataset": "shop.orders"' in pq.read_schema(tmp_path / "file.parquet").metadata[b"rowfall"]


def test_a_write_that_is_broken_off_leaves_no_file(tmp_path: Path) -> None:
    calls = []

    def chunks():  # type: ignore[no-untyped-def]
        calls.append(1)
        yield ROWS
        if len(calls) == Writer.passes:
            raise TimeoutError("cancelled")

    with pytest.raises(TimeoutError, match="cancelled"):
        Writer(COLUMNS, Options()).write(tmp_path / "broken.parquet", chunks, about())
    assert list(tmp_path.iterdir()) == []
