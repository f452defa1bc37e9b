"""The pieces of a report's page: the same templates serve the page, the stream and single requests."""

import threading
from collections.abc import Sequence

from cachetools import LRUCache
from jinja2 import Environment
from markupsafe import Markup

from app import render
from app.codec import decode
from app.layout import ROW_HEIGHT
from app.model import Chunk, Extent, Report
from app.pages import Page

_WHOLE = Page()
_CACHE_BYTES = 16 * 2**20  # about 80 chunks of 200 KB: viewers of one report are rarely further apart


class Fragments:
    def __init__(self, environment: Environment) -> None:
        self._chunk = environment.get_template("reports/_chunk.html")
        self._placeholder = environment.get_template("reports/_placeholder.html")
        self._event = environment.get_template("reports/_event.html")
        self._notice = environment.get_template("reports/_notice.html")
        self._gone = environment.get_template("reports/_gone.html")
        self._style = environment.get_template("reports/table.css")
        self._rendered: LRUCache[tuple[str, int, int], str] = LRUCache(_CACHE_BYTES, getsizeof=len)
        self._lock = threading.Lock()

    def chunk(self, report: Report, chunk: Chunk) -> Markup:
        """The rows of a chunk as one element; a line of HTML for each block of 100 rows.

        It holds its placeholder as a template, so that a page can empty it again.
        """
        key = (report.id, chunk.generation, chunk.number)
        with self._lock:
            html = self._rendered.get(key)
        if html is None:
            lines = render.blocks(decode(chunk.payload), chunk.first_row)
            html = self._chunk.render(
                report=report,
                chunk=chunk,
                placeholder=self.placeholder(report, chunk.extent, spare=True),
                blocks=[Markup(line) for line in lines],
            )
            with self._lock:
                if len(html) <= _CACHE_BYTES:
                    self._rendered[key] = html
        return Markup(html)

    def placeholder(self, report: Report, extent: Extent, *, spare: bool = False) -> Markup:
        """An element of the chunk's height that loads the chunk when it comes near the viewport.

        A spare one, inside the chunk that it may replace, has no number of its own.
        """
        height = extent.rows * ROW_HEIGHT
        return Markup(self._placeholder.render(report=report, extent=extent, height=height, spare=spare))

    def page(
        self,
        report: Report,
        extents: Sequence[Extent],
        shown: Chunk | None,
        marked: int = 0,
        found: bool = False,
    ) -> Markup:
        """All chunks of a page: `shown` as rows with one marked, the others as placeholders."""
        return Markup("\n").join(
            Markup(render.marked(self.chunk(report, shown), marked, found=found))
            if shown and shown.number == extent.number
            else self.placeholder(report, extent)
            for extent in extents
        )

    def event(
        self,
        report: Report,
        rows: Markup | None = None,
        *,
        page: Page = _WHOLE,
        first: bool = False,
        reset: bool = False,
        notes: bool = True,
        opening: bool = False,
        spoken: Report | None = None,
    ) -> str:
        """The HTML of one message: partials for the progress, and for what else is new.

        `rows` is what comes to the end of the table, `first` says that the columns' widths are known now,
        `notes` asks for what the report says about itself, `opening` takes away what the page said of the
        server, `spoken` is the report as the status tells it: screen readers read it out with each change.
        """
        return self._event.render(
            report=report,
            page=page,
            rows=rows,
            first=first,
            reset=reset,
            notes=notes,
            opening=opening,
            spoken=spoken or report,
        )

    def notice(self, sentence: str) -> str:
        """The HTML of a message about the server, which the first message of the next stream takes away."""
        return self._notice.render(notice=sentence)

    def gone(self) -> str:
        """The HTML of the last message about a report that was deleted."""
        return self._gone.render()

    def style(self, report: Report) -> str:
        """The stylesheet that holds the report's column widths and alignment."""
        return self._style.render(report=report)
