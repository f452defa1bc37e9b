import csv
import math
import re
import subprocess
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from nasty import CELLS, COLUMNS, ROWS, about, columns_of, tables, written
from python_calamine import CalamineWorkbook

from app.errors import InvalidRequest
from app.exports.writing import Options
from app.exports.xlsx import Writer
from app.exports.xlsx_cells import letters, plain
from app.exports.xlsx_parts import sheet_name
from app.model import Cell, Column, Kind, Row

LIMIT = 32_767


def shown(cell: Cell) -> int | float | str | None:
    """What a workbook holds for a cell."""
    match cell:
        case None:
            return None
        case int():
            return cell if abs(cell) < 10**15 else str(cell)
        case float():
            return (
                cell
                if math.isfinite(cell) and (not cell or abs(cell) >= 2.2250738585072014e-308)
                else str(cell)
            )
    text = plain(cell)
    units = text.encode("utf-16-le")
    if len(units) <= LIMIT * 2:
        return text + "…" if type(cell).__name__ == "Cut" else text
    return units[: (LIMIT - 1) * 2].decode("utf-16-le", "ignore") + "…"


def unescaped(text: str) -> str:
    """openpyxl leaves a workbook's escapes as they are."""
    return re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)


def by_openpyxl(path: Path, sheet: int = 0) -> list[list[object]]:
    workbook = openpyxl.load_workbook(path)
    return [
        [unescaped(cell.value) if isinstance(cell.value, str) else cell.value for cell in row]
        for row in workbook.worksheets[sheet].iter_rows()
    ]


def by_calamine(path: Path, sheet: int = 0) -> list[list[object]]:
    return CalamineWorkbook.from_path(str(path)).get_sheet_by_index(sheet).to_python()  # type: ignore[return-value]


def test_each_nasty_cell_is_read_back_by_openpyxl(tmp_path: Path) -> None:
    path = tmp_path / "nasty.xlsx"
    done = written("xlsx", path, COLUMNS, [ROWS[:7], ROWS[7:]])
    header, *rows = by_openpyxl(path)
    assert header == ["n", "cell", ""]
    assert [row[0] for row in rows] == list(range(len(CELLS)))
    assert [cell for cell, row in zip(CELLS, rows, strict=True) if shown(cell) != row[1]] == []
    assert {row[2] for row in rows} == {"end"}
    assert (done.rows_written, done.undecodable) == (len(ROWS), 1)
    assert done.cut == len([cell for cell in CELLS if str(shown(cell)).endswith("…")]) == 5


def test_each_nasty_cell_is_read_back_by_calamine(tmp_path: Path) -> None:
    path = tmp_path / "nasty.xlsx"
    written("xlsx", path, COLUMNS, [ROWS])
    rows = by_calamine(path)[1:]
    assert len(rows) == len(CELLS)
    # It gives NULL as empty text, and no escapes of what is no character.
    pairs = zip(CELLS, (row[1] for row in rows), strict=True)
    lost = [cell for cell, read in pairs if ("" if cell is None else shown(cell)) != read]
    assert lost == ["\ufffe\uffff\ufeff"]


def test_text_is_text_and_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "nasty.xlsx"
    written("xlsx", path, COLUMNS, [ROWS])
    sheet = openpyxl.load_workbook(path).worksheets[0]
    for number, cell in enumerate(CELLS, 2):
        value = shown(cell)
        assert sheet.cell(number, 2).data_type == ("s" if isinstance(value, str) else "n")
        assert sheet.cell(number, 2).hyperlink is None


@settings(max_examples=40, deadline=None)
@given(tables())
def test_any_table_is_read_back(chunks: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "any.xlsx"
        columns = columns_of(chunks)
        written("xlsx", path, columns, chunks)
        rows = by_openpyxl(path)[1:]
    expected = [[shown(cell) for cell in row] for chunk in chunks for row in chunk]
    # A sheet has no last row that is empty, and no last columns.
    padded = [[*row, *[None] * (len(columns) - len(row))] for row in rows]
    padded += [[None] * len(columns)] * (len(expected) - len(padded))
    assert padded == expected


@given(tables())
@settings(max_examples=40, deadline=None)
def test_a_cell_is_written_alike_whatever_stands_beside_it(chunks: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        together, singly = Path(place) / "together", Path(place) / "singly"
        written("xlsx", together, columns_of(chunks), chunks)
        written("xlsx", singly, columns_of(chunks), [[row] for chunk in chunks for row in chunk])
        first = [zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml") for path in (together, singly)]
    assert first[0] == first[1]


def test_libreoffice_opens_it_and_has_the_same_cells(tmp_path: Path, soffice: str) -> None:
    rows = [row for row in ROWS if not isinstance(row[1], float)]  # it shows numbers as their format says
    written("xlsx", tmp_path / "nasty.xlsx", COLUMNS, [rows])
    command = [soffice, "--headless", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"]
    command += [
        "--convert-to",
        "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,1",
    ]
    command += ["--outdir", str(tmp_path), str(tmp_path / "nasty.xlsx")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    csv.field_size_limit(10**6)
    with (tmp_path / "nasty-orders.csv").open(encoding="utf-8", newline="") as file:
        back = [line[1] for line in csv.reader(file)][1:]
    # It keeps a line end within a cell as a line feed.
    expected = ["" if row[1] is None else str(shown(row[1])).replace("\r\n", "\n") for row in rows]
    assert [pair for pair in zip(expected, back, strict=True) if pair[0] != pair[1]] == []


def test_rows_beyond_a_sheet_go_on_in_the_next_one_under_the_header(tmp_path: Path) -> None:
    path = tmp_path / "long.xlsx"
    rows: list[Row] = [(number, f"row {number}", None) for number in range(25)]
    writer = Writer(COLUMNS, Options(), sheet_rows=11)
    done = writer.write(path, lambda: iter([rows[:8], rows[8:]]), about())
    workbook = openpyxl.load_workbook(path)
    assert workbook.sheetnames == ["orders", "orders (2)", "orders (3)", "About"]
    assert [workbook.worksheets[sheet].max_row for sheet in range(3)] == [11, 11, 6]
    for sheet in workbook.worksheets[:3]:
        assert [cell.value for cell in sheet[1]] == ["n", "cell", ""]
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == f"A1:C{sheet.max_row}"
    numbers = [row[0] for sheet in range(3) for row in by_openpyxl(path, sheet)[1:]]
    assert numbers == list(range(25))
    assert done.notes[-1].startswith("The rows are in 3 sheets")


def test_a_sheet_has_the_widths_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "wide.xlsx"
    columns = [Column("a", Kind.TEXT, width=75), Column("b", Kind.TEXT), Column("c", Kind.TEXT, width=5000)]
    written("xlsx", path, columns, [[("x", "y", "z")]])
    widths = openpyxl.load_workbook(path).worksheets[0].column_dimensions
    assert (widths["A"].width, widths["C"].width) == (10, 255)
    assert "B" not in widths


DATES = ["1900-03-01", "2024-02-29", None, "9999-12-31"]
TIMES = ["2024-02-29 23:59:59", "2024-01-01T00:00", "2024-01-01 12:00:00.001", "2024-01-01"]


@pytest.mark.parametrize("values", [DATES, TIMES])
def test_dates_are_dates_and_shown_as_the_text_was(tmp_path: Path, values: list[str | None]) -> None:
    path = tmp_path / "dates.xlsx"
    written("xlsx", path, [Column("at", Kind.ANY, "TIMESTAMP"), COLUMNS[0]], [[(each, 1)] for each in values])
    sheet = openpyxl.load_workbook(path).worksheets[0]
    for number, value in enumerate(values, 2):
        cell = sheet.cell(number, 1)
        assert cell.value == (value and datetime.fromisoformat(value))
        assert value is None or len(cell.number_format.replace("\\", "")) == len(value)


@pytest.mark.parametrize(
    "odd",
    ["1900-02-28", "2024-02-30", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00.1", "", "soon", 5, "24-01-01"],
)
def test_one_value_that_is_no_such_date_leaves_the_whole_column_text(tmp_path: Path, odd: Cell) -> None:
    path = tmp_path / "dates.xlsx"
    columns = [Column("at", Kind.ANY, "DATE"), Column("as", Kind.TEXT, "TEXT")]
    written("xlsx", path, columns, [[("2024-01-01", "2024-01-01")], [(odd, "x")]])
    assert by_openpyxl(path)[1:] == [["2024-01-01", "2024-01-01"], [odd, "x"]]


def test_the_sheet_about_says_whether_rows_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "part.xlsx"
    written("xlsx", path, COLUMNS, [ROWS[:3]])
    workbook = openpyxl.load_workbook(path)
    said = {row[0].value: row[1].value for row in workbook["About"].iter_rows()}
    assert said["Complete"] == "no, rows are missing"
    assert (said["Rows expected"], said["Rows written"]) == (len(ROWS), 3)
    assert said["Note"] == "The table changed while it was read."


def test_more_columns_than_a_sheet_has_are_refused_with_a_sentence() -> None:
    columns = [Column("x", Kind.ANY)] * 16_385
    Writer(columns[1:], Options())
    with pytest.raises(InvalidRequest, match="at most 16,384 columns, this report has 16,385"):
        Writer(columns, Options())


def test_a_write_that_is_broken_off_leaves_no_file_and_its_error_comes_through(tmp_path: Path) -> None:
    path = tmp_path / "broken.xlsx"

    def chunks():  # type: ignore[no-untyped-def]
        yield ROWS
        raise TimeoutError("cancelled")

    with pytest.raises(TimeoutError, match="cancelled"):
        Writer(COLUMNS, Options()).write(path, chunks, about())
    assert not path.exists()


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("shop.orders", "orders"),
        ("shop.a[1]:b", "a_1__b"),
        ("shop.about", "about_"),
        ("shop." + "x" * 40, "x" * 31),
        ("shop." + "\U0001f600" * 20, "\U0001f600" * 15),
        ("shop.", "Report"),
    ],
)
def test_a_sheet_is_named_for_the_dataset_as_excel_allows(dataset: str, name: str) -> None:
    assert sheet_name(dataset, 1) == name
    assert len(sheet_name(dataset, 12).encode("utf-16-le")) <= 62


def test_columns_have_letters() -> None:
    assert [letters(position) for position in (0, 25, 26, 701, 702, 16_383)] == [
        "A",
        "Z",
        "AA",
        "ZZ",
        "AAA",
        "XFD",
    ]
