"""The summaries above a report's columns, as the page asks for them. Nobody signs in."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from httpx import ASGITransport, AsyncClient, Response

from app.main import Parts, create_app, running
from app.model import Report, Spec, Status
from app.permissions import LOCAL_USER
from app.settings import SavedQuery, Settings
from app.source.sqlite import SqliteSource

HTMX = {"HX-Request": "true"}
HOSTILE = "</span><script>alert(1)</script>"
NEVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r"


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, mixed, "<i>" REAL)')
        names = [HOSTILE, None, "", HOSTILE, "x"]
        mixed = [1, "text", b"\0", None, 2.5]
        connection.executemany(
            'INSERT INTO t (name, mixed, "<i>") VALUES (?, ?, ?)',
            [(names[row % 5], mixed[row % 5], row / 7) for row in range(2500)],
        )
        connection.execute("CREATE TABLE empty (id INTEGER PRIMARY KEY)")
        wide = ", ".join(f"c{number} INTEGER DEFAULT {number}" for number in range(1500))
        connection.execute(f"CREATE TABLE wide ({wide})")
        connection.executemany("INSERT INTO wide (c0) VALUES (?)", [(row,) for row in range(30)])
        connection.commit()
    queries = (SavedQuery(source="s", name="never", sql=NEVER),)
    settings = Settings(state=str(tmp_path / "state.db"), auth="none", query=queries)
    async with running(settings, [SqliteSource("s", path, timeout=0.1)]) as parts:
        yield parts


@pytest.fixture
def client(parts: Parts) -> AsyncClient:
    transport = ASGITransport(create_app(parts))  # type: ignore[arg-type]
    return AsyncClient(transport=transport, base_url="http://localhost:8000")


async def until(parts: Parts, report_id: str, status: Status) -> Report:
    async with asyncio.timeout(20):
        while True:
            report = await parts.reports.get(LOCAL_USER, report_id)
            if report.status is status:
                return report
            await asyncio.sleep(0.02)


async def done(parts: Parts, dataset: str) -> str:
    """The address of a report that is over."""
    report = await parts.reports.request(LOCAL_USER, dataset)
    await until(parts, report.id, Status.DONE)
    return f"/reports/{report.id}"


def section(answer: Response) -> ET.Element:
    """The answer as one element; it must be well-formed but for the elements that have no end."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    html = answer.text.replace(" hx-status:", " hx-status-").replace(" hidden>", ' hidden="">')
    found = ET.fromstring(re.sub(r"(<input\b[^>]*)>", r"\1/>", html))
    assert found.attrib["id"] == "report-summary"
    return found


def column(found: ET.Element, number: int) -> str:
    """The words of a column, in one line."""
    cells = found.findall("./ul/li")
    return " ".join(" ".join(cells[number].itertext()).split())


async def test_the_summary_of_a_finished_report_is_complete_and_asks_no_more(
    parts: Parts, client: AsyncClient
) -> None:
    address = await done(parts, "s.t")
    found = section(await client.get(f"{address}/summary", headers=HTMX))
    assert [name for name in found.attrib if name.startswith("hx-")] == []
    assert "".join(found.find("form/span").itertext()) == "2,500 rows"  # type: ignore[union-attr]
    assert column(found, 0) == "id: 1 2,500 mean 1,250.5 0 NULL"
    assert column(found, 1) == f"name: {HOSTILE} 1,000 x 500 2 different 500 NULL · 500 empty"
    assert column(found, 2) == "mixed: 1 2.5 mean 1.75 500 NULL · 500 binary · 500 texts"
    assert column(found, 3) == "<i>: 0 357 mean 178.5 0 NULL"
    pictures = found.findall(".//svg[@role='img']")
    assert [each.attrib["aria-label"] for each in pictures][:1] == [
        "from 1 to 2,500, most between 128 and 256"
    ]
    classes = [each.attrib["class"] for each in found.findall("./ul/li")]
    assert classes == ["c1", "c2", "c3", "c4"]


async def test_a_running_report_is_looked_at_again_each_second(parts: Parts, client: AsyncClient) -> None:
    report = await parts.reports.request(LOCAL_USER, "s.never")
    await until(parts, report.id, Status.RUNNING)
    found = section(await client.get(f"/reports/{report.id}/summary", headers=HTMX))
    assert found.attrib["hx-get"] == f"/reports/{report.id}/summary"
    assert found.attrib["hx-trigger"] == "every 1s"
    assert found.find("ul") is None
    await parts.reports.cancel(LOCAL_USER, report.id)
    await until(parts, report.id, Status.CANCELLED)
    found = section(await client.get(f"/reports/{report.id}/summary", headers=HTMX))
    assert "hx-get" not in found.attrib
    assert "hidden" in found.attrib


async def test_the_page_comes_without_the_summary_and_asks_for_it(parts: Parts, client: AsyncClient) -> None:
    address = await done(parts, "s.t")
    page = (await client.get(address)).text
    (place,) = re.findall(r'<section id="report-summary"[^>]*>', page)
    assert f'hx-get="{address}/summary"' in place
    assert 'hx-trigger="load, every 1s"' in place
    assert page.index("report-summary") < page.index("report-table")
    assert "<ul" not in page


async def test_a_report_without_rows_shows_no_summary(parts: Parts, client: AsyncClient) -> None:
    page = (await client.get(await done(parts, "s.empty"))).text
    (place,) = re.findall(r'<section id="report-summary"[^>]*>', page)
    assert " hidden" in place
    assert "hx-" not in place


async def test_hiding_is_remembered_and_costs_nothing(parts: Parts, client: AsyncClient) -> None:
    address = await done(parts, "s.t")
    answer = await client.get(f"{address}/summary?show=hidden", headers=HTMX)
    cookie = answer.headers["set-cookie"]
    assert re.match("rowfall_summary=hidden; ", cookie)
    for attribute in ("HttpOnly", "Max-Age=31536000", "Path=/", "SameSite=lax"):
        assert attribute in cookie
    for html in (answer.text, (await client.get(address)).text):
        (place,) = re.findall(r'<section id="report-summary"[^>]*>', html)
        assert "hx-" not in place
        assert ">Show summaries</button>" in html
        assert "Hide" not in html
    assert section(await client.get(f"{address}/summary", headers=HTMX)).find("ul") is None
    shown = await client.get(f"{address}/summary?show=shown", headers=HTMX)
    assert section(shown).find("ul") is not None
    assert ">Hide summaries</button>" in shown.text
    assert ">Hide summaries</button>" in (await client.get(address)).text


@pytest.mark.parametrize("query", ["", "?show=hidden", "?show=shown"])
async def test_without_htmx_the_answer_leads_back_to_the_report(
    parts: Parts, client: AsyncClient, query: str
) -> None:
    address = await done(parts, "s.t")
    answer = await client.get(f"{address}/summary{query}")
    assert (answer.status_code, answer.headers["location"]) == (303, address)
    assert ("set-cookie" in answer.headers) is bool(query)


async def test_the_summary_of_a_wide_report_stays_small_and_says_so(
    parts: Parts, client: AsyncClient
) -> None:
    answer = await client.get(f"{await done(parts, 's.wide')}/summary", headers=HTMX)
    found = section(answer)
    assert "".join(found.find("form/span").itertext()) == "30 rows, the first 100 of 1,500 columns"  # type: ignore[union-attr]
    assert len(found.findall("./ul/li")) == 101
    assert column(found, 99) == "c99: 99 all the same 0 NULL"
    assert len(answer.text) < 100_000


async def test_an_unknown_choice_is_refused(parts: Parts, client: AsyncClient) -> None:
    answer = await client.get(f"{await done(parts, 's.t')}/summary?show=maybe", headers=HTMX)
    assert answer.status_code == 422
    assert "set-cookie" not in answer.headers


async def test_the_summary_of_somebody_elses_report_is_unknown(parts: Parts, client: AsyncClient) -> None:
    columns = (await parts.catalog.dataset("s.t")).columns
    await parts.store.create("theirs", "somebody-else", 5, "s.t", Spec((0, 1, 2, 3)), columns)
    for report_id in ("theirs", "nobody"):
        for headers in (HTMX, {}):
            answer = await client.get(f"/reports/{report_id}/summary?show=hidden", headers=headers)
            assert answer.status_code == 404
            assert "set-cookie" not in answer.headers
