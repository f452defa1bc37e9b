"""The wiring: every part is made here, once, and handed to who needs it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig
from litestar.types import Message, Scope

from app import __version__, compression
from app.catalog import Catalog
from app.database import Database
from app.downloads import Downloads
from app.events import Events
from app.export_store import ExportStore
from app.exporter import Exporter
from app.fragments import Fragments
from app.hints import Hints
from app.leases import Leases
from app.pages import Pages
from app.presence import presence
from app.relay import Relay
from app.report_store import ReportStore
from app.reports import Reports
from app.retention import Retention
from app.room import Room
from app.routes import (
    api,
    datasets,
    downloads,
    ops,
    problems,
    reports,
    requests,
    rows,
    session,
    stream,
    summary,
)
from app.routes.access import current_user, refuse_other_names, refuse_other_sites
from app.run_context import RunContext
from app.sessions import Sessions
from app.settings import STATIC, Settings
from app.source import Source
from app.spool import Spool
from app.summaries import Summaries
from app.takeover import Takeover
from app.templating import environment
from app.worker import Worker

# No inline script or style and no eval; nothing from other hosts.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers ask for by these names."""

    settings: Settings
    catalog: Catalog
    store: ReportStore
    spool: Spool
    wake: Hints
    reports: Reports
    sessions: Sessions
    fragments: Fragments
    pages: Pages
    events: Events
    summaries: Summaries
    exports: ExportStore
    downloads: Downloads


@asynccontextmanager
async def running(settings: Settings, sources: Sequence[Source]) -> AsyncIterator[Parts]:
    """The parts of a server, with its worker at work. Raises StateUnavailable."""
    database = await Database.open(settings.state)
    try:
        parts = _assemble(settings, sources, database)
        leases = Leases(database)
        context = RunContext(
            parts.store,
            leases,
            parts.spool,
            Takeover(database),
            parts.catalog,
            parts.wake,
            settings,
        )
        worker = Worker(context)
        retention = Retention(database, parts.sessions, parts.exports, parts.wake)
        exporter = Exporter(parts.store, parts.spool, parts.exports, parts.downloads, parts.wake)
        with presence(database) as alone:
            if alone:
                await leases.release_all()  # reports of a server that was killed go on at once,
                await parts.exports.release_all()  # and its files are made anew
            relay = Relay(database, parts.wake)
            relaying = asyncio.create_task(relay.serve(), name="relay")
            serving = asyncio.create_task(worker.serve(), name="worker")
            sweeping = asyncio.create_task(retention.serve(), name="retention")
            exporting = asyncio.create_task(exporter.serve(), name="exporter")
            try:
                yield parts
            finally:
                parts.events.stop()
                retention.stop()
                exporter.stop()
                await worker.stop()
                await asyncio.gather(serving, sweeping, exporting)
                relay.stop()  # last, for it tells the other servers which reports are free now
                await relaying
    finally:
        await database.close()


def _assemble(settings: Settings, sources: Sequence[Source], database: Database) -> Parts:
    catalog = Catalog(sources, settings.query)
    room = Room(database, settings.spool_max_bytes, settings.spool_free_bytes)
    store, spool, wake = ReportStore(database), Spool(database, room), Hints()
    fragments, exports = Fragments(environment()), ExportStore(database)
    return Parts(
        settings=settings,
        catalog=catalog,
        store=store,
        spool=spool,
        wake=wake,
        reports=Reports(store, spool, catalog, wake, settings),
        sessions=Sessions(database, settings.session_days),
        fragments=fragments,
        pages=Pages(settings.page_rows, settings.page_chunks),
        events=Events(store, spool, fragments, wake, settings.ping_seconds),
        summaries=Summaries(database, spool),
        exports=exports,
        downloads=Downloads(store, spool, exports, catalog, wake),
    )


def create_app(parts: Parts) -> Litestar:
    named = {field.name: getattr(parts, field.name) for field in fields(parts)}
    app = Litestar(
        route_handlers=[
            *_handlers(datasets, requests, reports, rows, summary, stream, downloads, session, api, ops),
            create_static_files_router("/static", directories=[STATIC]),
        ],
        dependencies={name: _always(part) for name, part in named.items()} | {"user": Provide(current_user)},
        guards=[refuse_other_names, refuse_other_sites],
        exception_handlers=problems.handlers,  # type: ignore[arg-type]  # each takes its own class of error
        before_send=[_add_headers],
        compression_config=compression.CONFIG,
        template_config=TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment())),
        openapi_config=OpenAPIConfig(
            title="Rowfall", version=__version__, path="/schema", render_plugins=[JsonRenderPlugin(path="/")]
        ),
        logging_config=None,
    )
    app.state.update(named)
    return app


def _handlers(*modules: Any) -> list[Any]:
    return [handler for module in modules for handler in module.handlers]


def _always(part: Any) -> Provide:
    return Provide(lambda: part, sync_to_thread=False)


async def _add_headers(message: Message, _: Scope) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], *_HEADERS]
