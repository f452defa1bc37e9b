"""XLSX: the XML of the sheets is made here and goes into the zip file chunk by chunk.

That takes a seventh of XlsxWriter's time in the same memory (bench/EXPORTS.md). rustpy-xlsxwriter 0.8, the
other one that streams, took 1.4 times as long as this and lost values: integers over 15 digits became
doubles, empty text no cell, and bytes their Python spelling.
"""

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from app.errors import InvalidRequest
from app.exports import xlsx_dates, xlsx_parts
from app.exports.manifest import Manifest
from app.exports.writing import Chunks, Options
from app.exports.xlsx_cells import HEADER, Cells, letters, text_cell
from app.exports.xlsx_parts import Sheet
from app.model import Column, Row

SHEET_ROWS = 1_048_576
_SHEET_COLUMNS = 16_384
# A part of 2 GiB needs zip64, which not every program reads: the rows then go on in the next sheet.
_SHEET_BYTES = 1_900_000_000
_ABOUT = "About"
_ABOUT_WIDTHS = (150, 600)  # pixels
_LEVEL = 1  # of compression: 6 takes three times as long and leaves 15 % less


def values(_options: Options) -> dict[str, str]:
    return {
        "NULL": "no cell",
        "integer": "a number; with more than 15 digits text",
        "real": "a number; inf, -inf, nan and what is nearer to 0 than 2.2e-308 as text",
        "text": "text, never a formula or a link; control characters as _x0001_, which Excel reads as such",
        "date": "a date where a column is declared so and has ISO dates from 1900-03-01 on, all without zone",
        "binary": "base64, as text",
        "cut cell": "at most 32,767 characters, the last of them …",
        "text that is not UTF-8": "text with � for what is no character",
    }


class Writer:
    def __init__(self, columns: Sequence[Column], _options: Options, *, sheet_rows: int = SHEET_ROWS) -> None:
        if len(columns) > _SHEET_COLUMNS:
            raise InvalidRequest(
                f"A sheet of a workbook has at most {_SHEET_COLUMNS:,} columns, this report has "
                f"{len(columns):,}. Download it as CSV."
            )
        self._columns = columns
        self._sheet_rows = sheet_rows
        self.passes = 2 if xlsx_dates.declared(columns) else 1

    def write(self, path: Path, chunks: Chunks, about: Manifest) -> Manifest:
        try:
            dates = xlsx_dates.dates(self._columns, chunks()) if self.passes == 2 else frozenset[int]()
            with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                return self._write(archive, chunks, dates, about)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _write(self, archive: ZipFile, chunks: Chunks, dates: frozenset[int], about: Manifest) -> Manifest:
        # The first part, because programs tell by it what kind of archive this is.
        archive.writestr("_rels/.rels", xlsx_parts.RELATIONS)
        cells = Cells(len(self._columns), dates)
        with _Sheets(archive, self._columns, cells, about.dataset, self._sheet_rows) as sheets:
            for rows in chunks():
                sheets.add(rows)
        done = about.written(sheets.written, cells.cut, cells.undecodable, _notes(sheets.names))
        archive.writestr(f"xl/worksheets/sheet{len(sheets.names) + 1}.xml", _about(done))
        named = [*sheets.names, Sheet(_ABOUT, "")]
        archive.writestr("xl/styles.xml", xlsx_parts.styles())
        archive.writestr("xl/workbook.xml", xlsx_parts.workbook(named))
        archive.writestr("xl/_rels/workbook.xml.rels", xlsx_parts.workbook_relations(len(named)))
        archive.writestr("[Content_Types].xml", xlsx_parts.content_types(len(named)))
        return done


class _Sheets:
    """The sheets of a report: when one is full, the next one begins with the header again."""

    def __init__(
        self, archive: ZipFile, columns: Sequence[Column], cells: Cells, dataset: str, sheet_rows: int
    ) -> None:
        self._archive = archive
        self._columns = columns
        self._cells = cells
        self._dataset = dataset
        self._sheet_rows = sheet_rows
        self.names: list[Sheet] = []
        self.written = 0

    def __enter__(self) -> "_Sheets":
        self._begin()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self._end()
        else:
            self._part.close()

    def add(self, rows: Sequence[Row]) -> None:
        while rows:
            if self._row == self._sheet_rows or self._size > _SHEET_BYTES:
                self._end()
                self._begin()
            room = self._sheet_rows - self._row
            self._put(self._cells.rows(rows[:room], self._row + 1))
            self._row += len(rows[:room])
            self.written += len(rows[:room])
            rows = rows[room:]

    def _begin(self) -> None:
        number = len(self.names) + 1
        self._part = self._archive.open(f"xl/worksheets/sheet{number}.xml", "w")
        self._row, self._size = 1, 0
        self._put(xlsx_parts.sheet_head([column.width for column in self._columns]))
        self._put(_header([column.name for column in self._columns]))

    def _end(self) -> None:
        filtered = f"A1:{letters(len(self._columns) - 1)}{self._row}"
        self._put(xlsx_parts.sheet_tail(filtered))
        self._part.close()
        self.names.append(Sheet(xlsx_parts.sheet_name(self._dataset, len(self.names) + 1), filtered))

    def _put(self, xml: str) -> None:
        data = xml.encode()
        self._size += len(data)
        self._part.write(data)


def _header(names: Sequence[str]) -> str:
    cells = (text_cell(f"{letters(at)}1", name, HEADER) for at, name in enumerate(names))
    return f'<row r="1">{"".join(cells)}</row>'


def _notes(sheets: Sequence[Sheet]) -> list[str]:
    if len(sheets) == 1:
        return []
    return [f"The rows are in {len(sheets)} sheets, one after the other; each begins with the header."]


def _about(manifest: Manifest) -> str:
    cells = Cells(2, frozenset())
    return "".join(
        [
            xlsx_parts.sheet_head(_ABOUT_WIDTHS),
            _header(["About this file", "Value"]),
            cells.rows(manifest.about(), 2),
            xlsx_parts.sheet_tail(""),
        ]
    )
