"""A person finds text in the rows of a report, those that the page holds and those that it does not."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, until, wait_for_rows, wait_for_status
from serving import Serve, Server
from tables import create, locked, select

# The row that is marked, whether it can be seen, and where the focus is.
_MARKED = """() => {
    const rows = document.querySelectorAll("#report-rows tr[aria-current]");
    if (rows.length !== 1) return rows.length;
    const place = rows[0].getBoundingClientRect();
    const frame = document.getElementById("report-scroll").getBoundingClientRect();
    const head = document.querySelector("#report-table .head").getBoundingClientRect();
    return [rows[0].ariaRowIndex - 1, place.top >= head.bottom - 1 && place.bottom <= frame.bottom];
}"""
_ANSWER = "() => document.getElementById('report-found').textContent.split(' Previous')[0]"
_FOCUS = "() => document.activeElement.id"


@pytest.fixture(scope="session")
def needles(serve_all: Serve, files: Path) -> Server:
    """`needles.t` with 9,000 rows on pages of 4,000, and `needle` in four of them; 2,000 rows live."""
    path = create(
        files / "needles.db",
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
        INSERT INTO t SELECT i, 'row ' || i || iif(i IN (7, 3500, 4001, 8990), ' needle', '') FROM n;
        """,
    )
    return serve_all(path, page_rows=4_000, page_chunks=2)


def find(page: Page, text: str) -> None:
    page.get_by_label("Find in all rows").fill(text)
    page.get_by_label("Find in all rows").press("Enter")


def test_a_text_far_down_is_found_and_its_row_is_shown(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.recordings")
    wait_for_status(page, "done")
    wait_for_rows(page, 23_453)
    columns = [name for _, name, *_ in select(demo_file, "PRAGMA table_info(recordings)")]
    rows = select(demo_file, "SELECT * FROM recordings")
    # A text that row 20,000 is the first to hold.
    wanted = next(
        (row, text)
        for row in range(20_000, len(rows))
        for text in rows[row - 1]
        if isinstance(text, str)
        and len(text) > 5
        and not any(text.casefold() in str(cell).casefold() for before in rows[: row - 1] for cell in before)
    )
    find(page, wanted[1])
    until(page, _MARKED, [wanted[0], True])
    answer = page.evaluate(_ANSWER)
    assert answer.startswith(f"Row {wanted[0]:,}, in column “")
    assert answer.split("“")[1].rstrip("”") in columns
    until(page, _FOCUS, "find-text")
    page.reload()
    until(page, _MARKED, [wanted[0], True])
    expect(page.get_by_label("Find in all rows")).to_have_value(wanted[1])


def test_next_and_previous_go_from_match_to_match_over_pages_and_around(page: Page, needles: Server) -> None:
    generate(page, needles, "needles.t")
    wait_for_status(page, "done")
    find(page, "NEEDLE")
    until(page, _MARKED, [7, True])
    until(page, _FOCUS, "find-text")
    page.get_by_role("link", name="Next").focus()
    for row in (3_500, 4_001, 8_990):  # the last two are on pages of their own
        page.keyboard.press("Enter")
        until(page, _MARKED, [row, True])
        until(page, _FOCUS, "find-next")
        assert page.evaluate(_ANSWER) == f"Row {row:,}, in column “name”"
        expect(page.get_by_label("Find in all rows")).to_have_value("NEEDLE")
    expect(page.get_by_role("link", name="Rows 8,001 to 9,000")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Enter")
    expect(page.locator("#report-found")).to_have_text("No more rows contain “NEEDLE” First: row 7")
    page.get_by_role("link", name="First: row 7").click()
    until(page, _MARKED, [7, True])
    page.get_by_role("link", name="Previous").click()
    page.get_by_role("link", name="Last: row 8,990").click()
    until(page, _MARKED, [8_990, True])
    page.get_by_role("link", name="Previous").click()
    until(page, _MARKED, [4_001, True])
    expect(page.get_by_label("Find in all rows")).to_have_value("NEEDLE")


def test_no_row_holds_the_text(page: Page, needles: Server) -> None:
    generate(page, needles, "needles.t")
    wait_for_status(page, "done")
    find(page, "<b>haystack")
    expect(page.locator("#report-found")).to_have_text("No row contains “<b>haystack”")
    assert page.evaluate(_MARKED) == 0
    until(page, _FOCUS, "find-text")
    find(page, "needle")
    until(page, _MARKED, [7, True])
    find(page, "haystack")
    expect(page.locator("#report-found")).to_have_text("No row contains “haystack”")


def test_a_running_report_is_searched_as_far_as_it_is(page: Page, paced: Server, files: Path) -> None:
    report_id = generate(page, paced, "long.paced")
    paced.wait_until(report_id, "running", rows=2_000)
    with locked(files / "long.db"):  # the report waits meanwhile
        find(page, "row 1234")
        until(page, _MARKED, [1_234, True])
        find(page, "row 11999")
        answer = page.locator("#report-found")
        expect(answer).to_contain_text("No row contains “row 11999” so far, after ")
        expect(answer).to_contain_text("rows; the report goes on")
    paced.wait_until(report_id, "done")
    page.get_by_role("link", name="Look again").click()
    until(page, _MARKED, [11_999, True])
    wait_for_status(page, "done")
    assert page.evaluate(_MARKED) == [11_999, True]
