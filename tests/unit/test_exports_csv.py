import base64
import csv
import io
import math
import subprocess
from pathlib import Path

import duckdb
import openpyxl
import pytest
from hypothesis import given, settings
from nasty import CELLS, COLUMNS, ROWS, columns_of, streamed, tables

from app.exports import EXPORTS
from app.exports.csv_excel import kept
from app.exports.writing import Options, Preset
from app.model import Cell, Column, Cut, Kind, Row, Undecodable

EXCEL = Options(Preset.EXCEL, ";", ",")
csv.field_size_limit(10**6)


def spelled(cell: Cell) -> str | None:
    """What a field of the preset for programs says, numbers aside."""
    match cell:
        case Cut(value=start):
            return spelled(start)
        case Undecodable(raw=raw):
            return raw.decode(errors="replace")
        case bytes():
            return base64.b64encode(cell).decode()
        case None | str():
            return cell
    return str(cell)


def agree(cell: Cell, field: str | None) -> bool:
    if isinstance(cell, float):
        return field is not None and (float(field) == cell or (math.isnan(cell) and field == "nan"))
    return spelled(cell) == field


def parsed(data: bytes, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator, strict=True))


def test_each_nasty_cell_is_read_back_by_the_csv_module() -> None:
    header, *lines = parsed(streamed("csv", COLUMNS, [ROWS]))
    assert header == ["n", "cell", ""]
    assert [line[0] for line in lines] == [str(row[0]) for row in ROWS]
    assert [
        cell for cell, line in zip(CELLS, lines, strict=True) if not agree(cell, line[1] or spelled(cell))
    ] == []
    assert {line[2] for line in lines} == {"end"}


def test_each_nasty_cell_is_read_back_by_a_strict_reader_that_tells_null_from_empty(tmp_path: Path) -> None:
    path = tmp_path / "nasty.csv"
    path.write_bytes(streamed("csv", COLUMNS, [ROWS[:10], ROWS[10:]]))
    fields = duckdb.execute(
        "SELECT n, cell FROM read_csv(?, auto_detect = false, strict_mode = true, header = true, "
        "delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, "
        "max_line_size = 1000000, columns = {'n': 'BIGINT', 'cell': 'VARCHAR', 'last': 'VARCHAR'})",
        [str(path)],
    ).fetchall()
    assert [number for number, _ in fields] == list(range(len(CELLS)))
    assert [cell for cell, (_, field) in zip(CELLS, fields, strict=True) if not agree(cell, field)] == []


@settings(deadline=None)
@given(tables())
def test_any_table_is_read_back(chunks: list[list[Row]]) -> None:
    lines = parsed(streamed("csv", columns_of(chunks), chunks))[1:]
    rows = [row for chunk in chunks for row in chunk]
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        # The csv module takes an empty line for a row without fields.
        fields = line or [""]
        assert all(
            agree(cell, field or ("" if cell is not None else None))
            for cell, field in zip(row, fields, strict=True)
        )


@settings(deadline=None)
@given(tables())
def test_a_cell_is_written_alike_whatever_stands_beside_it(chunks: list[list[Row]]) -> None:
    """Fast ways for whole columns give the bytes that each row would have alone."""
    columns = columns_of(chunks)
    for name, options in (("csv", Options()), ("csv", EXCEL), ("ndjson", Options())):
        singly = [[row] for chunk in chunks for row in chunk]
        assert streamed(name, columns, chunks, options) == streamed(name, columns, singly, options)


def test_null_and_empty_text_differ() -> None:
    assert streamed("csv", COLUMNS[:2], [[(None, "")]]) == b'"n","cell"\r\n,""\r\n'


def test_cells_that_are_not_whole_are_counted() -> None:
    for options in (Options(), EXCEL):
        writer = EXPORTS["csv"].stream(COLUMNS, options)  # type: ignore[misc]
        writer.rows(ROWS, 1)
        assert (writer.cut, writer.undecodable) == (2, 1)


def test_no_rows_are_a_header() -> None:
    assert streamed("csv", COLUMNS, []) == streamed("csv", COLUMNS, [[]]) == b'"n","cell",""\r\n'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("12", "12"),
        ("-3.25", "-3.25"),
        ("007", '="007"'),
        ("+4930", '="+4930"'),
        ("1E5", '="1E5"'),
        ("1.10", '="1.10"'),
        (" 007", '=" 007"'),
        ("1234567890123456", '="1234567890123456"'),
        ("0" * 300, "0" * 300),
        ("=1+1", "'=1+1"),
        (" =1+1", "' =1+1"),
        ("-2+3", "'-2+3"),
        ("@x", "'@x"),
        ("＝1", "'＝1"),
        ("\tx", "'\tx"),
        ("a=b", "a=b"),
        ("2024-01-31", "2024-01-31"),
    ],
)
def test_text_that_excel_would_change_or_run(text: str, shown: str) -> None:
    assert kept(text) == shown


def test_no_field_for_excel_is_a_formula_of_the_data() -> None:
    data = streamed("csv", COLUMNS, [ROWS], EXCEL)
    assert data.startswith(b"\xef\xbb\xbf")
    fields = [line[1] for line in parsed(data[3:], ";")[1:]]
    assert len(fields) == len(CELLS)
    formulas = [field for field in fields if field.lstrip()[:1] in tuple("=+@\t\r")]
    assert formulas
    assert all(field.startswith('="') and field.endswith('"') and field.count('"') == 2 for field in formulas)


def test_numbers_for_excel_have_the_decimal_sign_of_the_locale() -> None:
    rows: list[Row] = [(1, 2.5), (10**15, math.inf), (-(10**14), 1e300)]
    plain = streamed("csv", COLUMNS[:2], [rows], Options(Preset.EXCEL)).splitlines()[1:]
    assert plain == [b"1,2.5", b'"=""1000000000000000""",inf', b"-100000000000000,1e+300"]
    german = streamed("csv", COLUMNS[:2], [rows[:1]], EXCEL).splitlines()[1:]
    assert german == [b"1;2,5"]
    both_commas = streamed("csv", COLUMNS[:2], [rows[:1]], Options(Preset.EXCEL, ",", ",")).splitlines()[1:]
    assert both_commas == [b'1,"2,5"']


def test_libreoffice_shows_what_is_kept_for_excel(tmp_path: Path, soffice: str) -> None:
    columns = [Column("a", Kind.ANY)]
    texts = ["007", "12345678901234567890", "plain", "1.10"]
    (tmp_path / "kept.csv").write_bytes(
        streamed("csv", columns, [[(text,) for text in texts]], Options(Preset.EXCEL))
    )
    command = [soffice, "--headless", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"]
    command += ["--infilter=CSV:44,34,76,1", "--convert-to", "xlsx", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(tmp_path / "kept.csv")], check=True, capture_output=True, timeout=300)
    sheet = openpyxl.load_workbook(tmp_path / "kept.xlsx", data_only=True).worksheets[0]
    assert [sheet.cell(row, 1).value for row in range(2, 6)] == texts
