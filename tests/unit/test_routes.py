# ruff: noqa: ASYNC240 - blocking file operations are fine in a test's own event loop
"""The addresses and answers of the contract. Nobody signs in, except where a test says `accounts`."""

import asyncio
import json
import logging
import re
import shutil
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import insert

from app.codec import CODEC
from app.main import Parts, create_app, running
from app.model import Report, Spec, Status
from app.permissions import LOCAL_USER, User
from app.reports import Reports
from app.schema import chunk as chunk_table
from app.schema import report as report_table
from app.settings import SavedQuery, Settings
from app.source.sqlite import SqliteSource

HTML = {"Accept": "text/html"}
FORM = {"Sec-Fetch-Site": "same-origin"}
ODD = "a/b?c#d é<b>"
NEVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r"


class Site:
    """A server's parts, and a browser that looks at it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.browser = self.client()

    def client(self, parts: Parts | None = None, host: str = "localhost:8000") -> AsyncClient:
        transport = ASGITransport(create_app(parts or self.parts))  # type: ignore[arg-type]
        return AsyncClient(transport=transport, base_url=f"http://{host}")

    async def get(self, path: str, **more: Any) -> Response:
        return await self.browser.get(path, **more)

    async def post(self, path: str, **more: Any) -> Response:
        return await self.browser.post(path, **more)

    async def ask(self, dataset: str = "s.t", **form: Any) -> str:
        """The address of a new report."""
        answer = await self.post("/reports", data={"dataset": dataset, **form})
        assert answer.status_code == 303
        assert re.fullmatch(r"/reports/[0-9a-f-]{36}", answer.headers["location"])
        return str(answer.headers["location"])

    async def done(self, dataset: str = "s.t", **form: Any) -> str:
        """The address of a report that is over."""
        address = await self.ask(dataset, **form)
        await self.until(address, Status.DONE)
        return address

    async def until(self, address: str, status: Status) -> Report:
        async with asyncio.timeout(20):
            while True:
                report = await self.parts.store.get(address.removeprefix("/reports/"))
                assert report is not None
                if report.status is status:
                    return report
                await asyncio.sleep(0.02)

    async def ended_early(self) -> str:
        """The address of a report that was cancelled after 1,000 of its 2,500 rows."""
        dataset = await self.parts.catalog.dataset("s.t")
        reader = await self.parts.catalog.source(dataset).open_reader(dataset, (0, 1), None, 1000)
        batch = await reader.read()
        await reader.close()
        assert batch is not None
        values = {
            "id": "early",
            "owner": "local",
            "dataset": "s.t",
            "spec": {"columns": [0, 1]},
            "columns": msgspec.to_builtins(dataset.columns),
            "status": "cancelled",
            "next_chunk": 2,
            "rows": batch.rows,
            "bytes": len(batch.payload),
            "cursor": batch.cursor,
            "created_at": time.time(),
            "finished_at": time.time(),
        }
        only = {"report": "early", "generation": 1, "number": 1, "first_row": 1, "rows": batch.rows}
        async with self.parts.store._database.write() as connection:
            await connection.execute(insert(report_table).values(values))
            await connection.execute(
                insert(chunk_table).values({**only, "codec": CODEC, "payload": batch.payload})
            )
        return "/reports/early"

    async def of_somebody_else(self) -> str:
        columns = (await self.parts.catalog.dataset("s.t")).columns
        await self.parts.store.create("theirs", "somebody-else", 5, "s.t", Spec((0, 1)), columns)
        return "/reports/theirs"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name)")
        names = ["<script>alert(1)</script>", None, b"\x00\xff", 1.5, float("inf"), ""]
        connection.executemany(
            "INSERT INTO t (name) VALUES (?)",
            [(names[number] if number < 6 else "x",) for number in range(2500)],
        )
        connection.execute(f'CREATE TABLE "{ODD}" ("<i>" TEXT, "" TEXT)')
        connection.execute("CREATE TABLE empty (id INTEGER PRIMARY KEY)")
        connection.commit()
    return tmp_path


Open = Callable[..., Awaitable[Site]]


@pytest.fixture
async def open_site(files: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_site(*names: str, **settings: Any) -> Site:
            values = {"state": str(files / "state.db"), "auth": "none", **settings}
            query = (SavedQuery(source="s", name="never", sql=NEVER),)
            sources = [SqliteSource(name, files / f"{name}.db", timeout=0.1) for name in names or ("s",)]
            parts = await stack.enter_async_context(running(Settings(query=query, **values), sources))
            return Site(parts)

        yield open_site


@pytest.fixture
async def site(open_site: Open) -> Site:
    return await open_site()


def says(answer: Response, status: int, *sentences: str) -> None:
    """The answer is a page for people with this status and these words, and gives nothing away."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for sentence in sentences:
        assert sentence in answer.text
    assert "Traceback" not in answer.text


def problem(answer: Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"], found["type"]) == (status, code, "about:blank")
    assert found["title"]
    assert found["detail"].endswith(".")
    return found


# Pages


async def test_the_first_page_lists_the_datasets_with_links(site: Site) -> None:
    answer = await site.get("/")
    says(answer, 200, 'href="/datasets/s.t"', "2 columns", 'href="/datasets/s.never"')
    assert "<b>" not in answer.text.partition("<main")[2]


async def test_a_dataset_with_any_name_has_a_page_under_its_link(site: Site) -> None:
    links = re.findall(r'href="(/datasets/[^"]+)"', (await site.get("/")).text)
    assert len(links) == 4
    for link in links:
        says(await site.get(link), 200, ">Generate</button>")


async def test_the_page_of_a_dataset_shows_columns_key_and_first_rows(site: Site) -> None:
    answer = await site.get("/datasets/s.t")
    says(answer, 200, "&lt;script&gt;alert(1)&lt;/script&gt;", "<code>id</code>", "NULL")
    assert "<script>alert" not in answer.text
    says(await site.get("/datasets/s.empty"), 200, "No data")


async def test_an_unknown_dataset_is_404_with_its_name_escaped(site: Site) -> None:
    answer = await site.get("/datasets/s.%3Cimg%20src=x%3E")
    says(answer, 404, "There is no dataset s.&lt;img src=x&gt;.")
    assert "<img src=x>" not in answer.text


async def test_a_source_that_cannot_be_read_is_said_on_the_page_and_the_rest_is_listed(
    open_site: Open, files: Path
) -> None:
    (files / "damaged.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    site = await open_site("damaged", "s", "missing")
    says(await site.get("/"), 200, 'role="alert"', "There is no file", 'href="/datasets/s.t"', "damaged.db")


async def test_a_locked_source_is_said_on_the_page(open_site: Open, files: Path) -> None:
    with closing(sqlite3.connect(files / "s.db", isolation_level=None)) as owner:
        owner.execute("BEGIN EXCLUSIVE")
        site = await open_site()
        says(await site.get("/"), 200, "is locked by another program")
        says(await site.post("/reports", data={"dataset": "s.t"}), 503, "is locked by another program")


async def test_the_list_of_reports_is_ones_own(site: Site) -> None:
    says(await site.get("/reports"), 200, "No report yet")
    await site.of_somebody_else()
    says(await site.get("/reports"), 200, "No report yet")
    address = await site.done()
    says(await site.get("/reports"), 200, f'href="{address}"', "Done", "2,500")
    says(await site.get("/"), 200, f'href="{address}"')


async def test_the_page_of_a_finished_report_holds_the_first_rows_and_places_for_the_rest(site: Site) -> None:
    answer = await site.get(await site.done())
    says(answer, 200, ">Run again</button>", 'aria-rowcount="2501"')
    assert re.findall(r'data-chunk="(\d)"', answer.text) == ["1", "2", "3"]
    assert answer.text.count('class="chunk gap" data-chunk') == 2
    assert answer.text.count("aria-rowindex=") == 1001
    assert "hx-sse" not in answer.text.partition("<main")[2]
    assert answer.headers["cache-control"] == "no-store"
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    ("row", "chunk"), [("1", 1), ("1000", 1), ("1001", 2), ("2500", 3), ("9999999", 3), ("-5", 1)]
)
async def test_a_page_at_a_row_holds_the_chunk_of_that_row(site: Site, row: str, chunk: int) -> None:
    answer = await site.get(f"{await site.done()}?row={row}")
    says(answer, 200)
    assert re.findall(r'class="chunk" data-chunk="(\d)"', answer.text) == [str(chunk)]
    assert re.findall(r'data-chunk="(\d)"', answer.text) == ["1", "2", "3"]


async def test_past_the_rows_of_a_page_the_report_goes_on_on_the_next(open_site: Open) -> None:
    site = await open_site(page_rows=1000)
    address = await site.done()
    first, last = await site.get(address), await site.get(f"{address}?row=2001")
    says(first, 200, f'<a href="{address}?row=1001">row 1,001 and what follows</a>', "Rows 2,001 to 2,500")
    assert re.findall(r'data-chunk="(\d)"', first.text) == ["1"]
    assert re.findall(r'data-chunk="(\d)"', last.text) == ["3"]
    assert "what follows" not in last.text
    assert f'<a href="{address}?row=2001" aria-current="page">' in last.text


async def test_a_page_that_keeps_its_rows_gets_them_by_the_stream(open_site: Open) -> None:
    site = await open_site(page_chunks=1)
    address = await site.done()
    says(await site.get(address), 200, f'<a href="{address}?keep=1">Keep all rows on this page</a>')
    kept = await site.get(f"{address}?keep=1")
    says(kept, 200, f'hx-sse:connect="{address}/events?after=1.1&amp;page=1&amp;keep=1"', 'data-live="100"')
    stream = (await site.get(f"{address}/events?after=1.1&page=1&keep=1")).text
    assert stream.count("<tr aria-rowindex") == 1500
    assert (await site.get(f"{address}/events?after=1.1&page=1")).text.count("<tr aria-rowindex") == 0


async def test_a_stream_of_one_page_leaves_out_the_chunks_of_the_others(open_site: Open) -> None:
    site = await open_site(page_rows=1000)
    address = await site.done()
    for page, ids in ((1, ["1.1"]), (2, ["1.2"]), (3, ["1.3"]), (4, [])):
        stream = (await site.get(f"{address}/events?page={page}")).text
        assert re.findall(r"^id: (.*)$", stream, re.MULTILINE) == ids
        assert stream.endswith("event: end\ndata: \n\n")
        assert 'data-status="done"' in stream
    says(await site.get(f"{address}/events?page=0"), 422, "`page` is the number of a page")


async def test_chosen_widths_are_kept_and_may_be_given_up_again(site: Site) -> None:
    address = await site.done()
    measured = (await site.get(f"{address}/table.css")).text
    page = (await site.get(address)).text
    answer = await site.post(f"{address}/widths", data={"width": ["300", "77"]}, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, address)
    css = (await site.get(f"{address}/table.css")).text
    assert ".c1 { width: 300px }" in css
    assert "#report-table table, #report-summary ul { width: 377px }" in css
    links = [re.findall(r'"([^"]*table.css[^"]*)"', text) for text in (page, (await site.get(address)).text)]
    assert links[0] != links[1]  # browsers keep the stylesheet
    dragged = await site.post(f"{address}/widths", data={"width": "81,82"}, headers={"HX-Request": "true"})
    assert dragged.status_code == 204
    assert ".c2 { width: 82px }" in (await site.get(f"{address}/table.css")).text
    await site.post(f"{address}/widths", data={"automatic": "1", "width": ["1"]}, headers=FORM)
    assert (await site.get(f"{address}/table.css")).text == measured
    says(await site.post(f"{address}/widths", data={"width": ["5", "5"]}, headers=FORM), 422, "40 to 2000")
    says(await site.post(f"{await site.of_somebody_else()}/widths", data={"width": ["99"]}), 404)


async def test_the_page_of_a_report_without_rows_says_no_data(site: Site) -> None:
    says(await site.get(await site.done("s.empty")), 200, '<p id="report-empty">No data</p>')


async def test_the_page_of_a_running_report_follows_it_from_where_the_page_ends(site: Site) -> None:
    address = await site.ask("s.never")
    await site.until(address, Status.RUNNING)
    says(
        await site.get(address),
        200,
        f'hx-sse:connect="{address}/events?after=1.0&amp;page=1"',
        ">Cancel</button>",
    )


async def test_what_belongs_to_somebody_else_is_as_unknown_as_what_never_was(site: Site) -> None:
    theirs = await site.of_somebody_else()
    for part in ("", "/chunks/1", "/table.css", "/events"):
        pages = [(await site.get(address + part)) for address in (theirs, "/reports/nobody")]
        for page in pages:
            says(page, 404, "or it belongs to somebody else")
        assert pages[0].text.replace("theirs", "nobody") == pages[1].text
    for address in (theirs, "/reports/nobody"):
        says(await site.post(f"{address}/cancellation"), 404)
        problem(await site.get(f"/api/v1{address}"), 404, "not-found")
        problem(await site.get(f"/api/v1{address}/rows"), 404, "not-found")
        problem(await site.post(f"/api/v1{address}/cancellation"), 404, "not-found")


@pytest.mark.parametrize("path", ["/nothing", "/reports/x/nothing", "/static/nothing.css", "/datasets"])
async def test_an_unknown_address_is_404_for_people(site: Site, path: str) -> None:
    says(await site.get(path), 404, "There is no such page")


async def test_an_unknown_address_of_the_api_is_a_problem(site: Site) -> None:
    problem(await site.get("/api/v1/nothing"), 404, "http")
    problem(await site.browser.put("/api/v1/reports"), 405, "http")


@pytest.mark.parametrize(
    "path", ["/static/../app/main.py", "/static/%2e%2e/pyproject.toml", "/static//etc/passwd"]
)
async def test_nothing_but_static_files_is_served_as_one(site: Site, path: str) -> None:
    assert (await site.get(path)).status_code == 404


# Asking for a report


async def test_asking_for_a_report_leads_to_its_page_at_once(site: Site) -> None:
    address = await site.ask("s.never")
    report = await site.parts.reports.get(LOCAL_USER, address.removeprefix("/reports/"))
    assert (report.dataset, report.owner) == ("s.never", "local")


async def test_the_chosen_columns_come_in_the_chosen_order(site: Site) -> None:
    address = await site.done(col=["name", "id"])
    report = await site.until(address, Status.DONE)
    assert [column.name for column in report.columns] == ["name", "id"]
    assert report.spec.columns == (1, 0)


async def test_a_column_without_a_name_can_be_asked_for(site: Site) -> None:
    report = await site.until(await site.done(f"s.{ODD}", col=["", "<i>"]), Status.DONE)
    assert report.spec.columns == (1, 0)


async def test_an_unknown_column_is_422_and_named(site: Site) -> None:
    answer = await site.post("/reports", data={"dataset": "s.t", "col": ["id", "<u>"]})
    says(answer, 422, "s.t has no column &#39;&lt;u&gt;&#39;")


@pytest.mark.parametrize("field", ["name", "sort", "<b>"])
async def test_a_field_that_means_nothing_is_422_and_named(site: Site, field: str) -> None:
    answer = await site.post("/reports", data={"dataset": "s.t", field: "1"})
    says(answer, 422, field.replace("<b>", "&lt;b&gt;"))
    assert await site.parts.store.latest("local") == []


@pytest.mark.parametrize("form", [{}, {"dataset": ""}, {"dataset": "s"}, {"dataset": "s.unknown"}])
async def test_a_report_on_an_unknown_dataset_is_404(site: Site, form: dict[str, str]) -> None:
    says(await site.post("/reports", data=form), 404)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"dataset=s.t", "multipart/form-data"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"{", "application/json"),
        (b"\xff\xfe%zz=%", "application/x-www-form-urlencoded"),
        (b"", "text/plain"),
    ],
)
async def test_a_body_that_is_no_form_is_refused_and_no_error_of_the_server(
    site: Site, body: bytes, kind: str
) -> None:
    answer = await site.post("/reports", content=body, headers={"Content-Type": kind})
    assert 400 <= answer.status_code < 500
    assert await site.parts.store.latest("local") == []


async def test_one_report_too_many_is_429_with_the_running_ones_and_when_to_try_again(
    open_site: Open,
) -> None:
    site = await open_site(reports_per_user=2)
    running = [await site.ask("s.never"), await site.ask("s.never")]
    answer = await site.post("/reports", data={"dataset": "s.t"})
    says(answer, 429, "2 of your reports are running or waiting", *running)
    assert re.findall(r'action="(/reports/[^"]+/cancellation)"', answer.text) == [
        f"{each}/cancellation" for each in running
    ]
    assert '<input type="hidden" name="dataset" value="s.t">' in answer.text  # to try again
    assert int(answer.headers["retry-after"]) > 0
    answer = await site.post("/api/v1/reports", json={"dataset": "s.t"})
    found = problem(answer, 429, "too-many-reports")
    assert [f"/reports/{each}" for each in found["running"]] == running
    assert int(answer.headers["retry-after"]) > 0
    await site.post(f"{running[0]}/cancellation")
    await site.until(running[0], Status.CANCELLED)
    await site.ask("s.t")


# Cancelling


async def test_a_running_report_is_cancelled_and_cancelling_again_is_the_same(site: Site) -> None:
    address = await site.ask("s.never")
    for _ in range(2):
        answer = await site.post(f"{address}/cancellation")
        assert (answer.status_code, answer.headers["location"]) == (303, address)
    await site.until(address, Status.CANCELLED)
    assert (await site.post(f"{address}/cancellation")).status_code == 303


async def test_a_cancellation_by_htmx_is_answered_without_a_page(site: Site) -> None:
    address = await site.ask("s.never")
    answer = await site.post(f"{address}/cancellation", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.content) == (204, b"")
    await site.until(address, Status.CANCELLED)


async def test_a_report_that_is_done_cannot_be_cancelled(site: Site) -> None:
    address = await site.done()
    says(await site.post(f"{address}/cancellation"), 409, "This report is done already")
    problem(await site.post(f"/api/v1{address}/cancellation"), 409, "conflict")


async def test_the_stop_beside_a_report_in_the_list_leads_back_to_the_list(site: Site) -> None:
    address = await site.ask("s.never")
    listed = await site.get("/reports?active=1")
    assert f"{address}/cancellation" in listed.text
    answer = await site.post(f"{address}/cancellation", data={"then": "/reports"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/reports")
    await site.until(address, Status.CANCELLED)
    assert address not in (await site.get("/reports?active=1")).text
    assert f"{address}/cancellation" not in (await site.get("/reports")).text
    elsewhere = await site.post(f"{address}/cancellation", data={"then": "https://elsewhere.example"})
    assert elsewhere.headers["location"] == address


async def test_a_report_that_waits_tells_its_place_in_the_queue(open_site: Open) -> None:
    site = await open_site(running_reports=1)
    await site.until(await site.ask("s.never"), Status.RUNNING)
    waiting = [await site.ask("s.t") for _ in range(3)]
    found = [(await site.get(f"/api/v1{each}")).json() for each in waiting]
    assert [report["queue_position"] for report in found] == [1, 2, 3]
    says(await site.get(waiting[2]), 200, "Waiting for a free runner, 2 reports before it")
    await site.post(f"{waiting[0]}/cancellation")
    assert (await site.get(f"/api/v1{waiting[2]}")).json()["queue_position"] == 2
    assert (await site.get(f"/api/v1{waiting[0]}")).json()["queue_position"] is None


# Continuing


async def test_a_report_that_ended_early_is_continued_as_a_new_one(site: Site) -> None:
    address = await site.ended_early()
    says(await site.get(address), 200, f'action="{address}/continuation"', "Continue")
    answer = await site.post(f"{address}/continuation")
    assert answer.status_code == 303
    new = answer.headers["location"]
    assert new != address
    await site.until(new, Status.DONE)
    report = (await site.get(f"/api/v1{new}")).json()
    assert (report["continues"], report["rows"]) == (address.removeprefix("/reports/"), 2500)
    says(await site.get(new), 200, "This report continues an earlier one: the rows up to row 1,000")
    again = await site.post(f"/api/v1{address}/continuation")
    assert (again.status_code, again.json()["status"]) == (201, "queued")


async def test_what_cannot_be_continued_says_why(site: Site) -> None:
    done = await site.done()
    says(await site.post(f"{done}/continuation"), 409, "This report is done")
    assert "/continuation" not in (await site.get(done)).text
    running = await site.ask("s.never")
    problem(await site.post(f"/api/v1{running}/continuation"), 409, "conflict")
    await site.post(f"{running}/cancellation")
    await site.until(running, Status.CANCELLED)
    says(await site.post(f"{running}/continuation"), 409, "no rows to continue from. Run it again")
    says(await site.post("/reports/unknown/continuation"), 404, "There is no report")


async def test_continuing_counts_among_the_running_reports(open_site: Open) -> None:
    site = await open_site(reports_per_user=1)
    address = await site.ended_early()
    running = await site.ask("s.never")
    answer = await site.post(f"{address}/continuation")
    says(answer, 429, "1 of your reports are running or waiting", running, f'action="{address}/continuation"')
    assert int(answer.headers["retry-after"]) > 0


# Chunks, styles and events


async def test_each_chunk_can_be_fetched_and_kept(site: Site) -> None:
    address = await site.done()
    rows = []
    for number in (1, 2, 3):
        answer = await site.get(f"{address}/chunks/{number}?generation=1")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "immutable" in answer.headers["cache-control"]
        assert "private" in answer.headers["cache-control"]
        assert answer.text.startswith(
            f'<div class="chunk" data-chunk="{number}" data-first="{number * 1000 - 999}">'
        )
        rows += re.findall(r'aria-rowindex="(\d+)"', answer.text)
    assert rows == [str(number) for number in range(2, 2502)]


@pytest.mark.parametrize(
    "chunk",
    [
        "0",
        "4",
        "-1",
        "abc",
        "9" * 12,
        "9" * 30,
        "1?generation=2",
        "1?generation=0",
        f"1?generation={'9' * 30}",
    ],
)
async def test_a_chunk_that_is_not_there_is_404(site: Site, chunk: str) -> None:
    assert (await site.get(f"{await site.done()}/chunks/{chunk}")).status_code == 404


async def test_the_stylesheet_of_a_report_may_be_kept_once_the_widths_are_known(site: Site) -> None:
    answer = await site.get(f"{await site.done()}/table.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert ".c1 { width: " in answer.text
    address = await site.ask("s.never")
    assert (await site.get(f"{address}/table.css")).headers["cache-control"] == "no-store"


async def test_the_stream_of_a_finished_report_gives_what_is_missing_and_ends(site: Site) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/events?after=1.1")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert re.findall(r"^id: (.*)$", answer.text, re.M) == ["1.2", "1.3"]
    assert answer.text.endswith("event: end\ndata: \n\n")
    assert "\r" not in answer.text


async def test_the_header_of_a_reconnect_wins_over_the_address(site: Site) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/events?after=1.0", headers={"Last-Event-ID": "1.2"})
    assert re.findall(r"^id: (.*)$", answer.text, re.M) == ["1.3"]


@pytest.mark.parametrize("after", ["", "junk", "1.1.1", "-1.0", "%00", "9" * 40])
async def test_a_stream_from_nowhere_begins_at_the_beginning(site: Site, after: str) -> None:
    answer = await site.get(f"{await site.done()}/events?after={after}")
    assert re.findall(r"^id: (.*)$", answer.text, re.M) == ["1.1", "1.2", "1.3"]


async def test_a_reconnect_to_a_report_that_is_gone_is_told_and_ended_instead_of_an_error(site: Site) -> None:
    answer = await site.get("/reports/gone/events", headers={"Last-Event-ID": "1.2"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "This report was deleted" in answer.text
    assert answer.text.endswith("event: end\ndata: \n\n")


async def test_a_stream_is_never_redirected_to_the_sign_in_page(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    answer = await site.get("/reports/x/events", headers={"Last-Event-ID": "1.2"})
    assert answer.status_code == 401


# The JSON API


async def test_the_api_lists_datasets_with_columns_and_keys(site: Site) -> None:
    found = {each["id"]: each for each in (await site.get("/api/v1/datasets")).json()}
    assert set(found) == {"s.t", "s.empty", f"s.{ODD}", "s.never"}
    assert found["s.t"] == {
        "id": "s.t",
        "source": "s",
        "name": "t",
        "kind": "table",
        "key": ["id"],
        "columns": [
            {"name": "id", "kind": "integer", "declared": "INTEGER"},
            {"name": "name", "kind": "any", "declared": ""},
        ],
    }


async def test_the_api_makes_a_report_and_tells_how_it_goes(site: Site) -> None:
    answer = await site.post("/api/v1/reports", json={"dataset": "s.t", "columns": ["name", "id"]})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["status"], made["rows"], made["percent"], made["columns"]) == (
        "queued",
        0,
        None,
        ["name", "id"],
    )
    await site.until(f"/reports/{made['id']}", Status.DONE)
    done = (await site.get(f"/api/v1/reports/{made['id']}")).json()
    promised = (
        "id dataset status rows total total_kind percent generation chunks started_at finished_at error "
        "notes owner"
    )
    assert set(promised.split()) <= set(done)
    assert (done["status"], done["rows"], done["total"], done["percent"]) == ("done", 2500, 2500, 100)
    assert (await site.get("/api/v1/reports")).json() == [done]


async def test_rows_come_as_one_json_array_a_line_from_after_any_row(site: Site) -> None:
    address = f"/api/v1{await site.done()}/rows"
    answer = await site.get(address)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = answer.text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row[0] for row in rows] == list(range(1, 2501))
    assert [row[1] for row in rows[:7]] == [
        "<script>alert(1)</script>",
        None,
        {"binary": "AP8="},
        1.5,
        {"number": "inf"},
        "",
        "x",
    ]
    for after in (0, 1, 999, 1000, 1001, 2499, 2500, 2501):
        assert (await site.get(f"{address}?after={after}")).text.splitlines() == lines[after:]


@pytest.mark.parametrize(("after", "status"), [("-1", 422), ("x", 422), ("9" * 30, 200)])
async def test_rows_after_no_row(site: Site, after: str, status: int) -> None:
    answer = await site.get(f"/api/v1{await site.done()}/rows?after={after}")
    assert answer.status_code == status
    if status == 200:
        assert answer.text == ""


async def test_the_api_refuses_what_it_does_not_know(site: Site) -> None:
    path = "/api/v1/reports"
    found = problem(await site.post(path, json={"dataset": "s.t", "columns": ["nome"]}), 422, "invalid")
    assert "'nome'" in found["detail"]
    filters = [{"column": "nome", "op": "gt", "value": 1}]
    problem(await site.post(path, json={"dataset": "s.t", "filters": filters}), 422, "invalid")
    problem(await site.post(path, json={"dataset": "s.t", "sort": "id"}), 422, "invalid")
    problem(await site.post(path, json={"dataset": "s.unknown"}), 404, "not-found")
    json = {"Content-Type": "application/json"}
    for body in (b"{", b"\xff"):
        problem(await site.post(path, content=body, headers=json), 400, "http")
    for body in (b"[]", b"", b'{"dataset": 5}', b'{"dataset": "s.t", "columns": "id"}'):
        problem(await site.post(path, content=body, headers=json), 422, "http")
    # A misspelt key would otherwise be a report of all columns.
    problem(await site.post(path, json={"dataset": "s.t", "colums": ["id"]}), 422, "http")
    assert await site.parts.store.latest("local") == []


async def test_a_source_that_cannot_be_read_is_503_for_the_api(open_site: Open) -> None:
    site = await open_site("missing")
    problem(await site.get("/api/v1/datasets"), 503, "source-unreachable")
    problem(await site.post("/api/v1/reports", json={"dataset": "missing.t"}), 503, "source-unreachable")
    says(await site.post("/reports", data={"dataset": "missing.t"}), 503, "There is no file")


async def test_the_api_is_described_as_json(site: Site) -> None:
    answer = await site.get("/schema")
    assert answer.status_code == 200
    assert "json" in answer.headers["content-type"]
    assert {"/api/v1/datasets", "/api/v1/reports", "/api/v1/reports/{report_id}/rows"} <= set(
        answer.json()["paths"]
    )


# Operating


async def test_a_server_that_is_alive_and_can_work_says_ok(site: Site) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await site.get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_a_state_database_that_is_gone_is_503_and_the_server_stays_alive(
    site: Site, files: Path
) -> None:
    database = site.parts.store._database
    async with database._turn:  # no connection is in use: the worker only writes
        await database.close()
    for path in files.glob("state.db*"):
        path.unlink()
    (files / "state.db").mkdir()
    try:
        for path in ("/readyz", "/", "/reports"):
            says(await site.get(path), 503, "The state database")
        says(await site.post("/reports", data={"dataset": "s.t"}), 503)
        problem(await site.get("/api/v1/reports"), 503, "state")
        assert (await site.get("/healthz")).status_code == 200
    finally:
        shutil.rmtree(files / "state.db")


class _Failing(Reports):
    def __init__(self) -> None:
        pass

    async def get(self, user: User, report_id: str) -> Report:
        raise ZeroDivisionError(f"secret of {report_id}")


async def test_an_error_inside_is_logged_and_answered_without_its_details(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    browser = site.client(replace(site.parts, reports=_Failing()))
    answer = await browser.get("/reports/abc")
    says(answer, 500, "the server&#39;s log has the details")
    found = problem(await browser.get("/api/v1/reports/abc"), 500, "internal")
    for text in (answer.text, json.dumps(found)):
        assert "secret" not in text
        assert "ZeroDivision" not in text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        "GET /reports/abc failed",
        "GET /api/v1/reports/abc failed",
    ]


# Compression


class Wire:
    """The answer to a GET, message by message: the next is made when the last one was taken."""

    def __init__(self, site: Site, path: str, accept: str | None) -> None:
        self._sent: asyncio.Queue[Any] = asyncio.Queue(1)
        headers = [(b"host", b"localhost:8000")]
        if accept is not None:
            headers.append((b"accept-encoding", accept.encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "server": ("localhost", 8000),
            "client": ("127.0.0.1", 1),
        }
        app: Any = create_app(site.parts)
        self._answering = asyncio.create_task(app(scope, self._receive, self._sent.put))

    async def _receive(self) -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def __aenter__(self) -> "Wire":
        start = await self.message()
        self.status = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        encoding = self.headers.get("content-encoding")
        self._decode = {"zstd": _unzstd, "gzip": _gunzip, None: _plain}[encoding]()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answering.cancel()
        await asyncio.gather(self._answering, return_exceptions=True)

    async def message(self) -> Any:
        async with asyncio.timeout(10):
            return await self._sent.get()

    async def text(self) -> tuple[str, bool]:
        """What the next message brings, read by a streaming decoder; whether more follows."""
        message = await self.message()
        body = message["body"]
        return (self._decode(body) if body else b"").decode(), message.get("more_body", False)


def _unzstd() -> Callable[[bytes], bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress


def _gunzip() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress


def _plain() -> Callable[[bytes], bytes]:
    return bytes


ACCEPTED = pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0, zstd;q=0", None),
        ("identity", None),
        (None, None),
    ],
)


@ACCEPTED
async def test_a_stream_is_compressed_message_by_message(
    site: Site, accept: str | None, encoding: str | None
) -> None:
    address = await site.done()
    async with Wire(site, f"{address}/events", accept) as wire:
        assert wire.headers.get("content-encoding") == encoding
        assert wire.headers["vary"] == "Accept-Encoding"
        assert wire.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in wire.headers
        for number in (1, 2, 3):
            text, _ = await wire.text()
            assert text.startswith(f"id: 1.{number}\ndata: ")
            assert text.endswith("\n\n")
        assert (await wire.text())[0].endswith("event: end\ndata: \n\n")
        rest, more = "", True
        while more:
            text, more = await wire.text()
            rest += text
        assert rest == ""


@pytest.mark.parametrize("accept", ["zstd", "gzip"])
async def test_news_of_a_report_without_rows_does_not_wait_in_the_compressor(
    open_site: Open, accept: str
) -> None:
    site = await open_site(ping_seconds=1)
    address = await site.ask("s.never")
    async with Wire(site, f"{address}/events", accept) as wire:
        texts = [(await wire.text())[0] for _ in range(3)]
    assert "data-status=" in texts[0]
    assert texts[-1].endswith("\n\n")
    assert "event: ping\ndata: \n\n" in texts


@ACCEPTED
async def test_rows_come_chunk_by_chunk_and_compressed(
    site: Site, accept: str | None, encoding: str | None
) -> None:
    address = await site.done()
    async with Wire(site, f"/api/v1{address}/rows", accept) as wire:
        assert wire.headers.get("content-encoding") == encoding
        counts = []
        more = True
        while more:
            text, more = await wire.text()
            counts.append(len([json.loads(line) for line in text.splitlines()]))
            assert text == "" or text.endswith("\n")
        assert counts == [1000, 1000, 500, 0]


@ACCEPTED
async def test_all_other_text_is_compressed(site: Site, accept: str | None, encoding: str | None) -> None:
    address = await site.done()
    paths = ("/", address, f"{address}/chunks/1", f"{address}/table.css", "/static/app.css", "/static/app.js")
    for path in (*paths, "/api/v1/datasets", "/schema"):
        async with Wire(site, path, accept) as wire:
            assert wire.status == 200, path
            assert wire.headers["vary"] == "Accept-Encoding", path
            message = await wire.message()
            plain = await site.get(path, headers={"Accept-Encoding": "identity"})
            size = len(plain.content)
            if size < 500:
                assert "content-encoding" not in wire.headers, path
                continue
            assert wire.headers.get("content-encoding") == encoding, path
            body = message["body"]
            more = message.get("more_body", False)
            assert wire._decode(body) == plain.content, path
            assert not more or (await wire.text()) == ("", False)
            if "content-length" in wire.headers:
                assert int(wire.headers["content-length"]) == len(body), path
            for name in ("cache-control", "content-type"):
                assert wire.headers.get(name) == plain.headers.get(name), path


async def test_an_answer_that_is_short_stays_as_it_is(site: Site) -> None:
    for path in ("/healthz", "/api/v1/reports"):
        answer = await site.get(path, headers={"Accept-Encoding": "gzip, zstd"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers


async def test_the_tag_of_a_static_file_is_weak_for_it_stands_for_several_encodings(site: Site) -> None:
    tags = {
        (await site.get("/static/app.css", headers={"Accept-Encoding": accept})).headers["etag"]
        for accept in ("identity", "gzip", "zstd")
    }
    assert len(tags) == 1
    assert tags.pop().startswith('W/"')


# Security


async def test_every_answer_carries_the_security_headers(site: Site) -> None:
    address = await site.done()
    answers = [
        await site.get(path)
        for path in (
            "/",
            "/datasets/s.t",
            "/reports",
            address,
            f"{address}/events",
            f"{address}/chunks/1",
            f"{address}/chunks/99",
            f"{address}/table.css",
            "/session",
            "/nothing",
            "/static/app.css",
            "/static/app.js",
            "/static/vendor/htmx.min.js",
            "/static/nothing",
            "/api/v1/datasets",
            "/api/v1/nothing",
            f"/api/v1{address}/rows",
            "/schema",
            "/healthz",
        )
    ]
    answers.append(await site.post("/reports", data={"dataset": "s.t"}))
    answers.append(await site.post("/reports", data={"dataset": "s.unknown"}))
    answers.append(await site.post(f"{address}/cancellation"))
    answers.append(await site.browser.put("/"))
    answers.append(await site.get("/", headers={"Host": "evil.example"}))
    browser = site.client(replace(site.parts, reports=_Failing()))
    answers.append(await browser.get("/reports/abc"))
    assert {answer.status_code for answer in answers} == {200, 303, 403, 404, 405, 409, 500}
    for answer in answers:
        policy = answer.headers.get_list("content-security-policy")
        assert len(policy) == 1, answer.url
        assert "default-src 'none'" in policy[0]
        assert "script-src 'self'" in policy[0]
        assert "style-src 'self'" in policy[0]
        assert "unsafe" not in policy[0]
        assert "frame-ancestors 'none'" in policy[0]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8000"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
async def test_a_post_from_another_site_is_refused(site: Site, headers: dict[str, str]) -> None:
    running = await site.ask("s.never")
    for path in ("/reports", f"{running}/cancellation", "/session"):
        answer = await site.post(path, data={"dataset": "s.t"}, headers=headers)
        says(answer, 403, "came from another site")
    problem(await site.post("/api/v1/reports", json={"dataset": "s.t"}, headers=headers), 403, "forbidden")
    says(await site.browser.delete("/session", headers=headers), 403)
    assert len(await site.parts.store.latest("local")) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "https://localhost:8000"},
    ],
)
async def test_a_post_from_a_page_of_this_site_or_a_program_is_taken(
    site: Site, headers: dict[str, str]
) -> None:
    answer = await site.post("/reports", data={"dataset": "s.t"}, headers=headers)
    assert answer.status_code == 303


async def test_a_link_from_another_site_may_be_followed(site: Site) -> None:
    says(await site.get("/", headers={"Sec-Fetch-Site": "cross-site"}), 200)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "[", "", "192.168.1.5"]
)
async def test_without_sign_in_a_foreign_name_is_refused(site: Site, host: str) -> None:
    for path in ("/", "/reports", "/static/app.css"):
        says(await site.get(path, headers={"Host": host}), 403, "127.0.0.1 and localhost only")
    problem(await site.get("/api/v1/reports", headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"])
async def test_without_sign_in_the_names_of_this_computer_are_answered(site: Site, host: str) -> None:
    says(await site.get("/", headers={"Host": host}), 200)


async def test_with_sign_in_any_name_is_answered(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    assert (await site.get("/session", headers={"Host": "reports.example"})).status_code == 200


# Signing in


@asynccontextmanager
async def signed_in(site: Site) -> AsyncIterator[AsyncClient]:
    token = await site.parts.sessions.issue_link("owner")
    async with site.client() as browser:
        answer = await browser.get("/", params={"token": token})
        assert answer.status_code == 303
        yield browser


async def test_without_a_session_everything_but_the_form_is_401(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    for path in ("/", "/datasets/s.t", "/reports", "/reports/x", "/reports/x/events", "/reports/x/chunks/1"):
        says(await site.get(path), 401, 'action="/session"')
    says(await site.post("/reports", data={"dataset": "s.t"}), 401)
    for path in ("/api/v1/datasets", "/api/v1/reports", "/api/v1/reports/x", "/api/v1/reports/x/rows"):
        problem(await site.get(path), 401, "not-signed-in")
    problem(await site.post("/api/v1/reports", json={"dataset": "s.t"}), 401, "not-signed-in")
    for path in ("/session", "/healthz", "/readyz", "/static/app.css"):
        assert (await site.get(path)).status_code == 200


async def test_a_link_signs_in_once_and_leaves_the_address_bar(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    token = await site.parts.sessions.issue_link("owner")
    answer = await site.get("/", params={"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    says(await site.get("/"), 200, "Owner")
    other = site.client()
    answer = await other.get("/", params={"token": token})
    says(answer, 401, "This link was used already, or is too old")
    assert "set-cookie" not in answer.headers
    says(await other.get("/"), 401)


async def test_a_link_that_is_opened_twice_in_one_browser_stays_signed_in(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    token = await site.parts.sessions.issue_link("owner")
    for _ in range(2):
        assert (await site.get("/", params={"token": token})).status_code == 303
    says(await site.get("/"), 200)


async def test_a_race_for_a_link_has_one_winner(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    token = await site.parts.sessions.issue_link("owner")
    answers = await asyncio.gather(*(site.client().get("/", params={"token": token}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [303] + [401] * 9


@pytest.mark.parametrize("token", ["", "wrong", "\0", "é" * 500])
async def test_a_wrong_token_does_not_sign_in(open_site: Open, token: str) -> None:
    site = await open_site(auth="accounts")
    await site.parts.sessions.issue_link("owner")
    says(await site.get("/", params={"token": token}), 401)
    answer = await site.post("/session", data={"token": token})
    says(answer, 401, "used already")
    assert "set-cookie" not in answer.headers


async def test_a_token_can_be_pasted_into_the_form(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    token = await site.parts.sessions.issue_link("owner")
    answer = await site.post("/session", data={"token": f" {token}\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    says(await site.get("/"), 200)


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(open_site: Open) -> None:
    site = await open_site(auth="accounts", session_days=2)
    token = await site.parts.sessions.issue_link("owner")
    (cookie,) = (await site.get("/", params={"token": token})).headers.get_list("set-cookie")
    name, *flags = [each.strip().lower() for each in cookie.split(";")]
    assert name.startswith("rowfall_session=")
    assert token.lower() not in name
    assert {"httponly", "samesite=lax", "path=/", f"max-age={2 * 86_400}"} <= set(flags)


async def test_signing_out_ends_the_session_and_not_only_the_cookie(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    async with signed_in(site) as browser:
        key = browser.cookies["rowfall_session"]
        answer = await browser.delete("/session")
        assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/session")
        assert "rowfall_session" not in browser.cookies
    answer = await site.get("/", headers={"Cookie": f"rowfall_session={key}"})
    says(answer, 401)


async def test_a_session_that_ran_out_is_401(open_site: Open) -> None:
    site = await open_site(auth="accounts", session_days=1.2 / 86_400)
    async with signed_in(site) as browser:
        key = browser.cookies["rowfall_session"]
        says(await browser.get("/"), 200)
        await asyncio.sleep(1.4)
    says(await site.get("/", headers={"Cookie": f"rowfall_session={key}"}), 401)


async def test_an_invented_session_is_401(open_site: Open) -> None:
    site = await open_site(auth="accounts")
    for key in ("", "x", "é", "a" * 5000):
        cookie = f"rowfall_session={key}".encode()
        says(await site.get("/", headers={b"Cookie": cookie}), 401)


async def test_neither_tokens_nor_keys_are_stored(open_site: Open, files: Path) -> None:
    site = await open_site(auth="accounts")
    token = await site.parts.sessions.issue_link("owner")
    answer = await site.get("/", params={"token": token})
    key = answer.cookies["rowfall_session"]
    stored = b"".join(path.read_bytes() for path in files.glob("state.db*"))
    assert token.encode() not in stored
    assert key.encode() not in stored


async def test_without_sign_in_a_token_in_the_address_is_dropped(site: Site) -> None:
    answer = await site.get("/", params={"token": "anything"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
