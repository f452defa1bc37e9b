"""ISO dates that a database holds as text -> dates of a workbook."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache

from app.model import Cell, Column, Row

_DECLARED = re.compile(r"(?:DATE|DATETIME|TIMESTAMP)\b", re.IGNORECASE)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{3})?)?)?", re.ASCII)
# Excel counts a 29 February 1900 that never was: up to that day programs disagree on the date of a number.
_FIRST = date(1900, 3, 1)
_DAY_0 = date(1899, 12, 30).toordinal()

# Text of this length -> the number format that shows it as it was.
FORMATS = {
    10: "yyyy\\-mm\\-dd",
    16: "yyyy\\-mm\\-dd\\ hh:mm",
    19: "yyyy\\-mm\\-dd\\ hh:mm:ss",
    23: "yyyy\\-mm\\-dd\\ hh:mm:ss.000",
}


def declared(columns: Sequence[Column]) -> list[int]:
    """The positions of columns that are declared as dates or times."""
    return [position for position, column in enumerate(columns) if _DECLARED.match(column.declared)]


def dates(columns: Sequence[Column], chunks: Iterable[Sequence[Row]]) -> frozenset[int]:
    """The positions of columns declared as dates whose cells are all NULL or a date that a workbook holds."""
    found = set(declared(columns))
    for rows in chunks:
        found -= {position for position in found if not all(_is_date(row[position]) for row in rows)}
        if not found:
            break
    return frozenset(found)


def _is_date(cell: Cell) -> bool:
    return cell is None or (type(cell) is str and serial(cell) is not None)


@lru_cache(8192)  # dates repeat; texts that are none are short here, too
def serial(text: str) -> str | None:
    """Days since 30 December 1899 as a number's text; None if it is no such date."""
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # there is no such day or time
        return None
    if moment.date() < _FIRST:
        return None
    days = moment.toordinal() - _DAY_0
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6
    return repr(days + seconds / 86_400) if seconds else str(days)
