"""The product's server with pages of the bench beside its own: the same page, fed with other markup.

A page is that of a finished report, emptied, with the bench's probe in front and a stream of its own. Run as
`pages.py serve ...`, with the flags of `rowfall serve`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
from litestar import Litestar, MediaType, Response, get
from litestar.params import FromPath, FromQuery, HeaderParameter
from litestar.response import Redirect, Stream
from markup import VARIANTS, changed, first_chunk, script

from app import cli, server
from app.main import Parts, create_app
from app.settings import STATIC

_PROBE = Path(__file__).with_name("probe.js")
_ROWS = re.compile(r'(<div id="report-rows"[^>]*>).*(</div>\s*</div>\s*<p id="report-next")', re.S)
_STREAM = re.compile(r'<div id="report-stream".*?</div>', re.S)
_ID = re.compile(r"^id: \d+\.(\d+)$", re.M)


class Recorder:
    """Runs reports through the product's own routes and keeps what their streams sent."""

    def __init__(self) -> None:
        self.app: Litestar
        self._kept: dict[str, tuple[str, list[str]]] = {}
        self._lock = asyncio.Lock()

    async def request(self, dataset: str) -> str:
        """Starts a report: its path."""
        async with self._client() as client:
            return str((await client.post("/reports", data={"dataset": dataset})).headers["location"])

    async def page(self, dataset: str) -> str:
        """The page of a finished report."""
        path, _ = await self._recorded(dataset)
        async with self._client() as client:
            return (await client.get(path)).text

    async def messages(self, dataset: str) -> list[str]:
        """What the stream of a running report sent from its start to its end."""
        return (await self._recorded(dataset))[1]

    async def _recorded(self, dataset: str) -> tuple[str, list[str]]:
        async with self._lock:
            if dataset not in self._kept:
                path = await self.request(dataset)
                async with self._client() as client:
                    text = (await client.get(f"{path}/events?after=0.0")).text
                messages = [f"{message}\n\n" for message in text.split("\n\n") if message]
                self._kept[dataset] = path, messages
            return self._kept[dataset]

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=600)


recorder = Recorder()
_changed: dict[tuple[str, str], list[str]] = {}


@get("/bench/{name:str}/page", include_in_schema=False, media_type=MediaType.HTML)
async def page(name: FromPath[str], dataset: FromQuery[str]) -> str:
    """The report's page before its first row. The first request for one also prepares its stream."""
    variant = VARIANTS[name]
    html = await recorder.page(dataset)
    start = ""
    if not variant.live:
        messages = await recorder.messages(dataset)
        if (name, dataset) not in _changed:
            _changed[name, dataset] = [changed(variant, message) for message in messages]
        start = variant.start(first_chunk(messages)) if variant.start else ""
    stream = f'<div id="report-stream" hx-sse:connect="/bench/{name}/events?dataset={dataset}" '
    stream += 'hx-sse:close="end" hx-trigger="load, retry" hx-swap="innerHTML"></div>'
    html, emptied = _ROWS.subn(rf"\1{start}\2", _STREAM.sub("", html))
    assert emptied == 1, "the report's page is built in another way now"
    html = re.sub(r'"/static/app\.js[^"]*"', f'"/bench/{name}/app.js"', html)
    style = f'<link rel="stylesheet" href="/bench/{name}/style.css">'
    return (
        html.replace("<head>", '<head><script src="/bench/probe.js"></script>')
        .replace("</head>", f"{style}</head>")
        .replace("</main>", f"{stream}</main>")
    )


@get("/bench/{name:str}/events", include_in_schema=False)
async def events(
    name: FromPath[str],
    dataset: FromQuery[str],
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> Stream | Redirect:
    if VARIANTS[name].live:
        return Redirect(f"{await recorder.request(dataset)}/events?after=0.0", status_code=303)
    after = int((last_event_id or "0.0").partition(".")[2])
    return Stream(_sent(_changed[name, dataset], after), media_type="text/event-stream")


async def _sent(messages: list[str], after: int) -> AsyncIterator[bytes]:
    for message in messages:
        number = _ID.search(message)
        if number is None or int(number[1]) > after:
            yield message.encode()


@get("/bench/{name:str}/style.css", include_in_schema=False)
async def style(name: FromPath[str]) -> Response[str]:
    return Response(VARIANTS[name].style, media_type="text/css")


@get("/bench/{name:str}/app.js", include_in_schema=False)
async def app_script(name: FromPath[str]) -> Response[str]:
    return Response(script(VARIANTS[name], (STATIC / "app.js").read_text()), media_type="text/javascript")


@get("/bench/probe.js", include_in_schema=False)
async def probe() -> Response[str]:
    return Response(_PROBE.read_text(), media_type="text/javascript")


def _with_pages(parts: Parts) -> Litestar:
    recorder.app = create_app(parts)
    for handler in (page, events, style, app_script, probe):
        recorder.app.register(handler)
    return recorder.app


if __name__ == "__main__":
    server.create_app = _with_pages
    cli.main()
