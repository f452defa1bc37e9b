"""The pages and fragments of reports."""

import asyncio
from typing import Any

from litestar import MediaType, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app import hints
from app.errors import InvalidRequest, NotFound, RowfallError
from app.find import Found
from app.fragments import Fragments
from app.hints import Hints
from app.model import Report
from app.pages import Pages
from app.permissions import User
from app.report_store import ReportStore
from app.reports import Reports
from app.routes.access import AnyRequest
from app.routes.rows import answer_again
from app.routes.summary import is_hidden
from app.spool import Spool
from app.sse import Position

_HISTORY = 100
_FIRST_SECONDS = 0.2  # a page may wait this long for the first rows, which then show at the first paint
_KEEP = {"Cache-Control": "private, max-age=86400, immutable"}  # a chunk of a generation never changes


@get("/reports", include_in_schema=False)
async def index(
    user: NamedDependency[User], store: NamedDependency[ReportStore], active: FromQuery[bool] = False
) -> Template:
    """The latest reports; with `active` those that run or wait."""
    reports = await (store.running(user.account) if active else store.latest(user.account, _HISTORY))
    return Template("reports/index.html", context={"user": user, "section": "reports", "reports": reports})


@get("/reports/{report_id:str}", include_in_schema=False)
async def show(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    spool: NamedDependency[Spool],
    wake: NamedDependency[Hints],
    fragments: NamedDependency[Fragments],
    pages: NamedDependency[Pages],
    row: FromQuery[int] = 1,
    keep: FromQuery[bool] = False,
    q: FromQuery[str] = "",
    found: FromQuery[str] = "",
) -> Template:
    """The page of the report that holds the row; `keep` asks for all rows of a report in the document.

    `q` was sought, and `found` in that row or in `none`.
    """
    report = await _with_first_rows(report_id, user, reports, wake)
    row = max(1, min(row, report.rows))
    # Of rows that came meanwhile `report` does not know the widths yet. The stream goes on from here.
    shown = await spool.chunk_of_row(report.id, report.generation, row) if report.chunks else None
    page = pages.of_row(shown.first_row if shown else 1, keep)
    all_extents = await spool.extents(report.id, report.generation, page)
    extents = [extent for extent in all_extents if extent.number <= report.chunks]
    if page.keep and shown:  # the stream brings the others, in the pace of the browser
        extents = extents[:1]
        shown = await spool.chunk(report.id, report.generation, 1)
    search = await answer_again(spool, report, q, found) if q else {}
    match: Found | None = search.get("found")
    marked = match.row if match else row if row > 1 else 0
    context = search | {
        "user": user,
        "section": "reports",
        "report": report,
        "page": page,
        "marked": marked,
        "q": q,
        "found": match,
        "row": row,
        "shown": shown,
        "chunks": fragments.page(report, extents, shown, marked, match is not None),
        "position": Position(report.generation, extents[-1].number if extents else 0),
        "streams": not report.status.final or (page.keep and report.chunks > 1),
        "summary": None,  # the page asks for it when it has shown the rows
        "summary_hidden": is_hidden(request),
    }
    # The page of a running report is old at once: going back to it must ask again.
    return Template("reports/show.html", context=context, headers={"Cache-Control": "no-store"})


async def _with_first_rows(report_id: str, user: User, reports: Reports, wake: Hints) -> Report:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FIRST_SECONDS
    with wake.listen(hints.chunks(report_id)) as hint:
        while True:
            hint.clear()
            report = await reports.get(user, report_id)
            if report.chunks or report.status.final or loop.time() >= deadline:
                return report
            await hint.wait(deadline - loop.time())


@get("/reports/{report_id:str}/chunks/{number:int}", include_in_schema=False, media_type=MediaType.HTML)
async def chunk(
    report_id: FromPath[str],
    number: FromPath[int],
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    spool: NamedDependency[Spool],
    fragments: NamedDependency[Fragments],
    generation: FromQuery[int | None] = None,
) -> Response[str]:
    report = await reports.get(user, report_id)
    found = None
    if generation in (None, report.generation) and 0 < number <= report.chunks:
        found = await spool.chunk(report_id, report.generation, number)
    if found is None:
        raise NotFound(f"This report has no chunk {number}.")
    return Response(fragments.chunk(report, found), media_type=MediaType.HTML, headers=_KEEP)


@get("/reports/{report_id:str}/table.css", include_in_schema=False)
async def style(
    report_id: FromPath[str],
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    fragments: NamedDependency[Fragments],
) -> Response[str]:
    report = await reports.get(user, report_id)
    headers = _KEEP if report.chunks else {"Cache-Control": "no-store"}
    return Response(fragments.style(report), media_type="text/css", headers=headers)


@post("/reports/{report_id:str}/widths", include_in_schema=False)
async def set_widths(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
) -> Response[None]:
    """Form: `width`, pixels for each column in order in one field or several, or `automatic`."""
    form = await request.form()
    given = ",".join(map(str, form.getall("width", [])))
    widths = None if "automatic" in form else given.split(",")
    await reports.set_widths(user, report_id, widths)
    if request.headers.get("hx-request"):
        return Response(None, status_code=204)  # the page has them already
    return Redirect(f"/reports/{report_id}", status_code=303)


@post("/reports/{report_id:str}/cancellation", include_in_schema=False)
async def cancel(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
) -> Response[None]:
    """Form: `then` is `/reports` where the list has the button, which then shows again."""
    await reports.cancel(user, report_id)
    if request.headers.get("hx-request"):
        return Response(None, status_code=204)  # the stream, or the list, brings the new status
    listed = (await request.form()).get("then") == "/reports"
    return Redirect("/reports" if listed else f"/reports/{report_id}", status_code=303)


@delete("/reports/{report_id:str}", include_in_schema=False, status_code=204)
async def remove(
    report_id: FromPath[str], user: NamedDependency[User], reports: NamedDependency[Reports]
) -> Response[None]:
    await reports.delete(user, report_id)
    return Response(None, status_code=204, headers={"HX-Redirect": "/reports"})


@post("/reports/{report_id:str}/deletion", include_in_schema=False)
async def remove_by_form(
    report_id: FromPath[str], user: NamedDependency[User], reports: NamedDependency[Reports]
) -> Redirect:
    await reports.delete(user, report_id)
    return Redirect("/reports", status_code=303)


@post("/reports/{report_id:str}/retention", include_in_schema=False)
async def retain(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
) -> Response[Any]:
    """Form: `keep` is 1 or 0."""
    keep = (await request.form()).get("keep")
    if keep not in ("0", "1"):
        raise InvalidRequest("`keep` is 1, or 0 for a report that may go after some days.")
    partial = bool(request.headers.get("hx-request"))
    try:
        report = await reports.keep(user, report_id, keep == "1")
    except RowfallError as error:
        if not partial:
            raise
        context = {"problem": error.sentence}
        return Template("reports/_retention.html", context=context, status_code=error.status)
    if partial:
        return Template("reports/_retention.html", context={"report": report, "problem": None})
    return Redirect(f"/reports/{report_id}", status_code=303)


handlers = [index, show, chunk, style, set_widths, cancel, remove, remove_by_form, retain]
