"""A person opens an address with filters, and gets exactly the rows that SQLite itself finds."""

import csv
import io
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page
from report_page import all_rows, assert_same, attribute, press_generate, wait_for_status
from serving import Server
from tables import select, shown

COLUMNS = "id, title, district, laeq_db"


@pytest.mark.parametrize(
    ("filters", "where", "said"),
    [
        (
            [("district__eq", "Gràcia"), ("laeq_db__gte", "60")],
            "district = 'Gràcia' AND laeq_db >= 60",
            'Only rows where district = "Gràcia" and laeq_db ≥ 60',
        ),
        (
            [("district__in", "Les Corts"), ("district__in", "Nou Barris"), ("title__contains", "MARK")],
            "district IN ('Les Corts', 'Nou Barris') AND title LIKE '%mark%'",
            'Only rows where district is one of "Les Corts", "Nou Barris" and title contains "MARK"',
        ),
        ([("district__eq", "Atlantis")], "0", 'Only rows where district = "Atlantis"'),
    ],
    ids=["compared", "in a list", "none"],
)
def test_the_rows_on_the_page_the_total_and_the_csv_are_those_that_sqlite_finds(
    page: Page, demo: Server, demo_file: Path, filters: list[tuple[str, str]], where: str, said: str
) -> None:
    expected = select(demo_file, f"SELECT {COLUMNS} FROM recordings WHERE {where} ORDER BY id")
    columns = [("col", name) for name in COLUMNS.split(", ")]
    page.goto(f"{demo.page_of('noise.recordings')}?{urlencode([*columns, *filters])}")
    assert page.locator("#report-filters").text_content() == said
    report = press_generate(page)
    wait_for_status(page, "done")
    assert page.locator("#report-filters").text_content() == said
    assert attribute(page, "#report-table", "aria-rowcount") == str(len(expected) + 1)
    if expected:
        assert 100 < len(expected) < 10_000
        assert_same(all_rows(page, len(expected)), shown(expected))
    else:
        assert page.locator("#report-empty").is_visible()
    found = demo.report(report)
    assert (found["rows"], found["total"], found["total_kind"]) == (len(expected), len(expected), "exact")
    text = demo.get(f"/reports/{report}/export.csv").content.decode()
    names, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert names == COLUMNS.split(", ")
    assert_same(rows, [[str(cell) for cell in row] for row in expected])

    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: report not in url, wait_until="commit")
    wait_for_status(page, "done")
    assert page.locator("#report-filters").text_content() == said
    assert demo.report(page.url.rsplit("/", 1)[1])["rows"] == len(expected)
