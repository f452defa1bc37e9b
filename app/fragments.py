"""The pieces of a report's page: the same templates serve the page, the stream and single requests."""

import threading
from collections.abc import Sequence

from cachetools import LRUCache
from jinja2 import Environment
from markupsafe import Markup

from app import render
from app.codec import decode
from app.layout import ROW_HEIGHT
from app.model import Chunk, Report

_CACHE_BYTES = 16 * 2**20  # about 80 chunks of 200 KB: viewers of one report are rarely further apart


class Fragments:
    def __init__(self, environment: Environment, page_chunks: int) -> None:
        self.page_chunks = page_chunks
        self._chunk = environment.get_template("reports/_chunk.html")
        self._placeholder = environment.get_template("reports/_placeholder.html")
        self._event = environment.get_template("reports/_event.html")
        self._gone = environment.get_template("reports/_gone.html")
        self._style = environment.get_template("reports/table.css")
        self._rendered: LRUCache[tuple[str, int, int], str] = LRUCache(_CACHE_BYTES, getsizeof=len)
        self._lock = threading.Lock()

    def chunk(self, report: Report, chunk: Chunk) -> Markup:
        """The rows of a chunk as one element; a line of HTML for each block of 100 rows."""
        key = (report.id, chunk.generation, chunk.number)
        with self._lock:
            html = self._rendered.get(key)
        if html is None:
            lines = render.blocks(decode(chunk.payload), chunk.first_row)
            html = self._chunk.render(report=report, chunk=chunk, blocks=[Markup(line) for line in lines])
            with self._lock:
                if len(html) <= _CACHE_BYTES:
                    self._rendered[key] = html
        return Markup(html)

    def placeholder(self, report: Report, number: int, rows: int) -> Markup:
        """An element of the chunk's height that loads the chunk when it comes near the viewport."""
        return Markup(self._placeholder.render(report=report, number=number, height=rows * ROW_HEIGHT))

    def live_chunk(self, report: Report, chunk: Chunk) -> Markup:
        """What a stream sends for a chunk: its rows, or past the page's bound a placeholder."""
        if chunk.number > self.page_chunks:
            return self.placeholder(report, chunk.number, chunk.rows)
        return self.chunk(report, chunk)

    def page(self, report: Report, first: Sequence[Chunk], sizes: Sequence[tuple[int, int]]) -> Markup:
        """All chunks of a page: `first` as rows, the others of `sizes` (number, rows) as placeholders."""
        shown = {chunk.number: chunk for chunk in first}
        return Markup("\n").join(
            self.chunk(report, shown[number]) if number in shown else self.placeholder(report, number, rows)
            for number, rows in sizes
        )

    def event(self, report: Report, chunk: Chunk | None = None, *, reset: bool = False) -> str:
        """The HTML of one message: partials for the chunk, the progress, the status and the actions."""
        rows = None if chunk is None else self.live_chunk(report, chunk)
        first = chunk is not None and chunk.number == 1
        return self._event.render(report=report, rows=rows, first=first, reset=reset)

    def gone(self) -> str:
        """The HTML of the last message about a report that was deleted."""
        return self._gone.render()

    def style(self, report: Report) -> str:
        """The stylesheet that holds the report's column widths and alignment."""
        return self._style.render(report=report)
