"""The people's database fails while a report reads it: the rows so far, a plain sentence, and what to do."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_page import all_rows, assert_same, generate, wait_for_first_rows, wait_for_status
from serving import Serve, Server
from tables import create, locked, paced_table

# The server does this, whoever looks.
pytestmark = pytest.mark.only_browser("chromium")

ROWS = 12_000


def assert_prefix(page: Page, count: int) -> None:
    rows = all_rows(page, count)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, count + 1)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return paced_table(tmp_path / "own.db", ROWS)


def test_a_locked_file_is_waited_for_and_the_page_tells_that_it_is(
    page: Page, serve: Serve, source: Path
) -> None:
    server = serve(source)
    report_id = generate(page, server, "own.paced")
    wait_for_first_rows(page)
    server.wait_until(report_id, "running", rows=2_000)
    notes = page.locator("#report-notes")
    with locked(source):
        expect(notes).to_contain_text(
            "is locked by another program. Trying again in 1 s (1 of 3).", timeout=30_000
        )
        expect(page.locator("#report-status")).to_contain_text("Reconnecting")
    wait_for_status(page, "done", seconds=60)
    expect(notes).not_to_contain_text("Trying again")
    expect(notes).to_contain_text("The database could not be read for a while. The rows after row ")
    assert_prefix(page, ROWS)


def test_a_file_that_is_moved_away_fails_the_report_and_can_be_continued_when_it_is_back(
    page: Page, serve: Serve, source: Path
) -> None:
    server = serve(source)
    report_id = generate(page, server, "own.paced")
    wait_for_first_rows(page)
    server.wait_until(report_id, "running", rows=2_000)
    source.rename(source.with_name("elsewhere.db"))
    wait_for_status(page, "failed", seconds=60)
    report = server.report(report_id)
    assert report["error_code"] == "source-unreachable"
    rows = int(str(report["rows"]))
    assert 2_000 <= rows < ROWS
    expect(page.locator("#report-notes")).to_contain_text("own.db")
    assert_prefix(page, rows)
    source.with_name("elsewhere.db").rename(source)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(lambda address: report_id not in address)
    wait_for_status(page, "done", seconds=60)
    assert_prefix(page, ROWS)


def test_a_file_that_is_replaced_ends_the_report_with_the_rows_of_the_old_one(
    page: Page, serve: Serve, source: Path, tmp_path: Path
) -> None:
    server = serve(source)
    report_id = generate(page, server, "own.paced")
    wait_for_first_rows(page)
    server.wait_until(report_id, "running", rows=2_000)
    copy = shutil.copy(source, tmp_path / "copy.db")
    Path(copy).replace(source)
    wait_for_status(page, "failed", seconds=60)
    report = server.report(report_id)
    assert report["error_code"] == "source-changed"
    expect(page.locator("#report-notes")).to_contain_text("replaced")
    assert_prefix(page, int(str(report["rows"])))
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


def test_a_view_that_fails_at_row_25000_keeps_the_rows_before_it(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    server = serve(
        create(
            tmp_path / "bad.db",
            """
            CREATE TABLE t (i INTEGER PRIMARY KEY);
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            INSERT INTO t SELECT i FROM n;
            CREATE VIEW fails AS SELECT i, abs(iif(i = 25000, -9223372036854775807 - 1, i)) AS n FROM t;
            """,
        )
    )
    report_id = generate(page, server, "bad.fails")
    wait_for_status(page, "failed")
    report = server.report(report_id)
    rows = int(str(report["rows"]))
    assert (rows, report["error_code"]) == (24_998, "source-query")  # Python's driver is a row ahead
    expect(page.locator("#report-notes")).to_contain_text("integer overflow")
    assert_same([row[0] for row in all_rows(page, rows)], [str(number) for number in range(1, rows + 1)])
    expect(page.get_by_role("button", name="Continue")).to_have_count(0)  # a view has no key


def test_an_endless_view_and_one_that_never_gives_a_row_end_at_the_time_limit(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
    script = (
        f"CREATE VIEW endless AS {endless} i FROM n; CREATE VIEW sleeps AS {endless} count(*) AS c FROM n;"
    )
    server: Server = serve(create(tmp_path / "long.db", script), report_timeout=3)
    for name, least in (("endless", 1), ("sleeps", 0)):
        report_id = generate(page, server, f"long.{name}")
        wait_for_status(page, "timed_out", seconds=30)
        report = server.report(report_id)
        assert int(str(report["rows"])) >= least
        assert report["error_code"] == "timed-out"
        expect(page.locator("#report-notes")).to_contain_text(
            "This report ran for 3.0 s, which is the limit."
        )
        expect(page.get_by_role("button", name="Run again")).to_be_visible()
