"""A person downloads a report: from its page and from the dataset's, early and late."""

import csv
import hashlib
import io
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Download, Page, expect
from report_page import assert_same, generate, wait_for_status
from serving import Serve, Server
from tables import create, select
from watching import Complaints

RECORDINGS = 23_453


@pytest.fixture(scope="module")
def wide(serve_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """`wide.wide`: 60,000 rows, which take seconds to put into a workbook."""
    folder = tmp_path_factory.mktemp("wide")
    columns = ", ".join(f"i * {n} AS c{n}, 'text ' || (i % {n}) AS t{n}" for n in range(1, 11))
    script = f"""
        CREATE TABLE number (i INTEGER PRIMARY KEY);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
        INSERT INTO number SELECT i FROM n;
        CREATE TABLE wide AS SELECT {columns} FROM number;
    """
    return serve_all(create(folder / "wide.db", script), page_chunks=2)


def open_downloads(page: Page) -> None:
    # By a role, or with an `expect` that has to wait, Playwright would look through each of the cells.
    page.locator("button.download").click()
    page.locator("#report-downloads a", has_text="NDJSON").wait_for()


def _bytes(download: Download) -> bytes:
    assert download.failure() is None
    return Path(download.path()).read_bytes()


def _report_of(download: Download) -> str:
    return download.url.split("/reports/")[1].split("/")[0]


def test_a_csv_is_one_click_away(page: Page, demo: Server, demo_file: Path) -> None:
    report = generate(page, demo, "noise.recordings")
    wait_for_status(page, "done")
    open_downloads(page)
    with page.expect_download() as found:
        page.locator("#report-downloads a", has_text="CSV for programs").click()
    assert found.value.suggested_filename == "noise.recordings.csv"
    content = _bytes(found.value)
    rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))[1:]
    keys = [str(key) for (key,) in select(demo_file, "SELECT id FROM recordings")]
    assert_same([row[0] for row in rows], keys)
    proof = demo.get(f"/reports/{report}/export.json").json()
    assert (proof["sha256"], proof["rows_written"]) == (hashlib.sha256(content).hexdigest(), RECORDINGS)
    with page.expect_download() as found:
        page.get_by_role("link", name="CSV for Excel").click()
    assert _bytes(found.value).startswith(b"\xef\xbb\xbf")


def test_generate_and_download_gives_the_whole_file(page: Page, demo: Server) -> None:
    page.goto(demo.page_of("noise.recordings"))
    with page.expect_download(timeout=60_000) as found:
        page.get_by_role("button", name="Download CSV").click()
    assert found.value.suggested_filename == "noise.recordings.csv"
    content = _bytes(found.value)
    report = _report_of(found.value)
    assert demo.wait_until(report, "done")["rows"] == RECORDINGS
    assert content == demo.get(f"/reports/{report}/export.csv").content


def test_a_download_of_a_report_that_is_cancelled_fails(
    page: Page, slow: Server, complaints: Complaints
) -> None:
    complaints.allow("net::", "NetworkError")
    report = generate(page, slow, "slow.slow")
    slow.wait_until(report, "running", rows=2_000)
    open_downloads(page)
    expect(page.get_by_text("The report is running.")).to_be_visible()
    with page.expect_download(timeout=60_000) as found:
        page.get_by_role("link", name="CSV for programs").click()
    slow.post(f"/api/v1/reports/{report}/cancellation")
    rows = slow.wait_until(report, "cancelled")["rows"]
    assert found.value.failure()
    page.reload()
    open_downloads(page)
    expect(page.get_by_text("This report ended early.")).to_be_visible()
    with page.expect_download() as found:
        page.get_by_role("link", name="CSV for programs").click()
    assert found.value.suggested_filename == f"slow.slow-PARTIAL-{rows}-of-500000.csv"
    assert len(_bytes(found.value).splitlines()) == int(str(rows)) + 1


def test_a_workbook_is_made_on_a_click_and_is_there_by_itself_when_it_is_ready(
    page: Page, wide: Server
) -> None:
    generate(page, wide, "wide.wide")
    wait_for_status(page, "done", 60)
    open_downloads(page)
    files = page.get_by_role("dialog", name="Download")
    files.get_by_role("button", name="Excel workbook").click()
    link = files.get_by_role("link", name="Excel workbook")
    expect(link).to_be_visible(timeout=120_000)
    expect(files).to_be_visible()
    with page.expect_download() as found:
        link.click()
    assert found.value.suggested_filename == "wide.wide.xlsx"
    book = openpyxl.load_workbook(io.BytesIO(_bytes(found.value)), read_only=True)
    assert sum(1 for _ in book.worksheets[0].iter_rows()) == 60_001


def test_a_workbook_is_one_click_away_from_the_datasets_page(page: Page, demo: Server) -> None:
    page.goto(demo.page_of("noise.recordings"))
    with page.expect_download(timeout=60_000) as found:
        page.get_by_role("button", name="Download Excel").click()
    assert found.value.suggested_filename == "noise.recordings.xlsx"
    book = openpyxl.load_workbook(io.BytesIO(_bytes(found.value)), read_only=True)
    assert sum(1 for _ in book.worksheets[0].iter_rows()) == RECORDINGS + 1
    assert page.url == demo.page_of("noise.recordings")


def test_escape_closes_the_downloads(page: Page, paced: Server) -> None:
    generate(page, paced, "short.paced")
    wait_for_status(page, "done")
    button = page.get_by_role("button", name="Download", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Download")
    expect(dialog.get_by_role("link", name="NDJSON")).to_be_visible()
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("link", name="CSV for programs")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
