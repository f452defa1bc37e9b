"""What people do without thinking: copy, search in the page, close by Escape, go on by the keyboard."""

import itertools
import re

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, until, wait_for_chunks, wait_for_first_rows, wait_for_rows, wait_for_status
from serving import Server
from watching import Complaints

_FOCUS = "() => document.activeElement.textContent.trim()"
_FOCUSED_ROW = "() => document.activeElement.closest('tr')?.cells[0].textContent ?? document.activeElement.id"
_OPEN = "() => document.getElementById('row-dialog').open"
# Selects from a row's first cell to another's last, as the mouse does that is drawn over them.
_SELECT = """([first, last]) => {
    const row = number => document.querySelector(`#report-rows tr[aria-rowindex="${number + 1}"]`);
    getSelection().setBaseAndExtent(row(first).cells[0], 0, row(last).lastElementChild, 1);
}"""


@pytest.fixture(autouse=True)
def _leaving_a_stream(complaints: Complaints) -> None:
    complaints.allow("Error in input stream")  # Firefox tells so when a page with a stream is left


@pytest.fixture
def short(page: Page, paced: Server) -> Page:
    """The page of a finished report of 3,000 rows."""
    generate(page, paced, "short.paced")
    wait_for_rows(page, 3_000)
    wait_for_status(page, "done")
    return page


def test_rows_of_two_blocks_are_copied_as_lines_of_cells(short: Page) -> None:
    expected = [[str(n), f"row {n}", str(30_000 + n % 2)] for n in range(95, 107)]
    short.evaluate("() => { document.getElementById('report-scroll').scrollTop = 95 * 26 }")
    short.evaluate(_SELECT, [95, 106])
    short.evaluate("""() => document.addEventListener("paste", event => {
        window.pasted = ["text/plain", "text/html"].map(kind => event.clipboardData.getData(kind));
    })""")
    short.keyboard.press("ControlOrMeta+c")
    short.get_by_label("Find in all rows").focus()
    short.keyboard.press("ControlOrMeta+v")
    until(short, "() => window.pasted !== undefined", True)
    text, html = short.evaluate("() => window.pasted")
    assert [line.split("\t") for line in text.splitlines() if line] == expected
    rows = re.findall("<tr.*?</tr>", html, re.DOTALL)
    assert [re.findall("<td[^>]*>([^<]*)</td>", row) for row in rows] == expected


def test_the_browser_finds_rows_that_are_out_of_sight(short: Page) -> None:
    assert short.evaluate("() => window.find('row 2345')")
    assert (
        short.evaluate("() => getSelection().anchorNode.parentElement.closest('tr').ariaRowIndex") == "2346"
    )
    assert not short.evaluate("() => window.find('row 3001')")


def test_a_cell_is_shown_in_full_and_escape_leads_back(page: Page, short_pages: Server) -> None:
    generate(page, short_pages, "kinds.kinds")
    wait_for_status(page, "done")
    wait_for_chunks(page, 4)
    page.locator("#report-rows tr[aria-rowindex='3'] > td:nth-child(5)").click()
    until(page, _OPEN, True)
    marked = page.locator("#row-dialog tr[aria-current]")
    expect(marked).to_contain_text("long")
    assert len(marked.locator(".value").text_content() or "") == 26_000
    values = page.locator("#row-dialog td")
    assert values.evaluate_all("cells => cells.map(cell => cell.className)") == [
        "",
        "",
        "empty",
        "binary",
        "",
        "",
    ]
    page.get_by_role("link", name="Next row").click()
    expect(page.get_by_role("heading", name="Row 3")).to_be_visible()
    expect(values.nth(2)).to_have_class("null")
    page.get_by_role("link", name="Previous row").click()
    expect(page.get_by_role("heading", name="Row 2")).to_be_visible()
    page.keyboard.press("Escape")
    until(page, _OPEN, False)
    page.keyboard.press("ArrowDown")
    until(page, _FOCUSED_ROW, "3")
    page.keyboard.press("Enter")
    until(page, _OPEN, True)
    expect(page.get_by_role("heading", name="Row 3")).to_be_visible()
    page.keyboard.press("Escape")
    until(page, _FOCUSED_ROW, "3")


def test_drawing_over_text_opens_nothing(page: Page, short_pages: Server) -> None:
    generate(page, short_pages, "kinds.kinds")
    wait_for_status(page, "done")
    wait_for_first_rows(page)
    box = page.locator("#report-rows tr[aria-rowindex='3'] > td:nth-child(5)").bounding_box()
    assert box
    page.mouse.move(box["x"] + 15, box["y"] + 13)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 13, steps=5)
    page.mouse.up()
    assert page.evaluate("() => getSelection().toString()").startswith("a lo")
    page.wait_for_timeout(500)
    assert not page.evaluate(_OPEN)


def test_who_cancels_stays_at_the_button(page: Page, slow: Server) -> None:
    report_id = generate(page, slow, "slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    wait_for_first_rows(page)
    page.get_by_role("button", name="Cancel", exact=True).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    until(page, _FOCUS, "Cancel")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel report").focus()
    page.keyboard.press("Enter")
    wait_for_status(page, "cancelled")
    until(page, _FOCUS, "Run again")


def test_who_is_asked_when_the_report_ends_is_not_lost(page: Page, paced: Server) -> None:
    generate(page, paced, "long.paced")
    wait_for_first_rows(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("button", name="Keep running")).to_be_focused()
    wait_for_status(page, "done")
    until(page, _FOCUS, "Run again")


def test_tab_goes_over_all_there_is_in_order_and_shows_where_it_is(short: Page, browser_name: str) -> None:
    until(short, "() => document.querySelectorAll('#report-summary li').length", 3)
    short.evaluate("() => document.body.focus()")
    seen: list[str] = []
    for _ in range(30):
        short.keyboard.press("Tab")
        name, shown = short.evaluate("""() => {
            const at = document.activeElement, look = getComputedStyle(at);
            const name = at.id || at.textContent.trim() || at.name;
            return [name, look.outlineStyle !== "none" && at.checkVisibility()];
        }""")
        if seen and at_end(name, seen):
            break
        assert shown, f"{name} does not show that it is focused"
        seen.append(name)
    order = ["Skip to the content", "Rowfall", "Datasets", "Reports", "short.paced", "Run again", "row", "Go"]
    order += ["Columns", "find-text", "Find", "report-scroll", "Hide summaries"]
    assert [name for name in seen if name in order] == order


def at_end(name: str, seen: list[str]) -> bool:
    return name in seen or name.startswith("Skip") or len(name) > 200


def test_the_status_is_said_at_most_every_five_seconds(page: Page, slow: Server) -> None:
    report_id = generate(page, slow, "slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    wait_for_first_rows(page)
    page.evaluate("""() => {
        window.said = [];
        const text = () => document.getElementById("report-status").textContent;
        let last = text();
        new MutationObserver(() => {
            if (text() !== last) window.said.push([performance.now(), last = text()]);
        }).observe(document.querySelector(".bar"), { subtree: true, childList: true, characterData: true });
    }""")
    page.wait_for_timeout(13_000)
    times = [at for at, _ in page.evaluate("() => window.said")]
    assert 1 <= len(times) <= 3
    assert all(later - sooner > 4_500 for sooner, later in itertools.pairwise(times))
    slow.post(f"/api/v1/reports/{report_id}/cancellation")
    wait_for_status(page, "cancelled")
    assert page.evaluate("() => window.said.at(-1)[1]").startswith("Cancelled")


@pytest.mark.only_browser("chromium")  # Playwright cannot ask Firefox itself for it
def test_nothing_moves_for_who_wants_it_still(page: Page, slow: Server) -> None:
    moving = "() => document.getAnimations().filter(each => each.playState === 'running').length"
    for wish, expected in (("no-preference", True), ("reduce", False)):
        page.emulate_media(reduced_motion=wish)
        generate(page, slow, "slow.uncountable")
        wait_for_status(page, "running")
        wait_for_first_rows(page)
        assert (page.evaluate(moving) > 0) is expected
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel report").click()
        wait_for_status(page, "cancelled")
