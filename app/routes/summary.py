"""The summaries above a report's columns, and whether a person wants to see them."""

from typing import Any, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.permissions import User
from app.reports import Reports
from app.routes.access import AnyRequest
from app.summaries import Summaries

COOKIE = "rowfall_summary"
_YEAR = 365 * 86_400  # seconds
_WORK = 0.2  # seconds that a look may cost; the page looks once a second until the summary is complete

Show = Literal["hidden", "shown"]


def is_hidden(request: AnyRequest) -> bool:
    """Whether this person hid the summaries."""
    return request.cookies.get(COOKIE) == "hidden"


@get("/reports/{report_id:str}/summary", include_in_schema=False)
async def summary(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    summaries: NamedDependency[Summaries],
    show: FromQuery[Show | None] = None,
) -> Response[Any]:
    report = await reports.get(user, report_id)
    response: Response[Any]
    if not request.headers.get("hx-request"):
        response = Redirect(f"/reports/{report_id}", status_code=303)
    else:
        hidden = is_hidden(request) if show is None else show == "hidden"
        found = None if hidden else await summaries.of(report, _WORK)
        context = {"report": report, "summary": found, "summary_hidden": hidden}
        response = Template("reports/_summary.html", context=context, headers={"Cache-Control": "no-store"})
    if show is not None:
        response.set_cookie(COOKIE, show, httponly=True, samesite="lax", max_age=_YEAR, path="/")
    return response


handlers = [summary]
