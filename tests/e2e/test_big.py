"""A person generates reports that are much larger than a page can hold."""

import json
from pathlib import Path

from playwright.sync_api import Page
from report_page import (
    assert_same,
    generate,
    rows_shown,
    scroll_to,
    until,
    wait_for_rows,
    wait_for_status,
)
from serving import Server
from tables import select, shown

READINGS = 250_000
LIVE_ROWS = 20_000

_ROW_COUNT = "() => document.querySelectorAll('#report-rows tr').length"
# What the last row says, its number in the table, and whether it can be seen.
_LAST_ROW = """() => {
    const row = document.querySelector("#report-rows > .chunk:last-child > .block:last-child tr:last-child");
    const frame = document.getElementById("report-scroll").getBoundingClientRect();
    const place = row.getBoundingClientRect();
    const seen = place.top >= frame.top && place.bottom <= frame.bottom;
    return [row.cells[0].textContent, row.getAttribute("aria-rowindex"), seen];
}"""
# The status when the first row was there, and the most rows there ever were.
_OBSERVE = """
window.seen = { firstRows: null, most: 0 };
new MutationObserver(() => {
    const rows = document.querySelectorAll("#report-rows tr").length;
    if (rows) seen.firstRows ??= document.getElementById("report-status").dataset.status;
    seen.most = Math.max(seen.most, rows);
}).observe(document, { subtree: true, childList: true });
"""


def test_a_quarter_of_a_million_rows_come_and_the_page_stays_small(
    page: Page, demo: Server, demo_file: Path
) -> None:
    page.add_init_script(_OBSERVE)
    generate(page, demo, "noise.sensor_reading")
    wait_for_rows(page, READINGS, seconds=60)
    wait_for_status(page, "done")
    seen = page.evaluate("() => seen")
    assert seen["firstRows"] == "running"
    assert seen["most"] <= LIVE_ROWS

    page.evaluate(
        "() => { const s = document.getElementById('report-scroll'); s.scrollTop = s.scrollHeight }"
    )
    last = '.chunk[data-chunk="250"]'
    until(page, f"() => document.querySelector('{last}').classList.contains('gap')", False)
    # What has come may be higher or lower than its place was; the end is still the end.
    page.evaluate(
        "() => { const s = document.getElementById('report-scroll'); s.scrollTop = s.scrollHeight }"
    )
    until(page, _LAST_ROW, [str(READINGS), str(READINGS + 1), True])
    expected = shown(select(demo_file, "SELECT * FROM sensor_reading ORDER BY id DESC LIMIT 1000"))
    assert_same(rows_shown(page)[-1000:], expected[::-1])
    assert page.evaluate(_ROW_COUNT) <= LIVE_ROWS + 2_000  # the last chunk and perhaps its neighbour

    scroll_to(page, '.chunk[data-chunk="125"]')
    until(page, "() => document.querySelector('.chunk[data-chunk=\"125\"]').classList.contains('gap')", False)
    assert page.evaluate(_ROW_COUNT) <= LIVE_ROWS + 4_000


def test_the_rows_a_program_fetches_are_the_rows_in_the_file(demo: Server, demo_file: Path) -> None:
    expected = select(demo_file, "SELECT * FROM unicode_character ORDER BY codepoint")
    report_id = demo.request("noise.unicode_character")
    demo.wait_until(report_id, "done")
    lines = demo.get(f"/api/v1/reports/{report_id}/rows").text.split("\n")
    assert lines.pop() == ""
    assert_same([tuple(json.loads(line)) for line in lines], expected)
    # From the middle of a chunk on.
    rest = demo.get(f"/api/v1/reports/{report_id}/rows?after={len(expected) - 1_234}").text.split("\n")
    assert rest == [*lines[-1_234:], ""]
