"""Files of reports: sent, resumed, made beforehand, and proved."""

import asyncio
import re
from typing import Any

from litestar import HttpMethod, Response, get, post, route
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app import hints
from app.compression import UNCOMPRESSED
from app.downloads import Downloads
from app.errors import Conflict, InvalidRequest, TooEarly
from app.export_store import ExportStore
from app.exports import EXPORTS, Export, require_export
from app.exports.writing import Options, Preset, for_excel
from app.hints import Hints
from app.model import Report
from app.permissions import User
from app.reports import Reports
from app.routes.access import AnyRequest
from app.routes.files import sent

_WAIT_SECONDS = 10.0  # for a file that is being made, before the page that tells how far it is
_OLD_PROTOCOL = (
    "This report is still running. Over HTTP/1.0 a file that breaks off looks whole, so it is sent over "
    "HTTP/1.1 only: download it when the report is over, or have the proxy in front speak HTTP/1.1 "
    "(proxy_http_version)."
)


@route(
    [f"/reports/{{report_id:str}}/export.{export.suffix}" for export in EXPORTS.values()],
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    include_in_schema=False,
    opt={UNCOMPRESSED: True},
)
async def download(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    downloads: NamedDependency[Downloads],
    exports: NamedDependency[ExportStore],
    wake: NamedDependency[Hints],
    preset: FromQuery[Preset] = Preset.DATA,
) -> Response[Any]:
    """The file: as it grows while the report runs, else with a length, in parts if asked for."""
    report = await reports.get(user, report_id)
    export = require_export(request.url.path.rpartition(".")[2])
    options = _options(preset, request)
    old_protocol = _old_protocol(request)
    if not report.status.final and old_protocol:
        raise Conflict(_OLD_PROTOCOL)
    try:
        found = await downloads.open(report, export, options, needs_length=old_protocol)
    except TooEarly:
        await exports.request(report.id, report.generation, export.name, "")
        wake.notify(hints.EXPORTS)
        await _made(downloads, report, export, options)
        try:
            found = await downloads.open(report, export, options)
        except TooEarly:
            return Redirect(f"/reports/{report_id}/downloads", status_code=303)
    return sent(request, found)


def _old_protocol(request: AnyRequest) -> bool:
    """Whether this request came by HTTP/1.0, here or to a proxy that tells so (`Via`: RFC 9110, 7.6.3)."""
    before = re.findall(r"(?:^|,)\s*(?:http/)?([\d.]+)\s", request.headers.get("via", "").lower())
    return "1.0" in (request.scope.get("http_version"), *before)


async def _made(downloads: Downloads, report: Report, export: Export, options: Options) -> None:
    """Until the file is there, but not for long."""
    deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        found = await downloads.file(report, export, options)
        if found is None or found.status.final:
            return
        await asyncio.sleep(0.1)


@get("/reports/{report_id:str}/export.json", include_in_schema=False)
async def proof(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    downloads: NamedDependency[Downloads],
    of: FromQuery[str] = "csv",
    preset: FromQuery[Preset] = Preset.DATA,
) -> Response[bytes]:
    """What a file holds, and its sum: `?of=xlsx`, of a CSV also `&preset=excel`."""
    report = await reports.get(user, report_id)
    found = await downloads.manifest(report, require_export(of), _options(preset, request))
    return Response(found, media_type=MediaType.JSON, headers={"Cache-Control": "no-store"})


@get("/reports/{report_id:str}/downloads", include_in_schema=False)
async def show(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    downloads: NamedDependency[Downloads],
) -> Template:
    report = await reports.get(user, report_id)
    return await _page(request, user, report, downloads)


@post("/reports/{report_id:str}/downloads", include_in_schema=False)
async def make(
    report_id: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    downloads: NamedDependency[Downloads],
    exports: NamedDependency[ExportStore],
    wake: NamedDependency[Hints],
) -> Response[Any]:
    """Form: `format`, one that is made beforehand; with `cancel` making it is given up."""
    report = await reports.get(user, report_id)
    form = await request.form()
    export = require_export(str(form.get("format", "")))
    if export.streams:
        raise InvalidRequest(f"A {export.name} file is not made beforehand: it is sent at once.")
    if "cancel" in form:
        if found := await downloads.file(report, export, Options()):
            await exports.cancel(found.id)
    else:
        await reports.require_room(report)
        await exports.request(report.id, report.generation, export.name, "")
        wake.notify(hints.EXPORTS)
    if request.headers.get("hx-request"):
        return await _page(request, user, report, downloads)
    return Redirect(f"/reports/{report_id}/downloads", status_code=303)


async def _page(request: AnyRequest, user: User, report: Report, downloads: Downloads) -> Template:
    files = {
        export.name: await downloads.file(report, export, Options())
        for export in EXPORTS.values()
        if export.available and (export.name == "csv" or not export.streams)
    }
    partial = bool(request.headers.get("hx-request"))
    return Template(
        "reports/_downloads.html" if partial else "reports/downloads.html",
        context={"user": user, "section": "reports", "report": report, "files": files},
        headers={"Vary": "HX-Request", "Cache-Control": "no-store"},
    )


def _options(preset: Preset, request: AnyRequest) -> Options:
    """Excel takes the separators of its person's country; the browser tells the language."""
    if preset is Preset.DATA:
        return Options()
    first = request.headers.get("accept-language", "en").split(",", maxsplit=1)[0]
    return for_excel(first.partition(";")[0].strip())


handlers = [download, proof, show, make]
