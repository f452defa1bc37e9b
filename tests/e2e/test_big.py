"""A person generates reports that are much larger than a page can hold."""

import json
from pathlib import Path

from playwright.sync_api import Page
from report_page import (
    all_rows,
    assert_same,
    generate,
    load_chunk,
    rows_by_chunk,
    until,
    wait_for_rows,
    wait_for_status,
)
from serving import Serve, Server
from tables import paced_table, select, shown

READINGS = 250_000
LIVE_ROWS = 20_000

# What the last row says, its number in the table, and whether it can be seen.
_LAST_ROW = """() => {
    const row = document.querySelector("#report-rows > .chunk:last-child > .block:last-child tr:last-child");
    const frame = document.getElementById("report-scroll").getBoundingClientRect();
    if (!row) return null;
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
    until(page, _LAST_ROW, [str(READINGS), str(READINGS + 1), True])
    expected = shown(select(demo_file, "SELECT * FROM sensor_reading ORDER BY id DESC LIMIT 1000"))
    assert_same(rows_by_chunk(page)[250], expected[::-1])

    for number in (125, 1, 249, 30, 31, 32):
        load_chunk(page, number)
        found = [int(row[0]) for row in rows_by_chunk(page)[number]]
        assert found == list(range(number * 1000 - 999, number * 1000 + 1))
    assert page.evaluate("() => seen.most") <= LIVE_ROWS + 2_000  # before far ones are emptied


def test_scrolling_through_a_report_never_holds_more_than_the_bound(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    server = serve(paced_table(tmp_path / "paced.db", 30_000, work=1), page_chunks=3)
    page.add_init_script(_OBSERVE)
    generate(page, server, "paced.paced")
    rows = all_rows(page, 30_000)
    assert_same([row[0] for row in rows], [str(number) for number in range(1, 30_001)])
    assert page.evaluate("() => seen.most") <= 5_000
    until(page, "() => document.querySelectorAll('#report-rows > .chunk:not(.gap)').length <= 3", True)


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
