"""The line breaks or the server dies while a person watches a report: every row comes, and comes once."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from playwright.sync_api import Page, expect
from report_page import all_rows, assert_same, generate, wait_for_first_rows, wait_for_status
from serving import Serve, Server
from watching import BROKEN, Complaints

ROWS = 12_000


@pytest.fixture
def line(paced: Server, line_to: Callable[[Server], CuttingProxy], complaints: Complaints) -> CuttingProxy:
    complaints.allow(*BROKEN)
    return line_to(paced)


def assert_each_row_once(page: Page) -> None:
    rows = all_rows(page, ROWS)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, ROWS + 1)])


def test_a_stream_that_is_cut_at_any_byte_goes_on_and_each_row_is_there_once(
    page: Page, paced: Server, line: CuttingProxy
) -> None:
    # Before the head, in it, just after it, in the first chunk or in a later one.
    line.budgets.extend([700, 10, 30_000, 150_000, 90_001, 0, 260_000, 50])
    generate(page, paced, "long.paced", origin=line.url)
    wait_for_status(page, "done", seconds=60)
    assert_each_row_once(page)
    assert not line.budgets
    assert len(line.streams) >= 9
    assert any(line.streams), "no reconnect told where it was"
    expect(page.locator("#report-connection")).to_be_hidden()


def test_connections_that_break_while_rows_come_are_made_again(
    page: Page, paced: Server, line: CuttingProxy
) -> None:
    report_id = generate(page, paced, "long.paced", origin=line.url)
    for rows in (1_000, 4_000, 7_000, 10_000):
        paced.wait_until(report_id, "running", rows=rows)
        line.cut()
    wait_for_status(page, "done", seconds=60)
    assert_each_row_once(page)


def test_the_page_says_that_the_line_is_down_until_it_is_up_again(
    page: Page, paced: Server, line: CuttingProxy
) -> None:
    banner = page.locator("#report-connection")
    report_id = generate(page, paced, "long.paced", origin=line.url)
    wait_for_first_rows(page)
    paced.wait_until(report_id, "running", rows=2_000)
    expect(banner).to_be_hidden()
    line.down()
    expect(banner).to_be_visible(timeout=5_000)
    expect(banner).to_contain_text("The connection is lost. Rowfall is trying to reconnect")
    assert page.evaluate("() => document.querySelectorAll('#report-rows tr').length") >= 1_000
    paced.wait_until(report_id, "done")  # the report needs no viewer
    assert page.locator("#report-status").get_attribute("data-status") == "running"
    line.up()
    banner.get_by_role("button", name="Retry").click()
    expect(banner).to_be_hidden(timeout=5_000)
    wait_for_status(page, "done")
    assert_each_row_once(page)


def test_a_stream_that_was_dead_from_the_start_is_made_by_retry(
    page: Page, paced: Server, line: CuttingProxy
) -> None:
    line.refuses_streams = True
    banner = page.locator("#report-connection")
    generate(page, paced, "long.paced", origin=line.url)
    expect(banner).to_be_visible(timeout=5_000)
    expect(banner).to_contain_text("The server does not answer.")
    line.refuses_streams = False
    tries = len(line.streams)
    banner.get_by_role("button", name="Retry").click()
    expect(banner).to_be_hidden(timeout=2_000)  # by itself it tries after three seconds
    assert len(line.streams) == tries + 1
    wait_for_status(page, "done")
    assert_each_row_once(page)


def test_a_line_that_went_silent_is_noticed(page: Page, paced: Server, line: CuttingProxy) -> None:
    page.clock.install()
    generate(page, paced, "long.paced", origin=line.url)
    wait_for_first_rows(page)
    line.silence()
    page.clock.run_for(41_000)
    expect(page.locator("#report-connection")).to_be_visible()


def test_a_first_answer_that_is_not_the_stream_is_noticed(
    page: Page, paced: Server, line: CuttingProxy
) -> None:
    page.clock.install()
    line.budgets.append(10)  # Chromium takes "HTTP/1.1 2" for an empty page
    generate(page, paced, "long.paced", origin=line.url)
    for _ in range(60):
        page.clock.run_for(1_000)
        page.wait_for_timeout(20)
    page.clock.resume()
    wait_for_status(page, "done")
    assert_each_row_once(page)


def test_a_report_goes_on_after_the_server_was_killed(
    page: Page, serve: Serve, files: Path, paced: Server, complaints: Complaints
) -> None:
    complaints.allow(*BROKEN)
    server = serve(files / "long.db")
    report_id = generate(page, server, "long.paced")
    wait_for_first_rows(page)
    before = server.wait_until(report_id, "running", rows=4_000)
    server.kill()
    expect(page.locator("#report-connection")).to_be_visible(timeout=5_000)
    started = time.monotonic()
    server.start()
    server.wait_until(report_id, "running", rows=int(str(before["rows"])) + 1)
    assert time.monotonic() - started < 12  # the lease of the dead one runs out after 8 s
    wait_for_status(page, "done", seconds=60)
    expect(page.locator("#report-connection")).to_be_hidden()
    assert_each_row_once(page)
    assert server.report(report_id)["generation"] == 1
    page.reload()
    assert_each_row_once(page)
