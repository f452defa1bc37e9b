"""A person whose browser runs no scripts generates a report, reads all of it, finds a row and cancels.

Playwright can read and click in such a page; nothing of the page itself runs.
"""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import assert_same, until
from serving import Server
from tables import Shown, select, shown
from watching import MakeContext

RECORDINGS = 23_453

_ROWS = """() => [...document.querySelectorAll("#report-rows tr")].map(row => [...row.cells].map(
    cell => cell.className ? [cell.className, cell.textContent] : cell.textContent))"""
# The number of the marked row, whether it is coloured, and whether it can be seen.
_MARKED = """() => {
    const row = document.getElementById("this-row");
    const place = row.getBoundingClientRect();
    const frame = document.getElementById("report-scroll").getBoundingClientRect();
    const head = document.querySelector("#report-table .head").getBoundingClientRect();
    const [own, next] = [row, row.nextElementSibling].map(row => getComputedStyle(row).backgroundColor);
    return [row.ariaRowIndex - 1, own !== next, place.top >= head.bottom - 1 && place.bottom <= frame.bottom];
}"""
# What can be seen and pressed on a report's page.
_CONTROLS = """() => [...document.querySelectorAll("main :is(a, button, summary, input:not([type=hidden]))")]
    .filter(control => control.checkVisibility()).map(control => control.textContent || control.name)"""


@pytest.fixture
def plain(new_context: MakeContext, browser_name: str) -> Page:
    if browser_name == "firefox":
        pytest.skip("Playwright can neither stop Firefox's scripts nor click where a setting stopped them")
    return new_context(java_script_enabled=False).new_page()


def generate(page: Page, server: Server, dataset: str) -> str:
    """From the start page to the report: its address."""
    page.goto(server.url)
    page.locator(f'a.card[href="/datasets/{dataset}"]').click()
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url(re.compile(r"/reports/[0-9a-f-]{36}$"))
    return page.url


def done(page: Page, server: Server, dataset: str) -> str:
    address = generate(page, server, dataset)
    server.wait_until(address.rsplit("/", 1)[1], "done")
    page.goto(address)
    return address


def test_every_row_is_read_by_following_links(plain: Page, demo: Server, demo_file: Path) -> None:
    done(plain, demo, "noise.recordings")
    expect(plain.locator("#report-status")).to_have_text("Done")
    columns = [name for _, name, *_ in select(demo_file, "PRAGMA table_info(recordings)")]
    assert plain.locator("#report-table th").all_text_contents() == columns
    after = plain.get_by_role("link", name="Rows after")
    before = plain.get_by_role("link", name="Rows before")
    found: list[list[Shown]] = plain.evaluate(_ROWS)
    assert before.count() == 0
    while after.count():
        after.click()
        plain.wait_for_url(re.compile(rf"\?row={len(found) + 1}$"))
        found += plain.evaluate(_ROWS)
        assert len(found) <= RECORDINGS
    assert_same(found, shown(select(demo_file, "SELECT * FROM recordings")))
    before.click()
    plain.wait_for_url(re.compile(r"\?row=23000$"))
    assert_same(plain.evaluate(_ROWS), found[22_000:23_000])


def test_rows_are_found_by_number_and_by_text(plain: Page, demo: Server, demo_file: Path) -> None:
    address = done(plain, demo, "noise.recordings")
    plain.get_by_label("Row", exact=True).fill("20777")
    plain.get_by_role("button", name="Go", exact=True).click()
    plain.wait_for_url(f"{address}?row=20777#this-row")
    until(plain, _MARKED, [20_777, True, True])

    rows = [[str(cell).casefold() for cell in row] for row in select(demo_file, "SELECT * FROM recordings")]
    text = next(cell for cell in rows[19_999] if len(cell) > 5 and not cell.isdigit())
    matches = [number for number, row in enumerate(rows, 1) if any(text in cell for cell in row)]
    plain.get_by_label("Find in all rows").fill(text)
    plain.get_by_role("button", name="Find", exact=True).click()
    for row in matches[:3]:
        plain.wait_for_url(re.compile(rf"\?row={row}&"))
        until(plain, _MARKED, [row, True, True])
        expect(plain.locator("#report-found")).to_contain_text(f"Row {row:,}, in column “")
        expect(plain.get_by_label("Find in all rows")).to_have_value(text)
        plain.get_by_role("link", name="Next", exact=True).click()
    plain.goto(f"{address}/find?q={text}&after={matches[-1]}")
    if len(matches) > 1 or matches[0] != RECORDINGS:
        expect(plain.locator("#report-found")).to_contain_text("No more rows contain")
        plain.get_by_role("link", name=f"First: row {matches[0]:,}").click()
        until(plain, _MARKED, [matches[0], True, True])

    plain.get_by_label("Find in all rows").fill("<i>nowhere & never")
    plain.get_by_role("button", name="Find", exact=True).click()
    expect(plain.locator("#report-found")).to_have_text("No row contains “<i>nowhere & never”")
    expect(plain.get_by_label("Find in all rows")).to_have_value("<i>nowhere & never")
    assert plain.locator("#report-rows tr").count() == 1_000
    plain.get_by_role("link", name="Row 1 in full").click()
    expect(plain.get_by_role("heading", name="Row 1", exact=True)).to_be_visible()


def test_nothing_is_shown_that_would_not_work(
    plain: Page, demo: Server, artefacts: Path, browser_name: str
) -> None:
    done(plain, demo, "noise.recordings")
    plain.screenshot(caret="initial", path=artefacts / f"no-scripts-{browser_name}.png")
    assert [text.strip() for text in plain.evaluate(_CONTROLS)] == [
        "noise.recordings",
        "Keep",
        "Delete",
        "Download",
        "Run again",
        "row",
        "Go",
        "Columns",
        "q",
        "Find",
        "Rows after",
        "Row 1 in full",
    ]
    for useless in (".gap", ".grip", "#report-summary", "#report-connection", "#report-next", "dialog"):
        assert plain.locator(useless).filter(visible=True).count() == 0, useless
    assert plain.locator("#report-rows tr").first.is_visible()


def test_widths_are_set_by_the_form(plain: Page, demo: Server) -> None:
    address = done(plain, demo, "noise.about")
    plain.get_by_text("Columns", exact=True).click()
    first = plain.locator('#report-widths input[name="width"]').first
    first.fill("321")
    plain.get_by_role("button", name="Apply").click()
    plain.wait_for_url(address)
    assert plain.evaluate("() => document.querySelector('#report-table th').offsetWidth") == 321
    plain.get_by_text("Columns", exact=True).click()
    plain.get_by_role("button", name="Automatic").click()
    plain.wait_for_url(address)
    assert plain.evaluate("() => document.querySelector('#report-table th').offsetWidth") != 321


def test_a_running_report_comes_again_by_itself_until_it_is_cancelled(plain: Page, slow: Server) -> None:
    address = generate(plain, slow, "slow.slow")
    report_id = address.rsplit("/", 1)[1]
    text = plain.locator("#report-progress .text").text_content()
    with plain.expect_navigation(timeout=20_000):
        pass
    expect(plain.locator("#report-progress .text")).not_to_have_text(text or "")
    # Also at a row, whose address has a fragment.
    slow.wait_until(report_id, "running", rows=1)
    plain.goto(address)
    plain.get_by_label("Row", exact=True).fill("500")
    plain.get_by_role("button", name="Go", exact=True).click()
    plain.wait_for_url(f"{address}?row=500#this-row")
    text = plain.locator("#report-progress .text").text_content()
    expect(plain.locator("#report-progress .text")).not_to_have_text(text or "", timeout=20_000)
    assert "row=500" in plain.url
    plain.get_by_role("button", name="Cancel", exact=True).click()
    slow.wait_until(report_id, "cancelled", seconds=10)
    expect(plain.locator("#report-status")).to_contain_text("Cancelled", timeout=20_000)
    expect(plain.get_by_role("button", name="Run again")).to_be_visible()
    assert plain.locator('meta[http-equiv="refresh"]').count() == 0


def test_files_are_made_and_downloaded(plain: Page, demo: Server) -> None:
    done(plain, demo, "noise.recordings")
    plain.get_by_role("button", name="Download", exact=True).click()
    plain.get_by_role("link", name="Files of this report").click()
    plain.wait_for_url(re.compile(r"/downloads$"))
    plain.get_by_role("button", name="Excel workbook").click()
    link = plain.get_by_role("link", name="Excel workbook")
    expect(link).to_be_visible(timeout=60_000)  # the page comes anew until then
    with plain.expect_download() as found:
        link.click()
    assert found.value.failure() is None
    with plain.expect_download() as found:
        plain.get_by_role("link", name="CSV for programs").click()
    with Path(found.value.path()).open(newline="") as file:  # some texts have line breaks
        assert sum(1 for _ in csv.reader(file)) == RECORDINGS + 1
