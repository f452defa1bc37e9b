"""A person moves about in a report of a million rows: the page stays small wherever they go."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, until, wait_for_first_rows, wait_for_status
from serving import Serve, Server
from tables import create

MILLION = 1_000_000
PAGE_CHUNKS = 20

_SEEN = """() => {
    const [frame, head] = ["#report-scroll", ".head"].map(
        place => document.querySelector(place).getBoundingClientRect());
    const rows = [head.bottom + 8, frame.bottom - 20].map(
        top => document.elementFromPoint(frame.left + 60, top)?.closest("tr")?.cells[0].textContent);
    return rows.map(Number);
}"""
_MOST = """
window.most = 0;
setInterval(() => {
    const live = document.querySelectorAll("#report-rows > .chunk:not(.gap)").length;
    window.most = Math.max(window.most, live);
}, 50);
"""


@pytest.fixture
def million(serve: Serve, tmp_path: Path) -> Server:
    """`million.t` with 1,000,000 rows of 10 columns."""
    path = create(
        tmp_path / "million.db",
        f"""
        PRAGMA journal_mode = OFF;
        CREATE TABLE t (id INTEGER PRIMARY KEY, code, amount, share, name, city, tag, note, day, flag);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MILLION})
        INSERT INTO t SELECT i, i * 7919 % 1000003, i / 8.0, i % 97 / 3.0, 'name ' || i % 1000, 'Zürich',
            '<b>&' || i % 7, iif(i % 16, 'note ' || i, NULL), '2026-01-' || (i % 28 + 1), i % 2 FROM n;
        """,
    )
    return serve(path)


def seen(page: Page, first: int, last: int) -> None:
    """Until the first row that can be seen is `first`, or the last one is `last`."""
    place, row = (0, first) if first else (1, last)
    until(page, f"() => ({_SEEN})()[{place}]", row, 60)


def at(page: Page, row: int) -> None:
    field = page.get_by_label("Row", exact=True)
    field.fill("")  # or Firefox may write the number behind the one that is there
    field.fill(str(row))
    page.get_by_role("button", name="Go", exact=True).click()
    seen(page, row, 0)


def memory_of_pages() -> float:
    """MB of this test's processes that show pages; what several of them use is shared out among them."""
    kilobytes = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (process / "cmdline").read_bytes() and _is_ours(int(process.name)):
                found = re.search(r"^Pss:\s+(\d+)", (process / "smaps_rollup").read_text(), re.MULTILINE)
                kilobytes += int(found[1]) if found else 0
        except OSError:
            continue  # it just ended
    return kilobytes / 1024


def _is_ours(process: int) -> bool:
    while process > 1:
        if process == os.getpid():
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def test_a_million_rows(page: Page, million: Server, browser_name: str) -> None:
    page.add_init_script(_MOST)
    report_id = generate(page, million, "million.t")
    wait_for_first_rows(page)
    wait_for_status(page, "done", seconds=120)
    until(page, "() => document.querySelectorAll('#report-rows > .chunk').length", 500, 30)
    page.locator("#report-scroll").focus()
    page.keyboard.press("End")
    seen(page, 0, 500_000)
    page.keyboard.press("Home")
    seen(page, 1, 0)
    for number in range(20):
        at(page, 1 + number * 24_989)
    assert page.evaluate("() => most") <= PAGE_CHUNKS + 2  # before the farthest are emptied
    if browser_name == "chromium" and Path("/proc").exists():
        before = memory_of_pages()
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        memory = memory_of_pages()
        print(f"the page's processes after 20 jumps: {before:.0f} MB, {memory:.0f} MB without garbage")
        assert 0 < memory < 600

    page.get_by_label("Row", exact=True).fill("")
    page.get_by_label("Row", exact=True).fill("999999")
    page.get_by_role("button", name="Go", exact=True).click()
    page.wait_for_url(re.compile(rf"{report_id}\?row=9999\d\d$"))  # the last row is at the bottom
    seen(page, 0, MILLION)
    expect(page.get_by_role("link", name="Rows 500,001 to 1,000,000")).to_have_attribute(
        "aria-current", "page"
    )
    at(page, 777_777)
    until(page, "() => location.search", "?row=777777")
    page.reload()
    seen(page, 777_777, 0)
    page.get_by_role("link", name="Rows 1 to 500,000").click()
    seen(page, 1, 0)
    assert page.evaluate("() => most") <= PAGE_CHUNKS + 2
