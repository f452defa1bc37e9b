"""A person moves about in a large report: by row numbers, by keys, by the address, over its pages."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, rows_by_chunk, until, wait_for_rows, wait_for_status
from serving import Serve, Server
from tables import paced_table

ROWS = 30_000

# The number of the row that is right below the header.
_TOP = """() => {
    const frame = document.getElementById("report-scroll").getBoundingClientRect();
    const head = document.querySelector("#report-table .head").getBoundingClientRect();
    const row = document.elementFromPoint(frame.left + 60, head.bottom + 8)?.closest("tr");
    return row ? row.cells[0].textContent : null;
}"""
_FOCUS = "() => document.activeElement.closest('tr')?.cells[0].textContent ?? document.activeElement.id"
_SEARCH = "() => location.search"


@pytest.fixture(scope="session")
def thirty(serve_all: Serve, files: Path) -> Server:
    """`thirty.paced` with 30,000 rows, of which a page shows 12,000 and holds 4,000."""
    return serve_all(paced_table(files / "thirty.db", ROWS, work=1), page_rows=12_000, page_chunks=4)


@pytest.fixture
def report(page: Page, thirty: Server) -> str:
    """The address of a finished report, which the page shows."""
    report_id = generate(page, thirty, "thirty.paced")
    wait_for_status(page, "done")
    wait_for_rows(page, 12_000)
    return f"{thirty.url}/reports/{report_id}"


def go_to(page: Page, row: int) -> None:
    field = page.get_by_label("Row", exact=True)
    field.fill("")  # in Firefox what is filled in comes after what was there
    field.fill(str(row))
    page.get_by_role("button", name="Go", exact=True).click()


def test_a_row_is_found_by_its_number_and_the_address_carries_it(page: Page, report: str) -> None:
    for row in (7_777, 11_000, 2):
        go_to(page, row)
        until(page, _TOP, str(row))
        until(page, _SEARCH, f"?row={row}")
        until(page, _FOCUS, str(row))
    go_to(page, 8_080)
    until(page, _SEARCH, "?row=8080")
    page.reload()
    until(page, _TOP, "8080")
    page.evaluate("() => { document.getElementById('report-scroll').scrollTop = 0 }")
    until(page, _SEARCH, "")


def test_a_row_of_another_page_is_shown_by_that_page(page: Page, report: str) -> None:
    go_to(page, 25_000)
    until(page, _TOP, "25000")
    assert page.url == f"{report}?row=25000#this-row"
    wait = "() => [...document.querySelectorAll('#report-rows > .chunk')].map(chunk => +chunk.dataset.chunk)"
    assert page.evaluate(wait) == list(range(25, 31))
    expect(page.get_by_role("link", name="Rows 24,001 to 30,000")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Rows 12,001 to 24,000").click()
    until(page, _TOP, "12001")
    page.keyboard.press("End")
    page.evaluate(
        "() => { const s = document.getElementById('report-scroll'); s.scrollTop = s.scrollHeight }"
    )
    page.get_by_role("link", name="row 24,001 and what follows").click()
    until(page, _TOP, "24001")
    go_to(page, 1)
    until(page, _TOP, "1")


def test_every_page_of_a_report_has_its_rows_once(page: Page, report: str) -> None:
    found: list[str] = []
    for first in (1, 12_001, 24_001):
        page.goto(f"{report}?row={first}")
        for row in range(first, min(first + 12_000, ROWS), 1_000):
            go_to(page, row)
            until(page, _TOP, str(row))
            found += [cells[0] for cells in rows_by_chunk(page)[row // 1_000 + 1]]
    assert found == [str(number) for number in range(1, ROWS + 1)]


def test_keys_move_over_the_rows(page: Page, report: str) -> None:
    page.locator("#report-scroll").focus()
    moves = [("ArrowDown", 1), ("ArrowDown", 1), ("ArrowUp", -1), ("PageDown", None), ("PageUp", None)]
    at = 0
    for key, step in moves:
        page.keyboard.press(key)
        if step:
            at += step
            until(page, _FOCUS, str(at))
    for key, row in (("End", "12000"), ("ArrowUp", "11999"), ("Home", "1"), ("ArrowUp", "1")):
        page.keyboard.press(key)
        until(page, _FOCUS, row)
        expect(page.locator("tr:focus")).to_be_in_viewport()
    assert page.evaluate("() => document.querySelectorAll('#report-rows [aria-current]').length") == 1
    page.keyboard.press("PageDown")
    until(page, "() => Number(document.activeElement.closest('tr')?.cells[0].textContent) > 10", True)


def test_the_focus_is_not_lost_when_its_row_is_emptied(page: Page, report: str) -> None:
    page.locator("#report-scroll").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    until(page, _FOCUS, "2")
    for place in (3, 5, 7, 9, 11):
        top = f"() => {{ document.getElementById('report-scroll').scrollTop = {place * 26_000} }}"
        page.evaluate(top)
        until(page, f"() => document.querySelector('[data-chunk=\"{place + 1}\"].gap') === null", True)
    until(page, "() => document.querySelector('[data-chunk=\"1\"]').classList.contains('gap')", True)
    until(page, _FOCUS, "report-scroll")
    page.keyboard.press("ArrowDown")
    until(page, _FOCUS, "3")


def test_while_a_report_runs_its_page_can_be_left_for_a_row(page: Page, paced: Server) -> None:
    report_id = generate(page, paced, "long.paced")
    paced.wait_until(report_id, "running", "done", rows=4_000)
    go_to(page, 3_500)
    until(page, _TOP, "3500")
    wait_for_status(page, "done")
    until(page, _TOP, "3500")
    wait_for_rows(page, 12_000)
    page.reload()
    until(page, _TOP, "3500")


def test_a_person_may_keep_all_rows_on_the_page(page: Page, report: str, thirty: Server) -> None:
    page.goto(f"{report}?keep=1")
    until(page, "() => document.querySelectorAll('#report-rows tr').length", 12_000)
    page.goto(report)
    until(page, "() => document.querySelectorAll('#report-rows tr').length < 5_000", True)


def test_the_offer_to_keep_all_rows_is_a_link(page: Page, demo: Server) -> None:
    generate(page, demo, "noise.recordings")
    wait_for_status(page, "done")
    page.get_by_role("link", name="Keep all rows on this page").click()
    until(page, "() => document.querySelectorAll('#report-rows tr').length", 23_453, seconds=30)
    page.evaluate(
        "() => { const s = document.getElementById('report-scroll'); s.scrollTop = s.scrollHeight }"
    )
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.querySelectorAll('#report-rows tr').length") == 23_453
    assert re.search("keep=1", page.url)
    page.get_by_role("link", name="Keep only the rows that are near").click()
    until(page, "() => document.querySelectorAll('#report-rows tr').length < 21_000", True)


def test_widths_are_dragged_and_stay(page: Page, report: str) -> None:
    width = "() => document.querySelector('#report-table th:nth-child(2)')?.offsetWidth"
    cells = "() => document.querySelector('#report-rows td:nth-child(2)')?.offsetWidth"
    before = page.evaluate(width)
    grip = page.locator("#report-table th:nth-child(2) .grip").bounding_box()
    assert grip
    place = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(place[0] + 60, place[1], steps=4)
    with page.expect_response(re.compile("/widths$")) as caught:
        page.mouse.up()
    assert caught.value.status == 204
    assert page.evaluate(width) == page.evaluate(cells) == before + 60
    page.reload()
    assert page.evaluate(width) == page.evaluate(cells) == before + 60
    page.get_by_text("Columns", exact=True).click()
    expect(page.get_by_label("name")).to_have_value(str(before + 60))
    page.get_by_label("name").fill("")
    page.get_by_label("name").fill("333")
    page.get_by_role("button", name="Apply").click()
    until(page, width, 333)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("button", name="Automatic").click()
    until(page, width, before)
