"""The SSE stream of a report."""

from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter
from litestar.response import Stream

from app.errors import InvalidRequest, NotFound
from app.events import END, Events, Position, message
from app.fragments import Fragments
from app.pages import Pages
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
    pages: NamedDependency[Pages],
    after: FromQuery[str | None] = None,
    page: FromQuery[int | None] = None,
    keep: FromQuery[bool] = False,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> Stream:
    """Messages after `after=G.N`; the header of a reconnecting page wins.

    With `page` only that page's chunks come, with `keep` its first 100,000 rows as rows.
    """
    if page is not None and page < 1:
        raise InvalidRequest("`page` is the number of a page, 1 or more.")
    try:
        await reports.get(user, report_id)
    except NotFound:
        if last_event_id is None:
            raise
        # A page that was connected would try for ever after an error status, so it is told and ended.
        return _stream(_gone(fragments))
    position = Position.parse(last_event_id or after)
    return _stream(events.follow(report_id, position, pages.page(page, keep)))


def _stream(parts: AsyncIterator[bytes]) -> Stream:
    return Stream(parts, media_type="text/event-stream", headers=_HEADERS)


async def _gone(fragments: Fragments) -> AsyncIterator[bytes]:
    yield message(fragments.gone()) + END


handlers = [events]
