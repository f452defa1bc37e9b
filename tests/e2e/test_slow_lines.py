"""A telephone's line, and no line at all: what a person sees, and that each row comes once."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from playwright.sync_api import Page, expect
from report_page import (
    all_rows,
    assert_same,
    generate,
    press_generate,
    until,
    wait_for_first_rows,
    wait_for_status,
)
from serving import Serve, Server
from slow_line import SlowLine
from tables import paced_table
from watching import BROKEN, Complaints

ROWS = 12_000  # of `salted.paced`: 45 KB a chunk on the line, 11 s for all of them
NO_LINE = (*BROKEN, "offline")
_CHUNKS = "() => document.querySelectorAll('#report-rows > .chunk').length"
_TEXT = "() => document.querySelector('#report-progress .text')?.textContent"
_FIRST_SEEN = """() => {
    const [frame, head] = ["#report-scroll", ".head"].map(
        place => document.querySelector(place).getBoundingClientRect());
    const seen = document.elementFromPoint(frame.left + 60, head.bottom + 8)?.closest("tr");
    return seen ? seen.ariaRowIndex - 1 : null;
}"""
_LOADED = """() => performance.getEntriesByType("resource").filter(entry => entry.name.includes("/chunks/"))
    .map(entry => [Number(/chunks.(\\d+)/.exec(entry.name)[1]), entry.transferSize])"""


@pytest.fixture(scope="session")
def salted(serve_all: Serve, files: Path) -> Server:
    """`salted.paced`: the runner takes some seconds for it, and compression does not help."""
    path = paced_table(files / "salted.db", ROWS, work=20_000)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE paced ADD COLUMN salt TEXT")
        connection.execute("UPDATE paced SET salt = hex(randomblob(40))")
    return serve_all(path)


@pytest.fixture
def slow_line() -> Iterator[Callable[[Server], SlowLine]]:
    """3G: 400 kbit a second, an answer after 400 ms."""
    lines: list[SlowLine] = []

    def to(server: Server) -> SlowLine:
        lines.append(SlowLine(server.port).__enter__())
        return lines[-1]

    yield to
    for line in lines:
        line.__exit__()


def at(page: Page, row: int) -> None:
    field = page.get_by_label("Row", exact=True)
    field.fill("")  # or Firefox may write the number behind the one that is there
    field.fill(str(row))
    page.get_by_role("button", name="Go", exact=True).click()


def watch_a_slow_report(page: Page, server: Server, origin: str) -> dict[str, float]:
    """Follows a report that is quicker than the line until the page has all of it; how long things took."""
    page.goto(server.page_of("salted.paced").replace(server.url, origin))  # its files are in the cache now
    report_id = press_generate(page)
    server.wait_until(report_id, "running", "done", rows=1)
    took, begun = {"menu": 0.0, "first rows": 0.0, "behind": 0.0}, time.monotonic()
    wait_for_first_rows(page)
    took["first rows"] = time.monotonic() - begun
    known: list[tuple[float, int]] = []  # how many rows the server had, and when
    while page.evaluate(_CHUNKS) < ROWS / 1_000:  # one that was there before the page was is still a place
        known.append((time.monotonic(), int(str(server.report(report_id)["rows"]))))
        text = page.evaluate(_TEXT)
        if text[0].isdigit():
            rows = int(text.split(" ")[0].replace(",", ""))
            missed = [moment for moment, count in known if count > rows]
            took["behind"] = max(took["behind"], time.monotonic() - missed[0] if missed else 0)
        pressed = time.monotonic()
        page.get_by_text("Columns", exact=True).click()
        took["menu"] = max(took["menu"], time.monotonic() - pressed)
        page.wait_for_timeout(100)
        assert time.monotonic() - begun < 60
    took["all"] = time.monotonic() - begun
    return took


def test_on_a_slow_line_rows_come_at_once_and_the_progress_is_that_of_the_report(
    page: Page, salted: Server, slow_line: Callable[[Server], SlowLine]
) -> None:
    line = slow_line(salted)
    took = watch_a_slow_report(page, salted, line.url)
    print(f"through the slow line: {took}, {line.carried:,} bytes")
    assert took["first rows"] < 6  # 2 s on a machine that does nothing else
    assert took["behind"] < 12  # a second for the chunk on its way, more for what buffers hold
    assert took["menu"] < 5
    assert took["all"] > 5, "the line was not slow"
    assert_same([row[0] for row in all_rows(page, ROWS)], [str(number) for number in range(1, ROWS + 1)])


def test_the_same_where_the_browser_itself_is_slow(page: Page, salted: Server, browser_name: str) -> None:
    if browser_name != "chromium":
        pytest.skip("only Chromium can be told to be slow")
    throttle = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", throttle)
    took = watch_a_slow_report(page, salted, salted.url)
    print(f"throttled by Chromium: {took}")
    assert took["first rows"] < 6
    assert took["behind"] < 15  # here the server does not feel the line
    assert took["menu"] < 5
    assert took["all"] > 5, "the line was not slow"
    assert_same([row[0] for row in all_rows(page, ROWS)], [str(number) for number in range(1, ROWS + 1)])


def test_far_down_on_a_slow_line_only_what_is_looked_at_is_transferred(
    page: Page, demo: Server, slow_line: Callable[[Server], SlowLine]
) -> None:
    report_id = demo.request("noise.sensor_reading")
    demo.wait_until(report_id, "done")
    line = slow_line(demo)
    page.goto(f"{line.url}/reports/{report_id}")
    wait_for_first_rows(page)
    begun = time.monotonic()
    at(page, 200_000)
    until(page, _FIRST_SEEN, 200_000)
    print(f"row 200,000 after {time.monotonic() - begun:.1f} s: {page.evaluate(_LOADED)}")
    assert time.monotonic() - begun < 15
    assert {number for number, _ in page.evaluate(_LOADED)} <= {1, 2, 199, 200, 201, 202}

    # So many other places that the chunk of the first one is emptied: it comes again from the cache.
    emptied = "() => document.querySelector('#report-rows > [data-chunk=\"200\"]').matches('.gap')"
    for row in range(150_500, 150_500 - 25_000, -1_000):
        if page.evaluate(emptied):
            break
        at(page, row)
        until(page, _FIRST_SEEN, row, 30)
    assert page.evaluate(emptied)
    carried = line.carried
    at(page, 200_000)
    until(page, _FIRST_SEEN, 200_000)
    again = [size for number, size in page.evaluate(_LOADED) if number == 200]
    assert len(again) == 2
    assert again[0] > 5_000
    assert again[1] == 0
    assert line.carried - carried < 5_000


def test_a_browser_without_a_network_says_so_and_goes_on_by_itself(
    page: Page, paced: Server, complaints: Complaints
) -> None:
    complaints.allow(*NO_LINE)
    banner = page.locator("#report-connection")
    report_id = generate(page, paced, "long.paced")
    wait_for_first_rows(page)
    page.context.set_offline(True)
    expect(banner).to_be_visible(timeout=5_000)
    expect(banner).to_contain_text("You are offline.")
    expect(banner.get_by_role("button", name="Retry")).to_be_visible()
    paced.wait_until(report_id, "done")
    page.context.set_offline(False)
    expect(banner).to_be_hidden(timeout=10_000)
    wait_for_status(page, "done")
    assert [row[0] for row in all_rows(page, 12_000)] == [str(number) for number in range(1, 12_001)]


@pytest.mark.parametrize("how", ["offline", "cut", "silent"])
@pytest.mark.parametrize("retried", [False, True], ids=["by itself", "by Retry"])
def test_rows_of_a_finished_report_come_when_the_line_is_back(
    page: Page,
    demo: Server,
    line_to: Callable[[Server], CuttingProxy],
    complaints: Complaints,
    how: str,
    retried: bool,
) -> None:
    if how == "silent" and not retried:
        pytest.skip("nobody knows that a silent line is back; a minute later the browser asks again")
    complaints.allow(*NO_LINE)
    line = line_to(demo)
    report_id = demo.request("noise.sensor_reading")
    demo.wait_until(report_id, "done")
    page.goto(f"{line.url}/reports/{report_id}")
    wait_for_first_rows(page)
    page.wait_for_timeout(300)
    banner = page.locator("#report-connection")
    if how == "silent":
        page.clock.install()
        line.silence()
    else:
        page.context.set_offline(True) if how == "offline" else line.down()
    at(page, 100_000)
    if how == "silent":
        page.clock.run_for(200)  # the page asks for the chunk a moment after it was scrolled
        page.wait_for_timeout(500)
        page.clock.run_for(31_000)
    expect(banner).to_be_visible(timeout=40_000)
    expect(banner).to_contain_text(
        {"offline": "You are offline.", "cut": "does not answer"}.get(how, "is lost")
    )
    assert page.evaluate(_FIRST_SEEN) is None
    if how == "offline":
        page.context.set_offline(False)
    else:
        line.up()
    if retried:  # by a script: by itself it may be quicker than a mouse
        page.evaluate("() => document.querySelector('#report-connection [data-retry]').click()")
    expect(banner).to_be_hidden(timeout=10_000)
    until(page, _FIRST_SEEN, 100_000)
    numbers = page.evaluate(
        "() => [...document.querySelectorAll('#report-rows tr')].map(row => row.ariaRowIndex)"
    )
    assert len(numbers) == len(set(numbers))


def test_a_chunk_that_comes_does_not_hide_that_the_stream_is_lost(
    page: Page, slow: Server, line_to: Callable[[Server], CuttingProxy], complaints: Complaints
) -> None:
    complaints.allow(*NO_LINE)
    line = line_to(slow)
    banner = page.locator("#report-connection")
    report_id = generate(page, slow, "slow.slow", origin=line.url)
    wait_for_first_rows(page)
    slow.wait_until(report_id, "running", rows=4_000)
    line.refuses_streams = True
    page.goto(f"{line.url}/reports/{report_id}?row=3500")  # its chunks before are places that load when near
    expect(banner).to_be_visible(timeout=10_000)
    at(page, 1_500)
    until(page, _FIRST_SEEN, 1_500)
    assert banner.is_visible()
    line.refuses_streams = False
    expect(banner).to_be_hidden(timeout=10_000)
    wait_for_status(page, "running")
