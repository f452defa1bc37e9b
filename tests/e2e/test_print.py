"""A report on paper: its rows and, on each page, its columns; nothing that is there to be pressed."""

import io
import re

import pytest
from playwright.sync_api import Page
from pypdf import PdfReader
from report_page import generate, load_chunk, until, wait_for_chunks, wait_for_status
from serving import Server

_SHOWN = """() => ["#report-table", "h1", "#report-status", ".top", ".tools",
    "#report-actions", "#report-progress", "#report-summary", "#report-scroll > p", ".grip", "#row-dialog",
    "#report-connection"].filter(
    selector => [...document.querySelectorAll(selector)].some(each => each.checkVisibility()))"""


def pages(page: Page) -> list[list[str]]:
    """The lines of each page."""
    paper = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    return [each.extract_text().splitlines() for each in paper.pages]


@pytest.mark.only_browser("chromium")
class TestOnPaper:
    """Only Chromium prints without a dialog."""

    def test_all_rows_are_printed_under_the_names_of_their_columns(self, page: Page, paced: Server) -> None:
        generate(page, paced, "short.paced")
        wait_for_chunks(page, 3)
        wait_for_status(page, "done")
        printed = pages(page)
        names = ["id", "name", "work"]
        assert printed[0][0].startswith("short.paced")
        assert printed[0][1].split() == names
        assert [lines[0].split() for lines in printed[1:]] == [names] * (len(printed) - 1)
        rows = [line for number, lines in enumerate(printed) for line in lines[2 if number == 0 else 1 :]]
        assert [line.split()[0] for line in rows] == [str(number) for number in range(1, 3_001)]
        assert len(printed) < 3_000 / 25

    def test_rows_that_are_not_there_take_a_line(self, page: Page, paced: Server) -> None:
        generate(page, paced, "short.paced")
        wait_for_status(page, "done")
        page.reload()
        wait_for_chunks(page, 3)
        load_chunk(page, 3)
        lines = [line for lines in pages(page) for line in lines]
        gaps = [
            number for number, line in enumerate(lines) if line == "Rows that were not loaded are not printed"
        ]
        found = [lines[number + step] for number in gaps for step in (-1, 1)]
        assert len(gaps) <= 1
        assert all(found)
        numbers = {int(line.split()[0]) for line in lines if re.match(r"\d+ row \d+ ", line)}
        assert {1, 1_000, 2_001, 3_000} <= numbers
        assert len(numbers) == 3_000 - 1_000 * len(gaps)

    @pytest.mark.parametrize("dataset", ["noise.recordings", "noise.sensor_reading"])
    def test_a_wide_table_fits_the_page(self, page: Page, demo: Server, dataset: str) -> None:
        generate(page, demo, dataset)
        wait_for_status(page, "done")
        page.reload()
        names = page.locator("#report-table th").all_text_contents()
        paper = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
        box = paper.pages[0].mediabox
        assert box.width > box.height
        first = paper.pages[0].extract_text()
        for name in names:
            assert name in first


@pytest.mark.only_browser("chromium")  # Playwright cannot ask Firefox itself for paper
def test_on_paper_there_is_nothing_to_press(page: Page, paced: Server) -> None:
    generate(page, paced, "short.paced")
    wait_for_status(page, "done")
    until(page, "() => document.querySelectorAll('#report-summary li').length", 3)
    page.emulate_media(media="print")
    assert page.evaluate(_SHOWN) == ["#report-table", "h1", "#report-status"]
    page.emulate_media(media="screen")
    assert {".tools", "#report-summary", "#report-actions"} <= set(page.evaluate(_SHOWN))
