"""Finding a row and showing one in full, by htmx and without scripts."""

import asyncio
import html
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response

from app.main import Parts, create_app, running
from app.model import CELL_LIMIT, Report, Spec, Status
from app.permissions import LOCAL_USER
from app.routes import rows as module
from app.settings import Settings
from app.source.sqlite import SqliteSource
from app.templating import environment

HTMX = {"HX-Request": "true"}
ODD = '“a&b=c#d"<i>é'
WIDE = 1990
CELLS = ["<b>two\n\nlines</b>", None, b"\x00\xffABC" * 5, 1.5, "", "a\0b", "é" * (CELL_LIMIT + 1)]


class Site:
    """Reports that are done: `t` has 2,500 rows; `cells` a row for each odd value; `wide` 1,990 columns."""

    def __init__(self, parts: Parts) -> None:
        transport = ASGITransport(create_app(parts))  # type: ignore[arg-type]
        self.parts = parts
        self.browser = AsyncClient(transport=transport, base_url="http://localhost:8000")

    async def done(self, name: str = "t") -> str:
        """The address of a report that is over."""
        report = await self.parts.reports.request(LOCAL_USER, f"s.{name}")
        async with asyncio.timeout(20):
            while True:
                if (await self.report(report.id)).status.final:
                    break
                await asyncio.sleep(0.02)
        return f"/reports/{report.id}"

    async def report(self, report_id: str) -> Report:
        return await self.parts.reports.get(LOCAL_USER, report_id)

    async def get(self, path: str, *, htmx: bool = True, **query: Any) -> Response:
        return await self.browser.get(path, params=query or None, headers=HTMX if htmx else {})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, "" TEXT)')
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)",
            [(number, {7: "needle", 1500: "Needle " + ODD}.get(number, "hay")) for number in range(1, 2501)],
        )
        connection.execute("CREATE TABLE cells (id INTEGER PRIMARY KEY, value)")
        connection.executemany("INSERT INTO cells (value) VALUES (?)", [(cell,) for cell in CELLS])
        connection.execute("INSERT INTO cells (value) VALUES (CAST(x'61ff62' AS TEXT)), (zeroblob(40000))")
        connection.execute(f"CREATE TABLE wide ({', '.join(f'c{n} TEXT' for n in range(1, WIDE + 1))})")
        connection.execute("INSERT INTO wide (c1, c1990) VALUES (?, 'last')", ("x" * 30_000,))
        connection.commit()
    values: dict[str, Any] = {"state": str(tmp_path / "state.db"), "auth": "none"}
    async with running(Settings(**values), [SqliteSource("s", tmp_path / "s.db", timeout=0.1)]) as parts:
        yield Site(parts)


def text(answer: Response) -> str:
    """The words of an answer."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def link(answer: Response, label: str) -> str:
    """Where the link with this label leads, with scripts and without."""
    for address, by_htmx, words in re.findall(
        r'<a [^>]*href="([^"]+)" hx-get="([^"]+)"[^>]*>([^<]+)</a>', answer.text
    ):
        if words == label:
            assert address == by_htmx
            return html.unescape(address)
    raise AssertionError(f"no link {label!r} in {answer.text}")


def is_fragment(answer: Response, root: str, status: int = 200) -> None:
    assert answer.status_code == status, answer.text
    assert re.match(rf'\s*<\w+ id="{root}"', answer.text), answer.text
    assert "HX-Request" in answer.headers["vary"].split(",")


# Finding


async def test_next_and_previous_lead_from_match_to_match_and_round_at_the_ends(site: Site) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/find", q="NEEDLE", after=0)
    is_fragment(answer, "report-found")
    assert 'role="status" data-row="7" data-column="2"' in answer.text
    assert text(answer) == "Row 7, in column “(no name)” Previous Next"
    answer = await site.get(link(answer, "Next"))
    assert text(answer).startswith("Row 1,500, in column")
    answer = await site.get(link(answer, "Next"))
    assert text(answer) == "No more rows contain “NEEDLE” First: row 7"
    assert "data-row" not in answer.text
    answer = await site.get(link(answer, "First: row 7"))
    assert 'data-row="7"' in answer.text
    answer = await site.get(link(answer, "Previous"))
    assert text(answer) == "No earlier row contains “NEEDLE” Last: row 1,500"
    answer = await site.get(link(answer, "Last: row 1,500"))
    assert 'data-row="1500"' in answer.text
    assert 'data-row="7"' in (await site.get(link(answer, "Previous"))).text


async def test_a_text_that_is_in_no_row_is_said_to_be_in_none(site: Site) -> None:
    address = await site.done()
    for where in ({}, {"after": 1200}, {"before": 1200}, {"after": "9" * 30}, {"before": 0}):
        answer = await site.get(f"{address}/find", q="<b>absent", **where)
        is_fragment(answer, "report-found")
        assert text(answer) == "No row contains “<b>absent”"
        assert "<b>" not in answer.text


async def test_a_text_with_odd_characters_stays_the_same_in_every_link(site: Site) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/find", q=ODD)
    assert 'data-row="1500"' in answer.text
    answer = await site.get(link(answer, "Next"))
    assert text(answer) == f"No more rows contain “{ODD}” First: row 1,500"


async def test_a_search_that_takes_too_long_says_how_far_it_came_and_goes_on_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0)
    address = await site.done()
    answer = await site.get(f"{address}/find", q=ODD)
    assert text(answer) == "Looked through 1,000 rows so far, up to row 1,000 Go on"
    assert 'data-row="1500"' in (await site.get(link(answer, "Go on"))).text
    answer = await site.get(f"{address}/find", q="absent")
    answer = await site.get(link(answer, "Go on"))
    assert text(answer) == "Looked through 2,000 rows so far, up to row 2,000 Go on"
    assert text(await site.get(link(answer, "Go on"))) == "No row contains “absent”"
    answer = await site.get(f"{address}/find", q="absent", before=2501)
    assert text(answer) == "Looked through 500 rows so far, down to row 2,001 Go on"
    answer = await site.get(link(answer, "Go on"))
    assert text(answer) == "Looked through 1,500 rows so far, down to row 1,001 Go on"
    assert text(await site.get(link(answer, "Go on"))) == "No row contains “absent”"
    answer = await site.get(f"{address}/find", q="absent", after=2100)
    assert text(answer) == "No more rows contain “absent” Search from the top"
    assert link(answer, "Search from the top").endswith("&after=0")


async def test_without_scripts_finding_leads_to_the_page_at_the_row(site: Site) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/find", htmx=False, q="needle", after=7)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"{address}?row=1500&q=needle&found=1500#this-row",
    )
    page = (await site.get(answer.headers["location"].partition("#")[0], htmx=False)).text
    assert page.count('<tr id="this-row" aria-current="true" aria-rowindex="1501"') == 1
    assert page.count('id="report-found" role="status" data-row="1500" data-column="2"') == 1
    assert 'name="q" value="needle"' in page
    answer = await site.get(f"{address}/find", htmx=False, q="a &b", after=0)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{address}?q=a%20%26b&found=none")
    page = (await site.get(answer.headers["location"], htmx=False)).text
    assert "No row contains “a &amp;b”" in page
    assert 'aria-current="true"' not in page
    # An address that claims what is not so.
    page = (await site.get(f"{address}?row=1400&q=needle&found=1400", htmx=False)).text
    assert '<tr id="this-row" aria-current="true" aria-rowindex="1501"' in page
    page = (await site.get(f"{address}?q=needle&found=none", htmx=False)).text
    assert 'data-row="7"' in page


async def test_without_scripts_the_only_match_is_the_other_way(site: Site) -> None:
    answer = await site.get(f"{await site.done()}/find", htmx=False, q="needle", after=1500)
    assert answer.status_code == 200
    assert "No more rows contain “needle”" in answer.text
    assert "First: row 7" in answer.text


async def test_without_scripts_a_long_search_goes_on_from_a_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0)
    address = await site.done()
    answer = await site.get(f"{address}/find", htmx=False, q=ODD)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    assert answer.text.count('id="report-found"') == 1
    assert f'value="{html.escape(ODD).replace("&quot;", "&#34;")}"' in answer.text
    answer = await site.get(link(answer, "Go on"), htmx=False)
    assert answer.headers["location"].startswith(f"{address}?row=1500&")


async def test_of_a_report_that_is_not_over_it_is_said_that_rows_may_come(site: Site) -> None:
    address = await site.done()
    report = replace(await site.report(address.removeprefix("/reports/")), status=Status.RUNNING, rows=7)
    context = dict.fromkeys(("problem", "found", "passed", "other_end"))
    words = environment().get_template("reports/_found.html").render(report=report, q="x", **context)
    assert "No row contains “x” so far, after 7 rows; the report goes on" in words
    assert f'href="{address}/find?q=x&amp;after=7&amp;start=0"' in words


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"q": ""}, "Say what to find."),
        ({}, "Say what to find."),
        ({"q": "x" * 1001}, "at most 1,000 characters; this one has 1,001"),
        ({"q": "x", "after": -1}, "0 or more"),
        ({"q": "x", "before": -1}, "0 or more"),
    ],
)
async def test_a_search_that_means_nothing_is_422_with_a_sentence(
    site: Site, query: dict[str, Any], sentence: str
) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/find", **query)
    is_fragment(answer, "report-found", 422)
    assert sentence in text(answer)
    answer = await site.get(f"{address}/find", htmx=False, **query)
    assert answer.status_code == 422
    assert answer.text.startswith("<!doctype html>")
    assert sentence in text(answer)


@pytest.mark.parametrize("after", ["x", "", "1.5", "1" * 5000])
async def test_a_number_of_a_row_that_is_none_is_no_error_of_the_server(site: Site, after: str) -> None:
    answer = await site.get(f"{await site.done()}/find", q="x", after=after)
    assert answer.status_code in (200, 422)


async def test_the_longest_text_can_be_sought(site: Site) -> None:
    answer = await site.get(f"{await site.done()}/find", q="😀" * 1000)
    is_fragment(answer, "report-found")


async def test_what_belongs_to_somebody_else_is_as_unknown_as_what_never_was(site: Site) -> None:
    columns = (await site.parts.catalog.dataset("s.t")).columns
    await site.parts.store.create("theirs", "somebody-else", 5, "s.t", Spec((0, 1)), columns)
    for report_id in ("theirs", "nobody"):
        for part, root in (("find?q=x", "report-found"), ("rows/1", "report-row")):
            for htmx in (True, False):
                answer = await site.get(f"/reports/{report_id}/{part}", htmx=htmx)
                assert answer.status_code == 404
                assert "or it belongs to somebody else" in text(answer)
                assert (f'id="{root}"' in answer.text) is htmx


# A row in full


async def test_a_row_is_a_part_for_htmx_and_a_page_without_scripts(site: Site) -> None:
    address = await site.done()
    part = await site.get(f"{address}/rows/1500", column=2)
    is_fragment(part, "report-row")
    assert text(part) == f"Row 1,500 Previous row Next row id INTEGER 1500 (no name) TEXT Needle {ODD}"
    assert re.findall(r'<tr id="column-(\d+)" data-column="\1"( aria-current="true")?>', part.text) == [
        ("1", ""),
        ("2", ' aria-current="true"'),
    ]
    page = await site.get(f"{address}/rows/1500", htmx=False, column=2)
    assert page.text.startswith("<!doctype html>")
    assert part.text.strip() in page.text
    assert f'href="{address}?row=1500"' in page.text


async def test_rows_lead_to_the_rows_beside_them(site: Site) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/rows/1", column=2)
    assert "Previous row" not in answer.text
    for number in (2, 3):
        answer = await site.get(link(answer, "Next row"))
        assert text(answer).startswith(f"Row {number} ")
        assert 'data-column="2" aria-current="true"' in answer.text
    assert text(await site.get(link(answer, "Previous row"))).startswith("Row 2 ")
    assert "Next row" not in (await site.get(f"{address}/rows/2500")).text


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        (1, '<td><div class="value">&lt;b&gt;two\n\nlines&lt;/b&gt;</div></td>'),
        (2, '<td class="null"><div class="value">NULL</div></td>'),
        (3, f"00000010  ff 41 42 43 00 ff 41 42 43{' ' * 23}.ABC..ABC</div>"),
        (3, '<p class="about">25 bytes</p>'),
        (4, '<td><div class="value">1.5</div></td>'),
        (5, '<td class="empty"><div class="value"></div></td>'),
        (6, '<div class="value">a<span class="nul" title="NUL character">␀</span>b</div>'),
        (7, f'<td class="cut"><div class="value">{"é" * CELL_LIMIT}</div>'),
        (7, "a report keeps the first 32,768 characters of a cell."),
        (8, '<td class="undecodable"><div class="value">a�b</div><p class="about">Not UTF-8'),
        (9, "00007ff0  00 00 00"),
        (9, "a report keeps the first 32,768 bytes of a cell."),
    ],
)
async def test_a_cell_is_shown_in_full(site: Site, row: int, cell: str) -> None:
    answer = await site.get(f"{await site.done('cells')}/rows/{row}")
    is_fragment(answer, "report-row")
    assert cell in answer.text
    assert "00008000" not in answer.text


async def test_a_row_of_very_many_columns_is_shown(site: Site) -> None:
    answer = await site.get(f"{await site.done('wide')}/rows/1", column=WIDE)
    assert answer.text.count("data-column=") == WIDE
    assert f'data-column="{WIDE}" aria-current="true"' in answer.text
    assert "x" * 30_000 in answer.text
    assert answer.text.count('class="null"') == WIDE - 2


@pytest.mark.parametrize("number", ["0", "2501", "-1", "9" * 30])
async def test_a_row_that_is_not_there_is_404(site: Site, number: str) -> None:
    address = await site.done()
    answer = await site.get(f"{address}/rows/{number}")
    is_fragment(answer, "report-row", 404)
    assert f"This report has no row {int(number):,}. Its rows: 2,500." in text(answer)
    answer = await site.get(f"{address}/rows/{number}", htmx=False)
    assert answer.status_code == 404
    assert answer.text.startswith("<!doctype html>")
