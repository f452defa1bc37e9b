"""Rowfall's own database is in use elsewhere while a person watches a report: it waits, and lacks nothing."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page
from report_page import all_rows, assert_same, generate, wait_for_first_rows, wait_for_status
from serving import Serve
from tables import locked, paced_view

# The server does this, whoever looks.
pytestmark = pytest.mark.only_browser("chromium")


def test_a_state_database_that_is_locked_longer_than_a_lease_holds_a_report_up_and_no_more(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    server = serve(paced_view(tmp_path / "views.db", 6_000), lease_seconds=2)
    report_id = generate(page, server, "views.paced")
    wait_for_first_rows(page)
    server.wait_until(report_id, "running", rows=1_000)
    with locked(tmp_path / "rowfall-state.db"):  # readers of a write-ahead log do not mind
        time.sleep(12)  # a write gives up after 10 s, and the lease has run out long before
    wait_for_status(page, "done", seconds=60)
    report = server.report(report_id)
    assert (report["generation"], report["notes"]) == (1, [])  # although the view has no key to go on by
    rows = all_rows(page, 6_000)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, 6_001)])
