"""The summaries above a report's columns: in line with them, growing, and hidden at a click."""

import pytest
from playwright.sync_api import Page
from report_page import generate, until, wait_for_first_rows, wait_for_rows, wait_for_status
from serving import Server
from watching import Complaints

_COVERAGE = "() => document.querySelector('#report-summary form span')?.textContent"
_FOCUS = "() => document.activeElement.textContent"
_LIVE = "() => document.getElementById('report-summary').hasAttribute('hx-get')"
# How far the columns of the summaries, and those of the rows, are from each other.
_OFF = """() => {
    const edges = selector => [...document.querySelectorAll(selector)].flatMap(
        cell => [cell.getBoundingClientRect().left, cell.getBoundingClientRect().right]);
    const above = edges("#report-summary li"), below = edges("#report-rows tr:first-child > td");
    return above.length && Math.max(...below.slice(0, above.length).map((x, i) => Math.abs(x - above[i])));
}"""
_SEEN = """selector => {
    const box = document.querySelector(selector).getBoundingClientRect();
    const frame = document.getElementById("report-scroll").getBoundingClientRect();
    return box.left >= frame.left && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
}"""


@pytest.mark.parametrize("dataset", ["noise.recordings", "noise.sensor_reading", "noise.about"])
@pytest.mark.parametrize("width", [1280, 820])
def test_the_summaries_stand_above_their_columns(page: Page, demo: Server, dataset: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    generate(page, demo, dataset)
    wait_for_status(page, "done")
    until(page, _LIVE, False)
    assert page.locator("#report-summary li").count() == page.locator("#report-table th").count()
    assert page.evaluate(_OFF) < 0.1
    page.evaluate("() => document.getElementById('report-scroll').scrollLeft = 500")
    assert page.evaluate(_OFF) < 0.1
    assert page.evaluate(_SEEN, "#report-summary button")


def test_a_summary_grows_and_keeps_the_focus_until_it_is_hidden(
    page: Page, slow: Server, complaints: Complaints
) -> None:
    complaints.allow("Error in input stream")  # Firefox tells so when a page with a stream is left
    generate(page, slow, "slow.slow")
    wait_for_first_rows(page)
    until(page, f"() => ({_COVERAGE})()?.startsWith('The first')", True)
    page.get_by_role("button", name="Hide summaries").focus()
    first = page.evaluate(_COVERAGE)
    until(page, f"() => ({_COVERAGE})() !== {first!r}", True)
    assert page.evaluate(_FOCUS).strip() == "Hide summaries"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/summary" in request.url else None)
    page.keyboard.press("Enter")
    until(page, f"() => ({_FOCUS})().trim()", "Show summaries")
    assert page.locator("#report-summary li").count() == 0
    page.wait_for_timeout(2500)
    assert [url.partition("?")[2] for url in asked if "?" in url] == ["show=hidden"]
    assert len(asked) <= 2  # one may have been on its way
    page.reload()
    wait_for_first_rows(page)
    assert page.get_by_role("button", name="Show summaries").is_visible()
    page.get_by_role("button", name="Show summaries").press("Enter")
    until(page, f"() => ({_FOCUS})().trim()", "Hide summaries")
    until(page, "() => document.querySelectorAll('#report-summary li').length", 2)
    assert page.evaluate(_LIVE)


def test_a_complete_summary_is_not_asked_for_again(page: Page, demo: Server) -> None:
    generate(page, demo, "noise.recordings")
    wait_for_rows(page, 23_453)
    until(page, _COVERAGE, "23,453 rows")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert [url for url in asked if "/summary" in url] == []


def test_the_summaries_scroll_away_and_the_header_stays(page: Page, demo: Server) -> None:
    generate(page, demo, "noise.recordings")
    wait_for_rows(page, 23_453)
    until(page, _LIVE, False)
    assert page.evaluate(_SEEN, "#report-table .head")
    page.evaluate("() => document.getElementById('report-scroll').scrollTop = 5000")
    assert page.evaluate(_SEEN, "#report-table .head")
    assert not page.evaluate(_SEEN, "#report-summary button")
