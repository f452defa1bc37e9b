"""Asking for reports by forms, and what an address or a form asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from app import asking
from app.asking import Asked
from app.errors import InvalidRequest, TooManyReports
from app.exports import require_export
from app.forms import Form, report_form
from app.permissions import User
from app.report_store import ReportStore
from app.reports import Reports
from app.routes.access import AnyRequest
from app.routes.problems import too_many


@dataclass(frozen=True, slots=True)
class Wish:
    """`fields` are those of the columns and filters, as they were given."""

    columns: Sequence[str]
    filters: Sequence[Asked]
    fields: Sequence[tuple[str, str]]


def wish(pairs: Iterable[tuple[str, str]]) -> Wish:
    """Raises InvalidRequest if one is neither a column nor a filter."""
    fields = list(pairs)
    if any(key == "sort" for key, _ in fields):
        raise InvalidRequest("sort: sorting is not available yet.")
    columns = [value for key, value in fields if key == "col"]
    return Wish(columns, asking.of_pairs(field for field in fields if field[0] != "col"), fields)


@post("/reports", include_in_schema=False)
async def create(
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    store: NamedDependency[ReportStore],
) -> Response[Any]:
    """Form or address: `dataset`, `col`..., filters; with `download`, a format, it leads to the file."""
    form = await request.form()
    given = [(key, str(value)) for key, value in (*request.query_params.items(), *form.items())]
    # Browsers send each line break of a form's field as CR LF; in the query, which comes first, it stays.
    dataset = next((value for key, value in given if key == "dataset" and value), "")
    download = next((value for key, value in given if key == "download"), "")
    asked = wish(field for field in given if field[0] not in ("dataset", "download"))
    file = f"/export.{require_export(download).suffix}" if download else ""
    try:
        report = await reports.request(user, dataset, asked.columns, asked.filters)
    except TooManyReports as error:
        fields = [*asked.fields, *([("download", download)] if download else ())]
        return too_many(request, error, await store.running(user.account), report_form(dataset, fields))
    return Redirect(f"/reports/{report.id}{file}", status_code=303)


@post("/reports/{report_id:str}/continuation", include_in_schema=False)
async def continue_(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    store: NamedDependency[ReportStore],
) -> Response[Any]:
    try:
        report = await reports.continue_(user, report_id)
    except TooManyReports as error:
        again = Form(f"/reports/{report_id}/continuation")
        return too_many(request, error, await store.running(user.account), again)
    return Redirect(f"/reports/{report.id}", status_code=303)


handlers = [create, continue_]
