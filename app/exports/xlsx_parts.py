"""The parts of a workbook beside its rows (ECMA-376, SpreadsheetML)."""

from collections.abc import Sequence
from typing import NamedTuple

from app.exports.xlsx_cells import written
from app.exports.xlsx_dates import FORMATS

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"

_DATE = 164  # the first number format that is not built in
_PIXELS, _PADDING, _WIDEST = 7, 5, 255  # of a digit; of a cell; characters in a column


class Sheet(NamedTuple):
    name: str
    filtered: str  # the range with filter buttons, such as A1:C9; "" without


RELATIONS = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
)


def content_types(sheets: int) -> str:
    parts = [("/xl/workbook.xml", "sheet.main"), ("/xl/styles.xml", "styles")]
    parts += [(f"/xl/worksheets/sheet{number}.xml", "worksheet") for number in range(1, sheets + 1)]
    overrides = "".join(
        f'<Override PartName="{part}" ContentType="{_TYPE}.{kind}+xml"/>' for part, kind in parts
    )
    return (
        f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def workbook(sheets: Sequence[Sheet]) -> str:
    listed = "".join(
        f'<sheet name="{_attribute(sheet.name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, sheet in enumerate(sheets, 1)
    )
    filters = "".join(
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{number}" hidden="1">'
        f"{_attribute(_reference(sheet))}</definedName>"
        for number, sheet in enumerate(sheets)
        if sheet.filtered
    )
    return (
        f'{_HEAD}<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets>'
        f"{f'<definedNames>{filters}</definedNames>' if filters else ''}</workbook>"
    )


def workbook_relations(sheets: int) -> str:
    listed = [
        (f"rId{number}", "worksheet", f"worksheets/sheet{number}.xml") for number in range(1, sheets + 1)
    ]
    listed.append((f"rId{sheets + 1}", "styles", "styles.xml"))
    return (
        f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
            for name, kind, target in listed
        )
        + "</Relationships>"
    )


def styles() -> str:
    """In this order: plain, header, integer (with all digits), then a date by the length of its text."""
    formats = [
        f'<numFmt numFmtId="{_DATE + at}" formatCode="{code}"/>' for at, code in enumerate(FORMATS.values())
    ]
    cells = ['<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>']
    cells.append('<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>')
    cells += [
        f'<xf numFmtId="{number}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
        for number in (1, *range(_DATE, _DATE + len(FORMATS)))
    ]
    font = '<sz val="11"/><name val="Calibri"/><family val="2"/>'
    return (
        f'{_HEAD}<styleSheet xmlns="{_SHEET}"><numFmts count="{len(formats)}">{"".join(formats)}</numFmts>'
        f'<fonts count="2"><font>{font}</font><font><b/>{font}</font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        f'<cellXfs count="{len(cells)}">{"".join(cells)}</cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    )


def sheet_head(widths: Sequence[int]) -> str:
    """Up to the first row, which stays in view; `widths` are pixels, 0 where the column has none."""
    columns = "".join(
        f'<col min="{number}" max="{number}" width="{_characters(width)}" customWidth="1"/>'
        for number, width in enumerate(widths, 1)
        if width
    )
    return (
        f'{_HEAD}<worksheet xmlns="{_SHEET}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
        f"{f'<cols>{columns}</cols>' if columns else ''}<sheetData>"
    )


def sheet_tail(filtered: str) -> str:
    return f'</sheetData>{f"""<autoFilter ref="{filtered}"/>""" if filtered else ""}</worksheet>'


def sheet_name(dataset: str, number: int) -> str:
    """A name that Excel takes: at most 31 characters, some not among them; from the second sheet numbered."""
    name = "".join("_" if letter in "[]:*?/\\'" or ord(letter) < 32 else letter for letter in dataset)
    name = name.rpartition(".")[2].strip() or "Report"
    if name.lower() in ("about", "history"):  # the one is ours, the other is Excel's
        name = f"{name}_"
    suffix = f" ({number})" if number > 1 else ""
    room = (31 - len(suffix)) * 2
    return name.encode("utf-16-le")[:room].decode("utf-16-le", "ignore") + suffix


def _reference(sheet: Sheet) -> str:
    first, _, last = sheet.filtered.partition(":")
    corner = last.rstrip("0123456789")
    return f"'{sheet.name}'!$A${first[1:]}:${corner}${last[len(corner) :]}"


def _attribute(text: str) -> str:
    return written(text).replace('"', "&quot;")


def _characters(pixels: int) -> float:
    return round(min(_WIDEST, max(1, (pixels - _PADDING) / _PIXELS)), 2)
