"""Every page in every state, looked at by axe: WCAG 2.2 AA and what is good practice beyond it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect
from report_page import generate, until, wait_for_chunks, wait_for_first_rows, wait_for_status
from serving import Serve, Server
from tables import cells_of_each_kind
from watching import Complaints

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What axe leaves to a person, looked at: cells behind the sticky column or header, of one character, or on a
# bar (`test_colours` has those); and the header's own table holds no cells.
_SEEN = ("color-contrast", "th-has-data-cells")
# A <tbody> is a rowgroup to axe, but to no engine where its <table> is one already (test_roles.py).
_NO_ROWGROUP = "children which are not allowed: tbody"
_RUN = """async rules => {
    const { violations, incomplete } = await axe.run(document, { runOnly: rules });
    const told = found => found.flatMap(rule => rule.nodes.map(node => ({
        rule: rule.id, place: node.target.join(" "), why: node.failureSummary, html: node.html.slice(0, 200),
        contrast: node.any[0]?.data,
    })));
    return [told(violations), told(incomplete)];
}"""

Inspect = Callable[[], None]


@pytest.fixture
def inspect(page: Page, browser_name: str) -> Inspect:
    """Fails with what axe finds wrong on the page as it is now, in light and in dark."""
    # Playwright cannot ask Firefox itself for another colour scheme.
    schemes = ("light", "dark") if browser_name == "chromium" else ("light",)

    def inspect() -> None:
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(AXE_SCRIPT)
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            wrong, unclear = page.evaluate(_RUN, _RULES)
            wrong = [each for each in wrong if not each["why"].endswith(_NO_ROWGROUP)]
            assert wrong == [], f"{scheme}: {page.url}"
            assert {(each["rule"], each["place"]) for each in unclear if each["rule"] not in _SEEN} == set()

    return inspect


@pytest.fixture
def server(short_pages: Server) -> Iterator[Server]:
    yield short_pages
    short_pages.cancel_all()


@pytest.fixture(autouse=True)
def _leaving_a_stream(complaints: Complaints) -> None:
    complaints.allow("Error in input stream")  # Firefox tells so when a page with a stream is left


def test_lists_and_forms(page: Page, server: Server, serve: Serve, inspect: Inspect, files: Path) -> None:
    for path in ("/", "/datasets/kinds.kinds", "/datasets/kinds.nothing_here"):
        page.goto(f"{server.url}{path}")
        inspect()
    fresh = serve(files / "kinds.db")
    for path in ("/", "/reports"):
        page.goto(f"{fresh.url}{path}")
        inspect()


def test_sign_in(page: Page, serve: Serve, inspect: Inspect, tmp_path: Path, complaints: Complaints) -> None:
    complaints.allow("401")
    closed = serve(cells_of_each_kind(tmp_path / "closed.db"), auth="accounts")
    page.goto(closed.url)
    inspect()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    inspect()
    page.goto(closed.link)
    inspect()


def test_errors(page: Page, server: Server, inspect: Inspect, complaints: Complaints) -> None:
    complaints.allow("404", "422")
    for path, status in (("/reports/nothing", 404), ("/nothing", 404), ("/datasets/kinds.other", 404)):
        answer = page.goto(f"{server.url}{path}")
        assert answer
        assert answer.status == status
        inspect()
    page.goto(server.page_of("kinds.kinds"))
    page.locator("input[name=dataset]").evaluate("input => { input.name = 'col'; input.value = 'nothing' }")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_text("422")).to_be_visible()
    inspect()


def test_a_report_waits_runs_and_is_cancelled(
    page: Page, server: Server, inspect: Inspect, complaints: Complaints
) -> None:
    complaints.allow("429")
    running = generate(page, server, "kinds.slow")
    server.wait_until(running, "running", rows=200)
    wait_for_first_rows(page)
    inspect()
    generate(page, server, "kinds.slow")
    inspect()
    for path in ("/", "/reports"):
        page.goto(f"{server.url}{path}")
        inspect()
    page.goto(server.page_of("kinds.slow"))
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_text("429")).to_be_visible()
    inspect()
    page.goto(f"{server.url}/reports/{running}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    inspect()
    page.get_by_role("button", name="Cancel report").click()
    wait_for_status(page, "cancelled")
    inspect()


def test_a_report_ends_empty_or_in_failure(page: Page, server: Server, inspect: Inspect) -> None:
    for dataset, status in (("kinds.nothing_here", "done"), ("kinds.failing", "failed")):
        generate(page, server, dataset)
        wait_for_status(page, status)
        inspect()


def test_a_finished_report(page: Page, server: Server, inspect: Inspect) -> None:
    report = f"{server.url}/reports/{generate(page, server, 'kinds.kinds')}"
    wait_for_chunks(page, 4)
    wait_for_status(page, "done")
    until(page, "() => document.querySelectorAll('#report-summary li').length > 0", True)
    inspect()
    page.get_by_role("button", name="Hide summaries").click()
    expect(page.get_by_role("button", name="Show summaries")).to_be_visible()
    inspect()
    page.get_by_text("Columns", exact=True).click()
    inspect()
    page.goto(f"{report}?row=600")
    wait_for_first_rows(page)
    page.locator("#report-scroll").press("ArrowDown")
    inspect()
    page.goto(f"{report}?keep=1")
    wait_for_first_rows(page)
    inspect()


def test_a_row_in_full_and_what_was_found(page: Page, server: Server, inspect: Inspect) -> None:
    report = f"{server.url}/reports/{generate(page, server, 'kinds.kinds')}"
    wait_for_status(page, "done")
    wait_for_first_rows(page)
    for sought in ("text 3", "not there"):
        page.get_by_label("Find in all rows").fill(sought)
        page.get_by_role("button", name="Find", exact=True).click()
        expect(page.locator("#report-found")).to_contain_text(re.compile("Row 3|No row contains"))
        inspect()
    page.locator("td.binary").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    inspect()
    for path in ("/rows/1", "/rows/2?column=3", "/find?q=text%203", "/find?q=not%20there"):
        page.goto(f"{report}{path}")
        inspect()


def test_downloads(page: Page, server: Server, inspect: Inspect) -> None:
    report = generate(page, server, "kinds.kinds")
    wait_for_status(page, "done")
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.get_by_role("link", name="NDJSON")).to_be_visible()
    inspect()
    page.get_by_role("button", name="Excel workbook").click()
    expect(page.get_by_role("link", name="Excel workbook")).to_be_visible(timeout=60_000)
    inspect()
    page.goto(f"{server.url}/reports/{report}/downloads")
    inspect()
    running = generate(page, server, "kinds.slow")
    server.wait_until(running, "running", rows=200)
    page.get_by_role("button", name="Download", exact=True).click()
    page.get_by_role("button", name="Excel workbook").click()
    expect(page.get_by_text("It is made when the report is over.")).to_be_visible()
    inspect()
