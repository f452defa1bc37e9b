"""The SSE stream of a report."""

from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter
from litestar.response import Stream

from app.errors import NotFound
from app.events import END, Events, Position, message
from app.fragments import Fragments
from app.permissions import User
from app.reports import Reports

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each message on at once
}


@get("/reports/{report_id:str}/events", include_in_schema=False)
async def events(
    report_id: FromPath[str],
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    events: NamedDependency[Events],
    fragments: NamedDependency[Fragments],
    after: FromQuery[str | None] = None,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> Stream:
    """Messages after `after=G.N`; the header of a reconnecting page wins."""
    try:
        await reports.get(user, report_id)
    except NotFound:
        if last_event_id is None:
            raise
        # A page that was connected would try for ever after an error status, so it is told and ended.
        return _stream(_gone(fragments))
    return _stream(events.follow(report_id, Position.parse(last_event_id or after)))


def _stream(parts: AsyncIterator[bytes]) -> Stream:
    return Stream(parts, media_type="text/event-stream", headers=_HEADERS)


async def _gone(fragments: Fragments) -> AsyncIterator[bytes]:
    yield message(fragments.gone()) + END


handlers = [events]
