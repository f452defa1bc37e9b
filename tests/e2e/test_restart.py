"""The server is stopped or killed while a person watches: the page says so, comes back, and lacks no row."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import all_rows, assert_same, generate, wait_for_first_rows, wait_for_status
from serving import Serve, Server
from tables import paced_view
from watching import BROKEN, Complaints

ROWS = 12_000


@pytest.fixture
def server(serve: Serve, files: Path, tmp_path: Path, paced: Server, complaints: Complaints) -> Server:
    complaints.allow(*BROKEN)
    return serve(files / "long.db", paced_view(tmp_path / "views.db", 6_000))


def test_a_server_that_stops_says_so_and_the_page_comes_back_by_itself(page: Page, server: Server) -> None:
    report_id = generate(page, server, "long.paced")
    wait_for_first_rows(page)
    server.wait_until(report_id, "running", rows=3_000)
    notice = page.locator("#report-notice")
    expect(notice).to_be_hidden()
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 5  # although the stream was open
    expect(notice).to_have_text("The server is restarting. Your report goes on.")
    server.start()
    wait_for_status(page, "done", seconds=60)
    expect(notice).to_be_hidden()
    expect(page.locator("#report-connection")).to_be_hidden()
    rows = all_rows(page, ROWS)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, ROWS + 1)])
    report = server.report(report_id)
    assert report["generation"] == 1
    notes = page.locator("#report-notes")
    expect(notes).to_contain_text("The server stopped while this report was read. The rows after row ")


def test_a_view_without_a_key_is_read_again_after_a_restart_and_the_page_says_so(
    page: Page, server: Server
) -> None:
    report_id = generate(page, server, "views.paced")
    wait_for_first_rows(page)
    server.wait_until(report_id, "running", rows=2_000)
    server.kill()
    server.start()
    expect(page.locator("#report-notes")).to_contain_text(
        "this view has no key to go on by, so it was read again from the start at ", timeout=30_000
    )
    wait_for_status(page, "done", seconds=60)
    assert server.report(report_id)["generation"] == 2
    rows = all_rows(page, 6_000)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, 6_001)])
