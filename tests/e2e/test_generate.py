"""A person generates a report and finds in it exactly what is in the file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from report_page import all_rows, assert_same, expect_chunks, expect_status, generate, rows_of, scroll_through
from serving import Server
from tables import select, shown

RECORDINGS = 23_453
CHUNKS = 24


def test_every_cell_on_the_page_is_the_cell_in_the_file(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.recordings")
    expect_chunks(page, CHUNKS)
    assert page.locator("#report-rows > .gap").count() == CHUNKS - 20
    found = all_rows(page, CHUNKS)
    assert len(found) == RECORDINGS
    assert_same(found, shown(select(demo_file, "SELECT * FROM recordings")))
