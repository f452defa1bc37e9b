"""Which part of a report one document holds: a page of rows, and how many of its chunks live in it as rows.

Browsers cap the height of an element: Firefox at 17,895,698 pixels, past which a height becomes 0, Chromium
and WebKit at 33,554,400. At 26 pixels a row Firefox ends at 688,000 rows, so a page has 500,000 (the setting
`page_rows`).
"""

from dataclasses import dataclass

from app.model import Extent

KEPT_ROWS = 100_000  # that a person may keep in the document, for which Chromium takes about 0.6 GB


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a report, numbered from 1. Without an end (`rows` is None) it is the whole report."""

    number: int = 1
    rows: int | None = None
    live_chunks: int = 20
    keep: bool = False  # the person asked to keep rows in the document

    @property
    def first_row(self) -> int:
        return 1 if self.rows is None else (self.number - 1) * self.rows + 1

    @property
    def last_row(self) -> int | None:
        return None if self.rows is None else self.number * self.rows

    def holds(self, extent: Extent) -> bool:
        """Whether the chunk belongs to this page: its first row does."""
        return self.first_row <= extent.first_row and (
            self.last_row is None or extent.first_row <= self.last_row
        )

    def live(self, extent: Extent) -> bool:
        """Whether a stream sends the chunk's rows, and not a placeholder that loads when it is near.

        Only the report's first chunks: whoever opens a later page looks at one place of it.
        """
        return extent.number <= self.live_chunks or (self.keep and extent.first_row <= KEPT_ROWS)

    def count(self, rows: int) -> int:
        """The number of pages of a report with so many rows, at least 1."""
        return 1 if self.rows is None else max(1, -(-rows // self.rows))

    def span(self, number: int, rows: int) -> tuple[int, int]:
        """The first and last row of a page of a report with so many rows."""
        size = self.rows or rows
        return (number - 1) * size + 1, min(number * size, rows)


class Pages:
    """How the reports of this server are cut into pages."""

    def __init__(self, page_rows: int, live_chunks: int) -> None:
        self._rows = page_rows
        self._live_chunks = live_chunks

    def page(self, number: int | None, keep: bool = False) -> Page:
        """The page with this number; None is the whole report, for programs that follow it."""
        return Page(number or 1, self._rows if number else None, self._live_chunks, keep and number == 1)

    def of_row(self, row: int, keep: bool = False) -> Page:
        return self.page((max(1, row) - 1) // self._rows + 1, keep)
