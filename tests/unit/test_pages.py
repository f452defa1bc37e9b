"""How a report is cut into pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model import Extent
from app.pages import KEPT_ROWS, Page, Pages

PAGES = Pages(page_rows=5_000, live_chunks=2)


def test_without_a_number_a_page_is_the_whole_report() -> None:
    page = PAGES.page(None)
    assert (page.first_row, page.last_row) == (1, None)
    assert page.holds(Extent(900, 10**9, 1_000))
    assert page.count(10**9) == 1


@pytest.mark.parametrize(
    ("row", "number"), [(0, 1), (1, 1), (5_000, 1), (5_001, 2), (10_000, 2), (10_001, 3)]
)
def test_a_row_has_its_page(row: int, number: int) -> None:
    page = PAGES.of_row(row)
    assert page.number == number
    assert page.first_row <= max(row, 1) <= (page.last_row or 0)


def test_a_chunk_belongs_to_the_page_of_its_first_row() -> None:
    crossing = Extent(5, 4_801, 400)
    assert PAGES.page(1).holds(crossing)
    assert not PAGES.page(2).holds(crossing)
    assert PAGES.page(2).holds(Extent(6, 5_201, 400))


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=40))
def test_every_chunk_belongs_to_exactly_one_page(sizes: list[int]) -> None:
    first, extents = 1, []
    for number, rows in enumerate(sizes, 1):
        extents.append(Extent(number, first, rows))
        first += rows
    pages = [PAGES.page(number) for number in range(1, PAGES.page(1).count(first - 1) + 1)]
    for extent in extents:
        assert [page.holds(extent) for page in pages].count(True) == 1
        assert PAGES.of_row(extent.first_row).holds(extent)


def test_the_first_chunks_of_a_report_come_as_rows() -> None:
    extents = [Extent(number, number * 1_000 - 999, 1_000) for number in (1, 2, 3)]
    assert [PAGES.page(None).live(extent) for extent in extents] == [True, True, False]
    assert [PAGES.page(1, keep=True).live(extent) for extent in extents] == [True, True, True]
    assert not PAGES.page(1, keep=True).live(Extent(200, KEPT_ROWS + 1, 1_000))


def test_only_the_first_page_keeps_its_rows() -> None:
    assert PAGES.page(1, keep=True).keep
    assert not PAGES.page(2, keep=True).keep


@pytest.mark.parametrize(("rows", "count"), [(0, 1), (1, 1), (5_000, 1), (5_001, 2), (12_345, 3)])
def test_pages_are_counted(rows: int, count: int) -> None:
    assert PAGES.page(1).count(rows) == count


def test_a_page_tells_its_first_and_last_row() -> None:
    page = Page(1, 5_000)
    assert [page.span(number, 12_345) for number in (1, 2, 3)] == [
        (1, 5_000),
        (5_001, 10_000),
        (10_001, 12_345),
    ]
