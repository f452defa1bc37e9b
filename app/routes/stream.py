"""The SSE stream of a report."""

from collections.abc import AsyncGenerator
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter
from litestar.response import Stream

from app.compression import UNCOMPRESSED, compressed, negotiated
from app.errors import InvalidRequest, NotFound
from app.events import Events
from app.fragments import Fragments
from app.pages import Pages
from app.permissions import User
from app.reports import Reports
from app.sse import END, Position, message

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each message on at once
    "Vary": "Accept-Encoding",
}


# Each message is flushed here, by a compressor whose memory is known, so the middleware stays away.
@get("/reports/{report_id:str}/events", include_in_schema=False, opt={UNCOMPRESSED: True})
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
    accept_encoding: Annotated[str | None, HeaderParameter(name="Accept-Encoding")] = None,
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
        return _stream(_gone(fragments), accept_encoding)
    position = Position.parse(last_event_id or after)
    return _stream(events.follow(report_id, position, pages.page(page, keep)), accept_encoding)


def _stream(parts: AsyncGenerator[bytes], accept_encoding: str | None) -> Stream:
    encoding = negotiated(accept_encoding)
    if encoding is None:
        return Stream(parts, media_type="text/event-stream", headers=_HEADERS)
    headers = _HEADERS | {"Content-Encoding": encoding}
    return Stream(compressed(parts, encoding), media_type="text/event-stream", headers=headers)


async def _gone(fragments: Fragments) -> AsyncGenerator[bytes]:
    yield message(fragments.gone()) + END


handlers = [events]
