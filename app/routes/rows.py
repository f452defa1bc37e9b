"""Single rows of a report: found by a text, and shown in full.

htmx is answered with a fragment, also about an error; without scripts the same addresses lead to whole pages.
"""

import asyncio
import re
import time
from typing import Any
from urllib.parse import quote

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.cells import FullCell, in_full
from app.codec import decode
from app.errors import InvalidRequest, NotFound, RowfallError
from app.find import SECONDS, Found, Missing, Outcome, Passed, find
from app.model import Chunk, Report
from app.permissions import User
from app.reports import Reports
from app.routes.access import AnyRequest
from app.spool import Spool

_LONGEST = 1_000  # characters that can be sought
# One address, two answers; and what is not found today may be tomorrow.
_HEADERS = {"Vary": "HX-Request", "Cache-Control": "no-store"}


@get("/reports/{report_id:str}/find", include_in_schema=False)
async def find_row(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    spool: NamedDependency[Spool],
    q: FromQuery[str] = "",
    after: FromQuery[int] = 0,
    before: FromQuery[int | None] = None,
    start: FromQuery[int | None] = None,
) -> Response[Any]:
    """`start` is the row that a search began at which was too long for one request."""
    partial = bool(request.headers.get("hx-request"))
    try:
        _check(q, after, before)
        report = await reports.get(user, report_id)
        answer = await _answer(spool, report, q, after, before, start)
    except RowfallError as error:
        if not partial:
            raise
        return _page("reports/_found.html", error.status, problem=error.sentence)
    if partial:
        return _page("reports/_found.html", **answer)
    if answer["passed"] or answer["other_end"]:
        return _page("reports/found.html", user=user, section="reports", **answer)
    where = f"q={quote(q)}&found=none"
    if found := answer["found"]:
        where = f"row={found.row}&q={quote(q)}&found={found.row}#this-row"
    return Redirect(f"/reports/{report_id}?{where}", status_code=303, headers=_HEADERS)


def _check(text: str, after: int, before: int | None) -> None:
    if not text:
        raise InvalidRequest("Say what to find.")
    if len(text) > _LONGEST:
        raise InvalidRequest(
            f"A text to find has at most {_LONGEST:,} characters; this one has {len(text):,}."
        )
    if after < 0 or (before is not None and before < 0):
        raise InvalidRequest("`after` and `before` are numbers of rows, 0 or more.")


async def answer_again(spool: Spool, report: Report, text: str, found: str) -> dict[str, Any]:
    """What the report's page says of a search that led to it. `found` is a row's number, or `none`.

    It is looked up again: the report may have more rows by now, and anybody can write an address.
    """
    _check(text, 0, None)
    row = int(found) if re.fullmatch(r"[0-9]{1,15}", found) else 1
    return await _answer(spool, report, text, min(max(0, row - 1), report.rows), None, None)


async def _answer(
    spool: Spool, report: Report, text: str, after: int, before: int | None, start: int | None
) -> dict[str, Any]:
    """For the templates: the row that was found, how far the search came, what is at the other end.

    `other_end` is None if no row of the report holds the text.
    """
    back = before is not None
    end = report.rows + 1
    begun = max(0, min(after if start is None else start, after))
    if before is not None:
        begun = min(end, max(before if start is None else start, before))
    deadline = time.monotonic() + SECONDS
    outcome = await find(spool, report, text, after=after, before=before, seconds=SECONDS)
    other_end: Outcome | None = None
    if isinstance(outcome, Missing) and (begun < end if back else begun > 0):
        seconds = deadline - time.monotonic()
        other_end = await find(spool, report, text, before=end if back else None, seconds=seconds)
    return {
        "report": report,
        "q": text,
        "problem": None,
        "back": back,
        "start": begun,
        "found": outcome if isinstance(outcome, Found) else None,
        "passed": outcome.row if isinstance(outcome, Passed) else None,
        "other_end": None if isinstance(other_end, Missing) else other_end,
    }


@get("/reports/{report_id:str}/rows/{number:int}", include_in_schema=False)
async def show(
    report_id: FromPath[str],
    number: FromPath[int],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    spool: NamedDependency[Spool],
    column: FromQuery[int | None] = None,
) -> Response[Any]:
    """`column` is the position of the column to be marked, from 1."""
    partial = bool(request.headers.get("hx-request"))
    try:
        report = await reports.get(user, report_id)
        chunk = await _chunk(spool, report, number)
    except RowfallError as error:
        if not partial:
            raise
        return _page("reports/_row.html", error.status, problem=error.sentence)
    return _page(
        "reports/_row.html" if partial else "reports/row.html",
        user=user,
        section="reports",
        report=report,
        number=number,
        marked=column,
        cells=await asyncio.to_thread(_cells, report, chunk, number),
        problem=None,
    )


async def _chunk(spool: Spool, report: Report, number: int) -> Chunk:
    found = None
    if 0 < number <= report.rows:
        found = await spool.chunk_of_row(report.id, report.generation, number)
    if found is None:
        so_far = "" if report.status.final else " so far"
        raise NotFound(f"This report has no row {number:,}. Its rows{so_far}: {report.rows:,}.")
    return found


def _cells(report: Report, chunk: Chunk, number: int) -> list[FullCell]:
    return in_full(report.columns, decode(chunk.payload)[number - chunk.first_row])


def _page(name: str, status: int = 200, **context: Any) -> Template:
    return Template(name, context=context, status_code=status, headers=_HEADERS)


handlers = [find_row, show]
