"""What a person does on a report's page, and what the page shows.

Playwright's locators and `expect` are for the small things: on a page of 20,000 rows they take up to a second
each in Firefox, and a failed `expect` a minute, because it describes all that it sees.
"""

import json
import re
import time
from typing import Any

from playwright.sync_api import Error, Page
from serving import Server
from tables import Shown

_CHUNKS = "() => [...document.querySelectorAll('#report-rows > .chunk')].map(chunk => chunk.dataset.chunk)"
# The number of rows up to the end of the last chunk, if the chunks are numbered from 1 without a gap.
_PLACED = """() => {
    const chunks = [...document.querySelectorAll("#report-rows > .chunk")];
    const last = chunks.at(-1);
    if (!last || chunks.some((chunk, at) => Number(chunk.dataset.chunk) !== at + 1)) return 0;
    const gap = last.querySelector(":scope > svg");
    const rows = gap ? gap.getAttribute("height") / 26 : last.querySelectorAll(".block tr").length;
    return Number(last.dataset.first) - 1 + rows;
}"""
_STATUS = "() => document.getElementById('report-status')?.dataset.status"
_ROWS = """() => {
    const shown = cell => cell.className ? [cell.className, cell.textContent] : cell.textContent;
    const cells = chunk => [...chunk.querySelectorAll("tr")].map(row => [...row.cells].map(shown));
    const loaded = [...document.querySelectorAll("#report-rows > .chunk:not(.gap)")];
    return JSON.stringify(loaded.map(chunk => [chunk.dataset.chunk, cells(chunk)]));
}"""
# Until the place is in the middle of what can be seen.
_SCROLL = """place => {
    const scroller = document.getElementById("report-scroll");
    const top = document.querySelector(place).getBoundingClientRect().top;
    scroller.scrollTop += top - scroller.getBoundingClientRect().top - scroller.clientHeight / 2;
}"""


def generate(page: Page, server: Server, dataset: str, origin: str | None = None) -> str:
    """Opens the dataset's page and presses Generate: the id of the report."""
    page.goto(server.page_of(dataset).replace(server.url, origin or server.url))
    return press_generate(page)


def press_generate(page: Page) -> str:
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url(re.compile(r"/reports/[0-9a-f-]{36}$"), wait_until="commit")
    return page.url.rsplit("/", 1)[1]


def until(page: Page, question: str, answer: object, seconds: float = 15) -> None:
    """Asks the page again and again until it gives the answer."""
    deadline = time.monotonic() + seconds
    while (found := _asked(page, question)) != answer:
        assert time.monotonic() < deadline, f"{question} was {found!r} after {seconds} s, not {answer!r}"
        page.wait_for_timeout(20)


def _asked(page: Page, question: str) -> object:
    try:
        return page.evaluate(question)
    except Error as error:
        if "context was destroyed" not in error.message:
            raise
        return None  # the page is just being left


def wait_for_status(page: Page, status: str, seconds: float = 30) -> None:
    until(page, _STATUS, status, seconds)


def wait_for_chunks(page: Page, count: int, seconds: float = 30) -> None:
    """Until every chunk has its place on the page, once and in order."""
    until(page, _CHUNKS, [str(number) for number in range(1, count + 1)], seconds)


def wait_for_first_rows(page: Page) -> None:
    """Until there are rows, however many have come by then."""
    until(page, "() => document.querySelector('#report-rows tr') !== null", True, 30)


def wait_for_rows(page: Page, count: int, seconds: float = 30) -> None:
    """Until so many rows have their places on the page, in chunks of any size: slow rows come in few."""
    until(page, _PLACED, count, seconds)


def attribute(page: Page, selector: str, name: str) -> str:
    script = "([selector, name]) => document.querySelector(selector).getAttribute(name)"
    return str(page.evaluate(script, [selector, name]))


def scroll_to(page: Page, place: str) -> None:
    page.evaluate(_SCROLL, place)


def load_chunk(page: Page, number: int) -> None:
    """Scrolls to the chunk until its rows are there."""
    place = f'#report-rows > .chunk[data-chunk="{number}"]'
    scroll_to(page, place)
    until(page, f"() => document.querySelector('{place}').classList.contains('gap')", False)


def rows_by_chunk(page: Page) -> dict[int, list[list[Shown]]]:
    """All cells of the rows that the page holds now, by the number of their chunk."""
    return {int(number): rows for number, rows in json.loads(page.evaluate(_ROWS))}


def rows_shown(page: Page) -> list[list[Shown]]:
    """All cells of all rows that the page holds now, in the page's order."""
    return [row for rows in rows_by_chunk(page).values() for row in rows]


def all_rows(page: Page, count: int, seconds: float = 30) -> list[list[Shown]]:
    """All rows of a report that comes to its end with `count` of them, after scrolling through them."""
    if count:
        wait_for_rows(page, count, seconds)
    found = rows_by_chunk(page)
    for number in map(int, page.evaluate(_CHUNKS)):
        if number not in found:
            load_chunk(page, number)
            found |= rows_by_chunk(page)
    return [row for number in sorted(found) for row in found[number]]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """Tells the first row that differs, where pytest would compare millions of characters."""
    for number, (left, right) in enumerate(zip(found, expected, strict=False), start=1):
        assert left == right, f"row {number}"
    assert len(found) == len(expected)
