"""The spool as server-sent events: what a viewer receives from where it is until the report is final.

The format follows what htmx's extension does with it (docs/streaming.md): line feeds only, one `data:`
line for each block of rows, an id with each chunk, pings that are named events.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from app import hints
from app.fragments import Fragments
from app.hints import Hints
from app.model import Report
from app.report_store import ReportStore
from app.spool import Spool

_POLL_SECONDS = 1.0  # hints come at once; this finds what another process wrote
_READ_CHUNKS = 2  # read at once for a viewer that is behind; a slow one holds what it did not take yet
_FRESH_SECONDS = 0.25  # a message's progress is younger, however long the viewer took for the one before

PING = b"event: ping\ndata: \n\n"
END = b"event: end\ndata: \n\n"


@dataclass(slots=True)
class Position:
    """The last chunk a viewer has: `G.N` in ids and URLs."""

    generation: int
    number: int

    @classmethod
    def parse(cls, text: str | None) -> "Position":
        """From `G.N`; anything else is the beginning."""
        found = re.fullmatch(r"(\d{1,9})\.(\d{1,9})", text or "", re.ASCII)
        return cls(int(found[1]), int(found[2])) if found else cls(0, 0)

    def __str__(self) -> str:
        return f"{self.generation}.{self.number}"


def message(html: str, event_id: Position | None = None) -> bytes:
    """An unnamed message; each line of `html` becomes a `data:` line."""
    head = f"id: {event_id}\n" if event_id else ""
    # A carriage return, which a column's name may hold, would end the line too.
    html = html.replace("\r", "&#13;")
    lines = "".join([f"data: {line}\n" for line in html.split("\n") if line])
    return f"{head}{lines}\n".encode()


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

    async def follow(self, report_id: str, position: Position) -> AsyncGenerator[bytes]:
        """Messages from after `position` to the final status; then `event: end`."""
        viewer = _Viewer(position)
        with self._hints.listen(hints.chunks(report_id)) as hint:
            while not self._stopping:
                hint.clear()
                viewer.looks()
                report = await self._store.get(report_id)
                if report is None:
                    yield message(self._fragments.gone()) + END
                    return
                async for part in self._news(viewer, report):
                    viewer.touch()
                    handed = [part]
                    del part  # a slow line would keep it here, too, until it took it
                    yield handed.pop()
                if viewer.finished:
                    yield END
                    return
                await hint.wait(min(_POLL_SECONDS, self._ping_seconds - viewer.silent_seconds()))
                if viewer.silent_seconds() >= self._ping_seconds:
                    viewer.touch()
                    yield PING

    async def _news(self, viewer: "_Viewer", report: Report) -> AsyncIterator[bytes]:
        """What the viewer has not seen yet; `report` is as it stood when it was last read."""
        position = viewer.position
        if position.generation != report.generation:
            if position.generation:
                yield message(self._fragments.event(report, reset=True))
            position.generation, position.number = report.generation, 0
        while viewer.lacks_chunks(report) and not self._stopping:
            chunks = await self._spool.read(report.id, position.generation, position.number, _READ_CHUNKS)
            if not chunks:
                return  # a new generation began meanwhile; the next look at the report tells
            while chunks:
                report = await self._fresh(viewer, report)
                if report.generation != position.generation:
                    return
                position.number = chunks[0].number
                yield message(self._fragments.event(report, chunks.pop(0)), position)
            viewer.sees(report)
        if viewer.sees(report):
            yield message(self._fragments.event(report))
        # A generation that began meanwhile is for the next look.
        same = position.generation == report.generation
        viewer.finished = report.status.final and same and not viewer.lacks_chunks(report)

    async def _fresh(self, viewer: "_Viewer", report: Report) -> Report:
        """`report`, read again if it is old by now: a slow viewer too is told how far the runner is."""
        if viewer.seconds_since_look() < _FRESH_SECONDS:
            return report
        viewer.looks()
        return await self._store.get(report.id) or report


class _Viewer:
    """Where one stream is."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.finished = False
        self._seen: object = None
        self.looks()
        self.touch()

    def lacks_chunks(self, report: Report) -> bool:
        """Whether there are more chunks of this viewer's generation."""
        return self.position.generation == report.generation and self.position.number < report.chunks

    def sees(self, report: Report) -> bool:
        """Whether the report's progress differs from what this viewer was sent last."""
        state = (report.status, report.rows, report.total, report.total_kind, report.notes)
        news, self._seen = state != self._seen, state
        return news

    def looks(self) -> None:
        """The report is read now."""
        self._looked_at = asyncio.get_running_loop().time()

    def seconds_since_look(self) -> float:
        return asyncio.get_running_loop().time() - self._looked_at

    def touch(self) -> None:
        self._sent_at = asyncio.get_running_loop().time()

    def silent_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._sent_at
