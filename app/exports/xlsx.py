"""XLSX, written as a zip stream of our own.
"""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

from app.errors import InvalidRequest
from app.exports import xlsx_dates
from app.exports.manifest import Manifest
from app.exports.writing import Chunks, Options
from app.exports.xlsx_cells import HEADER, Cells, letters, text_cell
from app.exports.xlsx_parts import (
    RELATIONS,
    Sheet,
    content_types,
    filter_range,
    sheet_head,
    sheet_name,
    sheet_tail,
    styles,
    workbook,
    workbook_relations,
)
from app.model import Column, Row

SHEET_ROWS = 1_048_576
_SHEET_COLUMNS = 16_384
# A part of 2 GiB would need zip64, which not all programs read; the rows then go on in the next sheet.
_SHEET_BYTES = 2_000_000_000
_ABOUT_WIDTHS = (150, 600)


def values(_options: Options) -> dict[str, str]:
    return {
        "NULL": "an empty cell",
        "integer": "a number; over 15 digits as text",
        "real": "a number; inf, -inf and nan as text",
        "text": "text, never a formula or a link; control characters as _x0001_, which Excel shows as such",
        "date": "a date where the column is declared so and each value is an ISO date from 1 March 1900 on without a zone",
        "binary": "base64 as text",
        "cut cell": "at most 32,767 characters, the last one an ellipsis",
        "text that is not UTF-8": "text, � for what is no character",
    }


class Writer:
    """`rows` and `size` bound a sheet, its header included."""

    def __init__(
        self,
        columns: Sequence[Column],
        _options: Options,
        *,
        rows: int = SHEET_ROWS,
        size: int = _SHEET_BYTES,
    ) -> None:
        if len(columns) > _SHEET_COLUMNS:
            raise InvalidRequest(
                f"A sheet has at most {_SHEET_COLUMNS:,} columns and this report {len(columns):,}; choose CSV."
            )
        self._columns = columns
        self._rows, self._size = rows, size
        self.passes = 2 if xlsx_dates.declared(columns) else 1

    def write(self, path: Path, chunks: Chunks, about: Manifest) -> Manifest:
        dates = xlsx_dates.dates(self._columns, chunks()) if self.passes == 2 else frozenset()
        cells = Cells(len(self._columns), dates)
        with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
            # First, because programs tell by it what kind of archive this is.
            archive.writestr("_rels/.rels", RELATIONS)
            sheets = _Sheets(self, archive, cells, about.dataset)
            ...
