"""A person deletes a report, or keeps it; and what somebody else sees who has it open."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, rows_shown, until, wait_for_rows, wait_for_status
from serving import Serve, Server
from tables import paced_table
from watching import Complaints, MakeContext


def _done(page: Page, server: Server, dataset: str) -> str:
    report_id = generate(page, server, dataset)
    wait_for_status(page, "done")
    return report_id


def test_delete_asks_first_then_the_report_is_gone_for_everybody(
    page: Page, demo: Server, new_context: MakeContext, complaints: Complaints
) -> None:
    complaints.allow("404")
    report_id = _done(page, demo, "noise.about")
    address = f"{demo.url}/reports/{report_id}"
    second = new_context().new_page()
    second.goto(address)
    shown = rows_shown(second)
    dialog = page.get_by_role("dialog", name="Delete this report?")

    page.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    assert demo.report(report_id)["status"] == "done"

    page.get_by_role("button", name="Delete", exact=True).click()
    dialog.get_by_role("button", name="Delete report").click()
    page.wait_for_url(f"{demo.url}/reports")
    expect(page.locator(f'a[href="/reports/{report_id}"]')).to_have_count(0)
    assert demo.get(f"/api/v1/reports/{report_id}").status_code == 404

    # What is on a page already stays there; whatever it asks for next says that there is no such report.
    assert rows_shown(second) == shown
    second.get_by_role("button", name="Keep", exact=True).click()
    expect(second.locator("#report-retention")).to_have_text(re.compile(f"There is no report {report_id}"))
    assert second.reload().status == 404  # type: ignore[union-attr]
    expect(second.get_by_role("heading", name="Not found")).to_be_visible()


def test_a_viewer_who_still_follows_is_told_that_the_report_was_deleted(
    page: Page, serve: Serve, tmp_path: Path, complaints: Complaints
) -> None:
    """A viewer whose line was cut when the report ended and was deleted."""
    complaints.allow("net::", "NetworkError", "network error", "Failed to fetch", "htmx:")
    server = serve(paced_table(tmp_path / "t.db", 30_000))
    report_id = generate(page, server, "t.paced")
    wait_for_rows(page, 1_000)
    page.context.set_offline(True)
    server.post(f"/api/v1/reports/{report_id}/cancellation")
    server.wait_until(report_id, "cancelled")
    assert server.delete(f"/api/v1/reports/{report_id}").status_code == 204
    page.context.set_offline(False)
    until(page, "() => document.getElementById('report-status').textContent", "This report was deleted", 60)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_a_report_is_kept_until_a_day_or_until_it_is_deleted(page: Page, demo: Server) -> None:
    report_id = _done(page, demo, "noise.about")
    line = page.locator("#report-retention").get_by_role("status")
    days = {_day(29.9), _day(30), _day(30.1)}  # the day may end meanwhile
    assert line.inner_text() in {f"Kept until {day}" for day in days}

    keep = page.get_by_role("button", name="Keep", exact=True)
    keep.focus()
    page.keyboard.press("Enter")
    expect(line).to_have_text("Kept until you delete it")
    expect(page.get_by_role("button", name="Do not keep")).to_be_focused()
    assert demo.report(report_id)["expires_at"] is None
    page.reload()
    expect(line).to_have_text("Kept until you delete it")
    page.get_by_role("button", name="Do not keep").click()
    expect(line).to_have_text(re.compile(r"Kept until \d+ \w+ \d{4}"))
    assert demo.report(report_id)["expires_at"] is not None


def _day(days: float) -> str:
    moment = datetime.now(UTC) + timedelta(days=days)
    return f"{moment.day} {moment:%B %Y}"


@pytest.mark.parametrize("button", ["Keep", "Delete"])
def test_without_scripts_keep_and_delete_are_forms(
    new_context: MakeContext, demo: Server, button: str, browser_name: str, complaints: Complaints
) -> None:
    complaints.allow("404")
    if browser_name == "firefox":
        pytest.skip("Playwright can neither stop Firefox's scripts nor click where a setting stopped them")
    report_id = demo.request("noise.about")
    demo.wait_until(report_id, "done")
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{demo.url}/reports/{report_id}")
    page.get_by_role("button", name=button, exact=True).click()
    if button == "Keep":
        expect(page.locator("#report-retention")).to_contain_text("Kept until you delete it")
    else:
        expect(page).to_have_url(f"{demo.url}/reports")
        assert demo.get(f"/reports/{report_id}").status_code == 404


def test_a_report_that_runs_has_no_delete_until_it_ends(page: Page, slow: Server) -> None:
    report_id = generate(page, slow, "slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    expect(page.get_by_role("button", name="Delete", exact=True)).to_have_count(0)
    assert slow.delete(f"/api/v1/reports/{report_id}").status_code == 409
    slow.post(f"/api/v1/reports/{report_id}/cancellation")
    wait_for_status(page, "cancelled")
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
