"""The JSON API under /api/v1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Response, Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody

from app import asking
from app.catalog import Catalog
from app.errors import InvalidRequest, TooManyReports
from app.model import Dataset, Report, Status
from app.permissions import User, may_read
from app.report_store import ReportStore
from app.reports import Reports
from app.routes import api_rows
from app.routes.access import AnyRequest
from app.routes.problems import too_many

_HISTORY = 100


@dataclass(frozen=True)
class DatasetColumn:
    name: str
    kind: str
    declared: str


@dataclass(frozen=True)
class DatasetView:
    id: str
    source: str
    name: str
    kind: str
    key: Sequence[str]
    columns: Sequence[DatasetColumn]


@dataclass(frozen=True)
class ReportView:
    id: str
    dataset: str
    status: str
    rows: int
    total: int | None
    total_kind: str
    percent: int | None
    generation: int
    chunks: int
    columns: Sequence[str]
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    error: str | None
    error_code: str | None
    notes: Sequence[str]
    trouble: str | None
    queue_position: int | None
    continues: str | None
    owner: str


class FilterRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    column: str
    op: str
    value: Any = None  # a text or a number, a list of them for `in`, none for `isnull` and `notnull`


class ReportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataset: str
    columns: list[str] | None = None
    filters: list[FilterRequest] | None = None
    sort: str | None = None


class Retain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keep: bool


_CREATED = {201: ResponseSpec(ReportView, generate_examples=False)}


@get("/datasets")
async def datasets(user: NamedDependency[User], catalog: NamedDependency[Catalog]) -> list[DatasetView]:
    listings = await catalog.listings()
    for listing in listings:
        if listing.error and len(listings) == 1:
            raise listing.error
    return [
        _dataset(dataset)
        for listing in listings
        for dataset in listing.datasets
        if may_read(user, dataset.id)
    ]


@post("/reports", responses=_CREATED)
async def create(
    request: AnyRequest,
    data: JSONBody[ReportRequest],
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    store: NamedDependency[ReportStore],
) -> Response[Any]:
    if data.sort:
        raise InvalidRequest("Sorting is not available yet; leave out `sort`.")
    filters = [asking.of_object(each.column, each.op, each.value) for each in data.filters or ()]
    try:
        report = await reports.request(user, data.dataset, data.columns or (), filters)
    except TooManyReports as error:
        return too_many(request, error, await store.running(user.account))
    return Response(_report(report), status_code=201)


@get("/reports")
async def index(user: NamedDependency[User], store: NamedDependency[ReportStore]) -> list[ReportView]:
    return [_report(report) for report in await store.latest(user.account, _HISTORY)]


@get("/reports/{report_id:str}")
async def show(
    report_id: FromPath[str], user: NamedDependency[User], reports: NamedDependency[Reports]
) -> ReportView:
    return _report(await reports.get(user, report_id))


@post("/reports/{report_id:str}/cancellation", status_code=200)
async def cancel(
    report_id: FromPath[str], user: NamedDependency[User], reports: NamedDependency[Reports]
) -> ReportView:
    return _report(await reports.cancel(user, report_id))


@post("/reports/{report_id:str}/continuation", responses=_CREATED)
async def continue_(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    store: NamedDependency[ReportStore],
) -> Response[Any]:
    """A new report that takes over the rows of this one and reads on."""
    try:
        report = await reports.continue_(user, report_id)
    except TooManyReports as error:
        return too_many(request, error, await store.running(user.account))
    return Response(_report(report), status_code=201)


@put("/reports/{report_id:str}/retention")
async def retain(
    report_id: FromPath[str],
    data: JSONBody[Retain],
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
) -> ReportView:
    """With `keep` the report stays until it is deleted, else for `retention_days` from now."""
    return _report(await reports.keep(user, report_id, data.keep))


@delete("/reports/{report_id:str}", status_code=204)
async def remove(
    report_id: FromPath[str], user: NamedDependency[User], reports: NamedDependency[Reports]
) -> None:
    await reports.delete(user, report_id)


def _dataset(dataset: Dataset) -> DatasetView:
    columns = [DatasetColumn(column.name, column.kind, column.declared) for column in dataset.columns]
    return DatasetView(dataset.id, dataset.source, dataset.name, dataset.kind, dataset.key, columns)


def _report(report: Report) -> ReportView:
    return ReportView(
        id=report.id,
        dataset=report.dataset,
        status=report.status,
        rows=report.rows,
        total=report.total,
        total_kind=report.total_kind,
        percent=report.percent,
        generation=report.generation,
        chunks=report.chunks,
        columns=[column.name for column in report.columns],
        created_at=report.created_at,
        started_at=report.started_at,
        finished_at=report.finished_at,
        expires_at=report.expires_at,
        error=report.error,
        error_code=report.error_code,
        notes=report.notes,
        trouble=report.trouble,
        queue_position=report.ahead + 1 if report.status is Status.QUEUED else None,
        continues=report.continues,
        owner=report.owner,
    )


handlers = [
    Router(
        "/api/v1",
        route_handlers=[datasets, create, index, show, cancel, continue_, retain, remove, api_rows.rows],
    )
]
