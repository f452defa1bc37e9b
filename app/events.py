"""The spool as server-sent events: what a viewer receives from where it is until the report is final."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import takewhile

from app import hints
from app.errors import StateUnavailable
from app.fragments import Fragments
from app.hints import Hints
from app.model import Chunk, Extent, Report
from app.pages import Page
from app.report_store import ReportStore
from app.spool import Spool
from app.sse import END, PING, Position, message

_POLL_SECONDS = 1.0  # hints come at once; this finds what a lost one would have told
_READ_CHUNKS = 2  # read at once for a viewer that is behind; a slow one holds what it did not take yet
_PLACEHOLDERS = 50  # told at once to such a viewer
_FRESH_SECONDS = 0.25  # a message's progress is younger, however long the viewer took for the one before
_PROGRESS_SECONDS = 0.25  # between messages that bring no chunk
_SPEECH_SECONDS = 5.0  # between changes of what screen readers read out, while the status stays the same

_RESTARTING = "The server is restarting. Your report goes on."
_AWAY = "The server cannot reach its own database and keeps trying. Your report goes on."


class Events:
    """Makes the streams of one process."""

    def __init__(
        self, store: ReportStore, spool: Spool, fragments: Fragments, wake: Hints, ping_seconds: float
    ) -> None:
        self._store = store
        self._spool = spool
        self._fragments = fragments
        self._hints = wake
        self._ping_seconds = ping_seconds
        self._stopping = False

    def stop(self) -> None:
        """Ends all streams: the server stops. The pages reconnect by themselves."""
        self._stopping = True
        self._hints.notify_all()

    async def follow(self, report_id: str, position: Position, page: Page) -> AsyncGenerator[bytes]:
        """Messages from after `position` to the final status; then `event: end`.

        Chunks of other pages than `page` are not sent, only how far the report is.
        """
        viewer = _Viewer(position, page)
        with self._hints.listen(hints.chunks(report_id)) as hint:
            while not self._stopping:
                hint.clear()
                try:
                    async for part in self._look(report_id, viewer):
                        viewer.touch()
                        handed = [part]
                        del part  # a slow line would keep it here, too, until it took it
                        yield handed.pop()
                except StateUnavailable:
                    if not viewer.opening:
                        viewer.opening = True
                        yield message(self._fragments.notice(_AWAY))
                if viewer.finished:
                    yield END
                    return
                if viewer.full:  # only the progress is left to tell
                    await asyncio.sleep(_PROGRESS_SECONDS)
                await hint.wait(min(_POLL_SECONDS, self._ping_seconds - viewer.silent_seconds()))
                if viewer.silent_seconds() >= self._ping_seconds:
                    viewer.touch()
                    yield PING
        yield message(self._fragments.notice(_RESTARTING))

    async def _look(self, report_id: str, viewer: "_Viewer") -> AsyncIterator[bytes]:
        """The messages about what happened since the last look."""
        viewer.looks()
        report = await self._store.get(report_id)
        if report is None:
            viewer.finished = True
            yield message(self._fragments.gone())
            return
        async for part in self._news(viewer, report):
            yield part

    async def _news(self, viewer: "_Viewer", report: Report) -> AsyncIterator[bytes]:
        """What the viewer has not seen yet; `report` is as it stood when it was last read."""
        if viewer.position.generation != report.generation:
            if viewer.position.generation:
                yield message(self._fragments.event(report, page=viewer.page, reset=True))
            viewer.begin(report.generation)
        position = viewer.position
        while viewer.lacks_chunks(report) and not self._stopping:
            chunks = await self._chunks(viewer, report)
            if not chunks:
                break
            while chunks:
                report = await self._fresh(viewer, report)
                if report.generation != position.generation:
                    return
                extent, chunk = chunks.pop(0)
                position.number = extent.number
                yield message(self._event(viewer, report, extent, chunk), position)
        # A generation that began meanwhile is for the next look.
        same = position.generation == report.generation
        viewer.finished = report.status.final and same and not viewer.lacks_chunks(report)
        if viewer.sees(report):
            yield message(self._event(viewer, report))

    async def _chunks(self, viewer: "_Viewer", report: Report) -> list[tuple[Extent, Chunk | None]]:
        """The next chunks of the viewer's page, without their rows past the bound; none at its end."""
        position, page = viewer.position, viewer.page
        found = await self._spool.extents(
            report.id, position.generation, page, position.number, _PLACEHOLDERS
        )
        # What was appended since the report was read waits: its widths may not be known yet.
        extents = [extent for extent in found if extent.number <= report.chunks]
        if not extents:
            viewer.full = True
            return []
        if not page.live(extents[0]):
            far = takewhile(lambda extent: not page.live(extent), extents)
            return [(extent, None) for extent in far]
        before = extents[0].number - 1
        near = await self._spool.read(report.id, position.generation, before, _READ_CHUNKS)
        return [
            (chunk.extent, chunk)
            for chunk in near
            if chunk.number <= report.chunks and page.holds(chunk.extent) and page.live(chunk.extent)
        ]

    def _event(
        self, viewer: "_Viewer", report: Report, extent: Extent | None = None, chunk: Chunk | None = None
    ) -> str:
        rows = None
        if extent is not None:
            rows = (
                self._fragments.chunk(report, chunk) if chunk else self._fragments.placeholder(report, extent)
            )
        viewer.sees(report)
        opening, viewer.opening = viewer.opening, False
        return self._fragments.event(
            report,
            rows,
            page=viewer.page,
            first=extent is not None and extent.number == 1,
            notes=viewer.reads(report),
            opening=opening,
            spoken=viewer.heard(report),
        )

    async def _fresh(self, viewer: "_Viewer", report: Report) -> Report:
        """`report`, read again if it is old by now: a slow viewer too is told how far the runner is."""
        if viewer.seconds_since_look() < _FRESH_SECONDS:
            return report
        viewer.looks()
        return await self._store.get(report.id) or report


class _Viewer:
    """Where one stream is, and what it was sent last."""

    def __init__(self, position: Position, page: Page) -> None:
        self.position = position
        self.page = page
        self.finished = False
        self.full = False  # no more chunks belong to the page
        self.opening = True  # whatever the page said of the line or the server is over with the next message
        self._seen: object = None
        self._read: object = None
        self._heard: Report | None = None
        self._heard_at = 0.0
        self.looks()
        self.touch()

    def begin(self, generation: int) -> None:
        self.position = Position(generation, 0)
        self.full = False

    def lacks_chunks(self, report: Report) -> bool:
        """Whether there are more chunks of this viewer's generation for its page."""
        position = self.position
        return position.generation == report.generation and position.number < report.chunks and not self.full

    def sees(self, report: Report) -> bool:
        """Whether the report's progress differs from what this viewer was sent last."""
        counts = (report.rows, report.total, report.total_kind, report.ahead)
        state = (report.status, *counts, report.notes, report.trouble)
        news, self._seen = state != self._seen, state
        return news

    def reads(self, report: Report) -> bool:
        """Whether the report says something else about itself than when this viewer last read it."""
        said = (report.notes, report.trouble, report.error)
        news, self._read = said != self._read, said
        return news

    def heard(self, report: Report) -> Report:
        """The report as it may be read out now: a new status at once, else as it was some seconds ago."""
        now = asyncio.get_running_loop().time()
        same = self._heard is not None and self._heard.status is report.status
        if self._heard is None or not same or now - self._heard_at >= _SPEECH_SECONDS:
            self._heard, self._heard_at = report, now
        return self._heard

    def looks(self) -> None:
        """The report is read now."""
        self._looked_at = asyncio.get_running_loop().time()

    def seconds_since_look(self) -> float:
        return asyncio.get_running_loop().time() - self._looked_at

    def touch(self) -> None:
        self._sent_at = asyncio.get_running_loop().time()

    def silent_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._sent_at
