"""A report that ended early is continued: every row is there, and is there once."""

from pathlib import Path

from playwright.sync_api import Page, expect
from report_page import all_rows, assert_same, generate, wait_for_first_rows, wait_for_status
from serving import Serve, Server

ROWS = 12_000


def assert_each_row_once(page: Page) -> None:
    rows = all_rows(page, ROWS)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, ROWS + 1)])


def test_a_cancelled_report_is_continued_and_tells_both_times(page: Page, paced: Server) -> None:
    report_id = generate(page, paced, "long.paced")
    wait_for_first_rows(page)
    paced.wait_until(report_id, "running", rows=2_000)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel report").click()
    wait_for_status(page, "cancelled")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(lambda address: report_id not in address)
    wait_for_status(page, "done", seconds=60)
    assert_each_row_once(page)
    notes = page.locator("#report-notes")
    expect(notes).to_contain_text("This report continues an earlier one: the rows up to row ")
    expect(page.get_by_role("button", name="Continue")).to_have_count(0)
    assert paced.report(report_id)["status"] == "cancelled"


def test_a_report_that_ran_out_of_time_says_what_to_do_and_goes_on(
    page: Page, serve: Serve, files: Path, paced: Server
) -> None:
    server = serve(files / "long.db", report_timeout=2)
    report_id = generate(page, server, "long.paced")
    rows = 0
    while True:  # each time some further
        report = server.wait_until(page.url.rsplit("/", 1)[1], "timed_out", "done")
        if report["status"] == "done":
            break
        assert int(str(report["rows"])) >= rows
        rows = int(str(report["rows"]))
        wait_for_status(page, "timed_out")
        error = page.locator("#report-notes")
        expect(error).to_contain_text("This report ran for 2.0 s, which is the limit.")
        expect(error).to_contain_text("Continue reads on from there.")
        before = page.url
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url(lambda address, before=before: address != before)
    assert report["id"] != report_id
    assert_each_row_once(page)
