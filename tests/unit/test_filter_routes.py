"""Filters in forms, addresses and the API, and where pages and files show them. Nobody signs in."""

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import insert

from app.codec import CODEC
from app.main import Parts, create_app, running
from app.model import Filter, Op, Report, Spec, Status
from app.permissions import LOCAL_USER
from app.schema import chunk as chunk_table
from app.schema import report as report_table
from app.settings import SavedQuery, Settings
from app.source.sqlite import SqliteSource

NEVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r"
HOSTILE = '</p><script>alert("1")</script>'
BROKEN = 'a\nb "c"'


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, city TEXT, price REAL, "odd__<i>" TEXT)')
        cities = ["Rome", "Oslo", HOSTILE, BROKEN, None]
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)",
            [(row, cities[row % 5], row / 4, str(row)) for row in range(1, 2501)],
        )
        connection.execute("CREATE VIEW v AS SELECT city, price FROM t")
        connection.commit()
    queries = (SavedQuery(source="s", name="never", sql=NEVER),)
    settings = Settings(state=str(tmp_path / "state.db"), auth="none", reports_per_user=3, query=queries)
    async with running(settings, [SqliteSource("s", path, timeout=0.1)]) as parts:
        yield parts


@pytest.fixture
def client(parts: Parts) -> AsyncClient:
    transport = ASGITransport(create_app(parts))  # type: ignore[arg-type]
    return AsyncClient(transport=transport, base_url="http://localhost:8000")


class Forms(HTMLParser):
    """The forms of a page: where they go, with which hidden fields, by which buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str]], list[str]]] = []
        self._in_button = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((values.get("action", ""), [], []))
        if tag == "input" and values.get("type") == "hidden":
            self.found[-1][1].append((values["name"], values["value"]))
        self._in_button = tag == "button"

    def handle_data(self, data: str) -> None:
        if self._in_button and self.found:
            self.found[-1][2].append(data)
            self._in_button = False

    def by(self, button: str) -> tuple[str, list[tuple[str, str]]]:
        return next((action, fields) for action, fields, buttons in self.found if button in buttons)


async def press(client: AsyncClient, page: Response, button: str, *more: tuple[str, str]) -> Response:
    """As a browser does it: each line break of a field becomes CR LF."""
    action, fields = Forms(page.text).by(button)
    data: dict[str, list[str]] = {}
    for name, value in (*fields, *more):
        data.setdefault(re.sub("\r?\n", "\r\n", name), []).append(re.sub("\r?\n", "\r\n", value))
    return await client.post(action, data=data)


async def done(parts: Parts, answer: Response) -> Report:
    """The report that an answer leads to, when it is over."""
    assert answer.status_code in (201, 303), answer.text
    report_id = answer.headers["location"].split("/")[2] if answer.status_code == 303 else answer.json()["id"]
    async with asyncio.timeout(20):
        while True:
            report = await parts.reports.get(LOCAL_USER, report_id)
            if report.status.final:
                return report
            await asyncio.sleep(0.02)


async def ids(client: AsyncClient, report: Report) -> list[int]:
    """The first cells of all rows."""
    lines = (await client.get(f"/api/v1/reports/{report.id}/rows")).text.splitlines()
    return [json.loads(line)[0] for line in lines]


def asked(report: Report) -> list[tuple[str, str, Sequence[str]]]:
    return [(each.name, each.op, each.values) for each in report.spec.filters]


ROME = [row for row in range(1, 2501) if row % 5 == 0]
ABOVE = [row for row in range(1, 2501) if row / 4 > 600]


async def test_a_form_asks_for_the_rows_that_meet_its_filters(parts: Parts, client: AsyncClient) -> None:
    form = {"dataset": "s.t", "city__in": ["Rome", "Oslo"], "price__gt": "600", "col": ["id", "price"]}
    report = await done(parts, await client.post("/reports", data=form))
    assert report.status is Status.DONE
    assert await ids(client, report) == [row for row in ABOVE if row % 5 in (0, 1)]
    assert (report.rows, report.total, report.total_kind) == (40, 40, "exact")
    assert asked(report) == [("city", "in", ("Rome", "Oslo")), ("price", "gt", ("600",))]
    assert [column.name for column in report.columns] == ["id", "price"]


async def test_the_api_asks_for_the_same(parts: Parts, client: AsyncClient) -> None:
    filters = [
        {"column": "city", "op": "in", "value": ["Rome", "Oslo"]},
        {"column": "price", "op": "gt", "value": 600},
        {"column": "odd__<i>", "op": "notnull"},
    ]
    answer = await client.post("/api/v1/reports", json={"dataset": "s.t", "filters": filters})
    assert "filters" not in answer.json()
    report = await done(parts, answer)
    assert await ids(client, report) == [row for row in ABOVE if row % 5 in (0, 1)]
    for dataset in ("s.t", "s.v"):
        nothing = {"dataset": dataset, "filters": [{"column": "price", "op": "lt", "value": 0}]}
        report = await done(parts, await client.post("/api/v1/reports", json=nothing))
        assert (report.status, report.rows, report.total) == (Status.DONE, 0, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("prize", "gt", 1), "s.t has no column 'prize'. Its columns are 'id', 'city'"),
        (("price", "above", 1), "“above” in the filter on “price” is no operator. There are eq"),
        (("price", "gt", None), "The value of the filter on “price” by gt is no text and no number."),
        (("city", "in", "Rome"), "The filter on “city” by in needs a list of values."),
        (("city", "isnull", 0), "The filter on “city” by isnull takes no value"),
    ],
)
async def test_a_bad_filter_is_422_and_named(
    client: AsyncClient, given: tuple[str, str, Any], said: str
) -> None:
    filters = [dict(zip(("column", "op", "value"), given, strict=True))]
    answer = await client.post("/api/v1/reports", json={"dataset": "s.t", "filters": filters})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert answer.json()["code"] == "invalid"
    assert (await client.get("/api/v1/reports")).json() == []


@pytest.mark.parametrize(
    "given", [{"column": "price"}, {"column": 5, "op": "gt"}, {"columns": "x", "op": "gt"}, []]
)
async def test_an_object_that_is_no_filter_is_422(client: AsyncClient, given: object) -> None:
    answer = await client.post("/api/v1/reports", json={"dataset": "s.t", "filters": [given]})
    assert (answer.status_code, answer.json()["code"]) == (422, "http")


@pytest.mark.parametrize("path", ["/datasets/s.t?{}", "/reports"])
@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("prize__gt=1", "no column &#39;prize&#39;"),
        ("price__above=1", "“above” in the filter on “price” is no operator"),
        ("price=1", "price__eq=10"),
        ("sort=price", "sort: sorting is not available yet."),
    ],
)
async def test_a_page_says_which_field_does_not_fit(
    client: AsyncClient, path: str, field: str, said: str
) -> None:
    if path == "/reports":
        answer = await client.post(path, data=dict([("dataset", "s.t"), *parse_qsl(field)]))
    else:
        answer = await client.get(path.format(field))
    assert answer.status_code == 422
    assert said in answer.text


async def test_the_address_of_a_dataset_holds_filters_and_columns_of_the_report(
    parts: Parts, client: AsyncClient
) -> None:
    page = await client.get("/datasets/s.t?col=id&col=city&city__eq=Rome&price__isnull=&price__gt=600")
    assert page.status_code == 200
    line = "city = &#34;Rome&#34; and price is NULL and price &gt; 600"
    assert f">Only rows where {line}</p>" in page.text
    assert "Only the columns id, city</p>" in page.text
    assert "No row was found within two seconds." in page.text
    page = await client.get("/datasets/s.t?col=id&col=city&city__eq=Rome&price__gt=600")
    assert page.text.count("<td>Rome</td>") == 8  # the preview
    report = await done(parts, await press(client, page, "Generate"))
    assert await ids(client, report) == [row for row in ROME if row in ABOVE]
    assert [column.name for column in report.columns] == ["id", "city"]
    answer = await press(client, page, "Generate", ("download", "csv"))
    assert answer.headers["location"].endswith("/export.csv")
    csv = await client.get(answer.headers["location"])
    assert csv.text.splitlines() == ['"id","city"', *(f'{row},"Rome"' for row in ROME if row in ABOVE)]


async def test_without_filters_the_page_of_a_dataset_says_nothing_of_them(client: AsyncClient) -> None:
    page = await client.get("/datasets/s.t")
    assert "report-filters" not in page.text
    assert "report-columns" not in page.text
    assert Forms(page.text).by("Generate") == ("/reports?dataset=s.t", [("dataset", "s.t")])


@pytest.mark.parametrize("value", [HOSTILE, BROKEN, "Rome"])
async def test_a_report_shows_its_filters_and_runs_again_with_them(
    parts: Parts, client: AsyncClient, value: str
) -> None:
    filters = [
        {"column": "city", "op": "in", "value": [value, "x&y"]},
        {"column": "odd__<i>", "op": "contains", "value": "1"},
    ]
    request = {"dataset": "s.t", "columns": ["price", "id"], "filters": filters}
    first = await done(parts, await client.post("/api/v1/reports", json=request))
    page = await client.get(f"/reports/{first.id}")
    assert page.text.count('id="report-filters"') == 1
    assert "odd__&lt;i&gt; contains &#34;1&#34;" in page.text
    assert "<script>alert" not in page.text
    assert "and 1 more</span>" in (await client.get("/reports")).text
    again = await done(parts, await press(client, page, "Run again"))
    assert again.id != first.id
    assert (again.spec, again.rows) == (first.spec, first.rows)
    assert again.rows > 100


async def test_one_report_too_many_keeps_its_filters_for_another_try(
    parts: Parts, client: AsyncClient
) -> None:
    running = [await client.post("/reports", data={"dataset": "s.never"}) for _ in range(3)]
    form = {"dataset": "s.t", "col": ["id"], "city__in": ["Rome", BROKEN]}
    page = await client.post("/reports", data=form)
    assert page.status_code == 429
    for each in running:
        await client.post(f"{each.headers['location']}/cancellation")
    for each in running:
        await done(parts, each)
    report = await done(parts, await press(client, page, "Try again"))
    assert asked(report) == [("city", "in", ("Rome", BROKEN))]
    assert [column.name for column in report.columns] == ["id"]


async def test_files_tell_the_filters(parts: Parts, client: AsyncClient) -> None:
    filters = [
        {"column": "city", "op": "in", "value": ["Rome", "Oslo"]},
        {"column": "price", "op": "gt", "value": "600"},
        {"column": "id", "op": "notnull"},
    ]
    request = {"dataset": "s.t", "columns": ["city"], "filters": filters}
    report = await done(parts, await client.post("/api/v1/reports", json=request))
    proof = (await client.get(f"/reports/{report.id}/export.json")).json()
    assert proof["filters"] == [*filters[:2], {"column": "id", "op": "notnull", "value": None}]
    assert proof["rows_written"] == proof["rows_expected"] == 40
    # A filter as the proof tells it asks for the same rows.
    request["filters"] = proof["filters"]
    again = await done(parts, await client.post("/api/v1/reports", json=request))
    assert again.spec == report.spec


async def test_a_continued_report_goes_on_with_its_filters(parts: Parts, client: AsyncClient) -> None:
    form = {"dataset": "s.t", "city__eq": "Rome", "col": "id"}
    whole = await done(parts, await client.post("/reports", data=form))
    dataset = await parts.catalog.dataset("s.t")
    source = parts.catalog.source(dataset)
    reader = await source.open_reader(dataset, (0,), None, 100, whole.spec.filters)
    batch = await reader.read()
    await reader.close()
    assert batch is not None
    values = {
        "id": "early",
        "owner": "local",
        "dataset": "s.t",
        "spec": msgspec.to_builtins(whole.spec),
        "columns": msgspec.to_builtins(whole.columns),
        "status": "cancelled",
        "next_chunk": 2,
        "rows": batch.rows,
        "bytes": len(batch.payload),
        "cursor": batch.cursor,
        "created_at": time.time(),
        "finished_at": time.time(),
    }
    chunk = {"report": "early", "generation": 1, "number": 1, "first_row": 1, "rows": batch.rows}
    async with parts.store._database.write() as connection:
        await connection.execute(insert(report_table).values(values))
        await connection.execute(
            insert(chunk_table).values({**chunk, "codec": CODEC, "payload": batch.payload})
        )
    report = await done(parts, await client.post("/reports/early/continuation"))
    assert report.spec == whole.spec
    assert (report.status, report.chunks, report.total) == (Status.DONE, 2, 500)
    assert await ids(client, report) == ROME


@pytest.mark.parametrize(("name", "declared"), [("town", "TEXT"), ("city", "INTEGER")])
async def test_a_filter_whose_column_is_no_longer_there_fails_the_report(
    parts: Parts, client: AsyncClient, name: str, declared: str
) -> None:
    columns = (await parts.catalog.dataset("s.t")).columns[:1]
    spec = Spec((0,), (Filter(1, name, declared, Op.EQ, ("Rome",)),))
    await parts.store.create("old", "local", 5, "s.t", spec, columns)
    await client.post("/reports", data={"dataset": "s.t"})  # wakes the worker
    async with asyncio.timeout(20):
        while True:
            report = await parts.reports.get(LOCAL_USER, "old")
            if report.status.final:
                break
            await asyncio.sleep(0.02)
    assert (report.status, report.error_code, report.rows) == (Status.FAILED, "source-changed", 0)
    assert "The columns of s.t have changed since this report was asked for." in (report.error or "")
