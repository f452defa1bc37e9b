"""Five reports at once, a queue for the others, and what a person can do about it."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, press_generate, wait_for_first_rows, wait_for_status
from serving import Server
from watching import Complaints

# The server does this, whoever looks.
pytestmark = pytest.mark.only_browser("chromium")


def test_the_sixth_report_is_refused_with_the_five_and_a_stop_beside_each(
    page: Page, slow: Server, complaints: Complaints
) -> None:
    complaints.allow("429")
    running = [slow.request("slow.slow") for _ in range(5)]
    page.goto(slow.page_of("slow.slow"))
    with page.expect_response(lambda answer: answer.request.method == "POST") as refused:
        page.get_by_role("button", name="Generate", exact=True).click()
    assert refused.value.status == 429
    assert int(refused.value.headers["retry-after"]) > 0
    expect(page.get_by_role("heading", name="Too many reports at once")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(5)
    for report_id in running:
        expect(page.locator(f'#reports a[href="/reports/{report_id}"]')).to_be_visible()
    page.get_by_role("button", name="Stop").first.click()
    expect(page.get_by_role("button", name="Stop")).to_have_count(4)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url(re.compile(r"/reports/[0-9a-f-]{36}$"))
    assert page.url.rsplit("/", 1)[1] not in running
    wait_for_first_rows(page)


def test_200_reports_asked_for_at_once_are_five_and_195_refusals(page: Page, slow: Server) -> None:
    with ThreadPoolExecutor(40) as people:
        answers = list(
            people.map(lambda _: slow.post("/api/v1/reports", {"dataset": "slow.slow"}), range(200))
        )
    assert sorted({answer.status_code for answer in answers}) == [201, 429]
    asked = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(asked) == 5
    assert sorted(answers[[a.status_code for a in answers].index(429)].json()["running"]) == sorted(asked)
    page.goto(f"{slow.url}/reports?active=1")
    expect(page.get_by_role("button", name="Stop")).to_have_count(5)


def test_a_report_that_waits_shows_its_place_in_the_queue_and_moves_up(
    page: Page, short_pages: Server
) -> None:
    first = short_pages.request("kinds.slow")
    short_pages.wait_until(first, "running")
    page.goto(short_pages.page_of("kinds.kinds"))
    report_id = press_generate(page)
    text = page.locator("#report-progress .text")
    expect(text).to_have_text("Waiting for a free runner, next in line")
    short_pages.post(f"/api/v1/reports/{first}/cancellation")
    wait_for_status(page, "done")
    assert short_pages.report(report_id)["queue_position"] is None


def test_a_report_is_stopped_from_the_list_where_nothing_else_moves(page: Page, slow: Server) -> None:
    report_id = generate(page, slow, "slow.slow")
    page.goto(f"{slow.url}/reports")
    page.locator("#reports tr").filter(has=page.locator(f'a[href="/reports/{report_id}"]')).get_by_role(
        "button", name="Stop"
    ).click()
    slow.wait_until(report_id, "cancelled", seconds=5)
    row = page.locator("#reports tr").filter(has=page.locator(f'a[href="/reports/{report_id}"]'))
    expect(row.locator(".status")).to_have_text("Cancelled")
    assert page.url == f"{slow.url}/reports"
