"""A person cancels a report: reading stops at once, and the rows so far stay."""

import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import (
    all_rows,
    assert_same,
    generate,
    rows_shown,
    until,
    wait_for_first_rows,
    wait_for_rows,
    wait_for_status,
)
from serving import Server
from watching import Complaints


def is_being_read(path: Path) -> bool:
    """A running query keeps other programs from taking the whole file."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:  # it is locked
            return True
        connection.execute("ROLLBACK")
        return False


@pytest.mark.parametrize(
    ("dataset", "label"),
    [
        ("slow.slow", r"Cancelled at ([\d,]+) of 500,000 rows"),
        ("slow.uncountable", r"Cancelled at ([\d,]+) rows"),
    ],
)
def test_cancel_asks_first_then_stops_within_a_second_and_keeps_the_rows(
    page: Page, slow: Server, files: Path, dataset: str, label: str
) -> None:
    report_id = generate(page, slow, dataset)
    slow.wait_until(report_id, "running", rows=2_000)
    assert is_being_read(files / "slow.db")
    dialog = page.get_by_role("dialog", name="Cancel this report?")

    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep running").click()
    expect(dialog).to_be_hidden()
    before = slow.report(report_id)
    assert before["status"] == "running"
    slow.wait_until(report_id, "running", rows=int(str(before["rows"])) + 1_000)

    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog.get_by_role("button", name="Cancel report").click()
    asked = time.monotonic()
    report = slow.wait_until(report_id, "cancelled")
    assert time.monotonic() - asked < 1
    assert not is_being_read(files / "slow.db")
    wait_for_status(page, "cancelled", seconds=2)

    found = re.fullmatch(label, page.locator("#report-progress .text").inner_text())
    assert found
    kept = int(found[1].replace(",", ""))
    assert kept == report["rows"] == slow.report(report_id)["rows"]
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    rows = all_rows(page, kept)
    assert_same([row[0] for row in rows], [str(number) for number in range(1, kept + 1)])

    page.reload()
    assert_same(all_rows(page, kept), rows)
    expect(page.locator("#report-progress .text")).to_have_text(found[0])


def test_cancel_works_by_keyboard_and_escape_keeps_the_report_running(page: Page, slow: Server) -> None:
    report_id = generate(page, slow, "slow.slow")
    button = page.get_by_role("button", name="Cancel", exact=True)
    dialog = page.get_by_role("dialog")
    button.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert slow.report(report_id)["status"] == "running"
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Cancel report").press("Enter")
    slow.wait_until(report_id, "cancelled", seconds=2)
    wait_for_status(page, "cancelled", seconds=2)


def test_an_open_page_follows_a_cancellation_from_elsewhere(page: Page, slow: Server) -> None:
    report_id = generate(page, slow, "slow.slow")
    wait_for_first_rows(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    assert slow.post(f"/api/v1/reports/{report_id}/cancellation").status_code == 200
    wait_for_status(page, "cancelled", seconds=3)
    expect(page.get_by_role("dialog")).to_have_count(0)
    until(page, "() => document.title", "Cancelled · slow.slow · Rowfall")
    wait_for_rows(page, int(str(slow.report(report_id)["rows"])))
    assert len(rows_shown(page)) == slow.report(report_id)["rows"]


def test_fifty_cancellations_at_once_are_all_answered_and_are_one(slow: Server, files: Path) -> None:
    report_id = slow.request("slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    address = f"/api/v1/reports/{report_id}/cancellation"
    with ThreadPoolExecutor(50) as people:
        answers = list(people.map(lambda _: slow.post(address), range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    report = slow.wait_until(report_id, "cancelled", seconds=2)
    assert not is_being_read(files / "slow.db")
    assert slow.report(report_id) == report
    assert slow.post(address).json()["finished_at"] == report["finished_at"]


def test_a_report_that_is_done_cannot_be_cancelled(page: Page, demo: Server, complaints: Complaints) -> None:
    complaints.allow("409")
    report_id = generate(page, demo, "noise.about")
    wait_for_status(page, "done")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    answer = demo.post(f"/api/v1/reports/{report_id}/cancellation")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "This report is done already, so there is nothing to cancel."
