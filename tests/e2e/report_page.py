"""What a person does on a report's page, and what the page shows."""

import json
import re
from itertools import chain
from typing import Any

from playwright.sync_api import Locator, Page
from serving import Server
from tables import Shown

_CHUNKS = "#report-rows > .chunk"
_READ = """chunk => JSON.stringify([...chunk.querySelectorAll("tr")].map(row => [...row.cells].map(
    cell => cell.className ? [cell.className, cell.textContent] : cell.textContent)))"""


def generate(page: Page, server: Server, dataset: str, origin: str | None = None) -> str:
    """Opens the dataset's page and presses Generate: the id of the report."""
    page.goto(server.page_of(dataset).replace(server.url, origin or server.url))
    return press_generate(page)


def press_generate(page: Page) -> str:
    page.get_by_role("button", name="Generate").click()
    page.wait_for_url(re.compile(r"/reports/[0-9a-f-]{36}$"), wait_until="commit")
    return page.url.rsplit("/", 1)[1]


def wait_for(page: Page, selector: str, seconds: float = 15) -> Locator:
    """As Playwright's `expect` does, which on a page of 20,000 rows takes a minute to describe what it sees."""
    found = page.locator(selector).first
    found.wait_for(state="attached", timeout=seconds * 1000)
    return found


def wait_for_status(page: Page, status: str, seconds: float = 30) -> None:
    wait_for(page, f'#report-status[data-status="{status}"]', seconds)


def wait_for_chunks(page: Page, count: int, seconds: float = 30) -> None:
    """Until every chunk has its place on the page, once and in order."""
    wait_for(page, f'{_CHUNKS}[data-chunk="{count}"]', seconds)
    numbers = page.evaluate(
        "() => [...document.querySelectorAll('#report-rows > .chunk')].map(chunk => chunk.dataset.chunk)"
    )
    assert numbers == [str(number) for number in range(1, count + 1)]


def scroll_to(page: Page, place: str) -> None:
    """Scrolls the rows until the first element of `place` is just below what can be seen."""
    page.evaluate(
        """place => {
            const scroller = document.getElementById("report-scroll");
            const top = document.querySelector(place).getBoundingClientRect().top;
            scroller.scrollTop += top - scroller.getBoundingClientRect().bottom + 10;
        }""",
        place,
    )


def scroll_through(page: Page) -> None:
    """Scrolls down until every chunk has come."""
    gap = page.locator(f"{_CHUNKS}.gap")
    while gap.count():
        number = gap.first.get_attribute("data-chunk")
        scroll_to(page, f"{_CHUNKS}.gap")
        wait_for(page, f'{_CHUNKS}[data-chunk="{number}"]:not(.gap)')


def rows_of(chunk: Locator) -> list[list[Shown]]:
    return list(json.loads(chunk.evaluate(_READ)))


def rows_shown(page: Page) -> list[list[Shown]]:
    """All cells of all rows on the page, in the page's order."""
    return list(chain.from_iterable(rows_of(chunk) for chunk in page.locator(_CHUNKS).all()))


def all_rows(page: Page, chunks: int, seconds: float = 30) -> list[list[Shown]]:
    """All rows of a report that comes to its end, after scrolling through them."""
    wait_for_chunks(page, chunks, seconds)
    scroll_through(page)
    return rows_shown(page)


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """Tells the first row that differs, where pytest would compare millions of characters."""
    for number, (left, right) in enumerate(zip(found, expected, strict=False), start=1):
        assert left == right, f"row {number}"
    assert len(found) == len(expected)
