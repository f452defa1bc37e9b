"""The figures of a column, against plain Python on the whole column."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import figures as words
from app.figures import Figures, Numbers, Summary, Texts
from app.model import Cell, Cut, Undecodable
from app.summary import ColumnSummary, SummaryBuilder

floats = st.floats()
ints = st.integers(-(2**63), 2**64 - 1)
near = st.integers(-3, 90)
texts = st.text(max_size=6)
others = st.sampled_from([None, "", b"", b"\0", Cut("x"), Cut(b"x"), Undecodable(b"\xff")])
columns = st.one_of(
    st.lists(st.one_of(floats, ints, near, texts, others)),
    st.lists(floats),
    st.lists(st.floats(-5, 5)),
    st.lists(ints),
    st.lists(near),
    st.lists(st.sampled_from(["a", "b", "c", None])),
)


def figures(*parts: Sequence[Cell], **limit: int) -> Figures:
    column = ColumnSummary(**limit)
    for part in parts:
        column.add(part)
    return column.figures()


def numbers(*parts: Sequence[Cell]) -> Numbers:
    found = figures(*parts).numbers
    assert found is not None
    return found


def in_texts(*parts: Sequence[Cell], **limit: int) -> Texts:
    found = figures(*parts, **limit).texts
    assert found is not None
    return found


@settings(max_examples=300, deadline=None)
@given(columns, st.lists(st.integers(0, 100), max_size=5))
def test_it_does_not_matter_how_the_rows_are_cut_into_chunks(cells: list[Cell], cuts: list[int]) -> None:
    ends = [0, *sorted(min(cut, len(cells)) for cut in cuts), len(cells)]
    parts = [cells[start:end] for start, end in itertools.pairwise(ends)]
    assert figures(*parts) == figures(cells)
    assert figures(*([cell] for cell in cells)) == figures(cells)


@settings(max_examples=300, deadline=None)
@given(columns)
def test_the_figures_are_those_of_plain_python(cells: list[Cell]) -> None:
    found = figures(cells)
    assert found.nulls == cells.count(None)
    assert found.empties == sum(cell == "" for cell in cells)
    assert found.binary == sum(isinstance(cell, bytes) for cell in cells)
    assert found.cut == sum(isinstance(cell, Cut) for cell in cells)
    assert found.undecodable == sum(isinstance(cell, Undecodable) for cell in cells)
    check_numbers([cell for cell in cells if isinstance(cell, int | float)], found.numbers)
    check_texts([cell for cell in cells if isinstance(cell, str) and cell], found.texts)


def check_numbers(cells: list[int | float], found: Numbers | None) -> None:
    if not cells:
        assert found is None
        return
    assert found is not None
    finite = [cell for cell in cells if math.isfinite(cell)]
    assert found.count == len(cells)
    assert found.nans == sum(map(math.isnan, cells))
    assert found.infinities == len(cells) - len(finite) - found.nans
    if not finite:
        assert (found.least, found.greatest, found.mean, found.bars) == (None, None, None, ())
        return
    assert (found.least, found.greatest) == (min(finite), max(finite))
    assert found.mean == float(sum(map(Fraction, finite)) / len(finite))
    check_bars(finite, found)


def check_bars(finite: list[int | float], found: Numbers) -> None:
    assert 1 <= len(found.bars) <= 32
    assert sum(found.bars) == len(finite)
    if not found.width:
        assert (set(finite), found.start) == ({found.least}, found.least)
        return
    width, start = Fraction(found.width), Fraction(found.start) if math.isfinite(found.start) else None
    assert width.numerator & (width.numerator - 1) == 0  # a power of two
    assert width.denominator & (width.denominator - 1) == 0
    first = min(finite) // 1 if start is None else start / width
    if start is not None:
        assert first == int(first)
        counted = Counter((Fraction(cell) - start) // width for cell in finite)
        assert found.bars == tuple(counted[number] for number in range(len(found.bars)))
    assert found.bars[0]
    assert found.bars[-1]


def check_texts(cells: list[str], found: Texts | None) -> None:
    if not cells:
        assert found is None
        return
    counted = Counter(cells)
    assert found == Texts(
        count=len(cells),
        different=len(counted),
        over=False,
        top=tuple(counted.most_common(3)),
        first=min(cells),
        last=max(cells),
        shortest=min(map(len, cells)),
        longest=max(map(len, cells)),
    )


@pytest.mark.parametrize(
    "cells",
    [
        [1e308, -1e308, 1e308],
        [1.7976931348623157e308] * 3,
        [1.7976931348623157e308, 5e-324],
        [2**200, -(2**200), 1],
        [2**2000, 1.5],
        [5e-324, 1e-323, 0.0, -5e-324],
        [5e-324],
        [-0.0, 0.0, 0],
        [2**53, 2**53 + 1, float(2**53)],
        [2**64 - 1, 2**64 - 2],
        [1.0, math.nextafter(1.0, 2)],
        [7],
        [7] * 1000,
        [0.1] * 1000,
        [1, 1e308],
        [0, 1e-308],
    ],
)
def test_extreme_numbers_have_a_summary(cells: list[int | float]) -> None:
    found = numbers(cells)
    assert sum(found.bars) == found.count == len(cells)
    assert 1 <= len(found.bars) <= 32
    assert found == numbers(*([cell] for cell in cells))
    assert bool(words.histogram_in_words(found)) is bool(found.width)
    assert (
        Summary.from_bytes(Summary(1, 1, 1, (Figures(numbers=found),)).to_bytes()).columns[0].numbers == found
    )


def test_bars_become_wider_as_the_range_grows_and_stay_exact() -> None:
    column = ColumnSummary()
    widths = set()
    for size in range(1, 5000, 37):
        column.add(range(size))  # type: ignore[arg-type]  # a range is as good as a list
        found = column.figures().numbers
        assert found is not None
        widths.add(found.width)
    assert len(widths) > 5
    cells = [cell for size in range(1, 5000, 37) for cell in range(size)]
    check_numbers(cells, found)


def test_whole_numbers_get_a_bar_each_and_no_gaps_between_them() -> None:
    assert numbers([1, 2, 2, 5]).bars == (1, 2, 0, 0, 1)
    assert numbers([0, 1, 1]).bars == (1, 2)
    assert numbers([0, 1.5]).width < 1


def test_the_mean_is_exact_where_rounding_on_the_way_would_lose_all() -> None:
    assert numbers([1e16, 1.0, -1e16]).mean == 1 / 3
    assert numbers([1e16], [1.0], [-1e16]).mean == 1 / 3
    assert numbers([1e308] * 5).mean == 1e308
    assert numbers([0.1] * 10).mean == statistics.mean([0.1] * 10)


def test_infinities_and_nan_are_counted_and_kept_out() -> None:
    found = numbers([math.inf, 1.0, math.nan, -math.inf, 3.0], [math.nan])
    assert (found.count, found.nans, found.infinities) == (6, 2, 2)
    assert (found.least, found.greatest, found.mean) == (1, 3, 2)
    assert sum(found.bars) == 2
    assert (numbers([math.inf]).least, numbers([math.inf]).bars) == (None, ())


def test_numbers_and_texts_of_one_column_are_told_apart() -> None:
    found = figures([1, 2.5, "three", None, "", b"4", 5])
    assert words.facts(found) == ["1 NULL", "1 empty", "1 binary", "1 text"]
    assert found.numbers is words.main_part(found)
    found = figures([1, "two", "three"])
    assert words.facts(found) == ["0 NULL", "1 number"]
    assert found.texts is words.main_part(found)


def test_truth_values_and_unknown_kinds_count_as_texts() -> None:
    assert in_texts([True, False, True]).top == (("True", 2), ("False", 1))


# Bounds


def test_ten_thousand_different_texts_are_counted_and_no_more() -> None:
    cells = [str(number) for number in range(10_000)]
    found = in_texts(cells)
    assert (found.different, found.over) == (10_000, False)
    assert words.different(found) == "all different"
    found = in_texts([*cells, "one more"])
    assert (found.different, found.over, found.top) == (10_000, True, ())
    assert (found.first, found.last, found.shortest, found.longest) == ("0", "one more", 1, 8)
    assert words.different(found) == "over 10,000 different"


@given(st.lists(st.text(min_size=1, max_size=9), min_size=1), st.integers(1, 8), st.integers(0, 900))
def test_past_the_bound_it_still_does_not_matter_how_rows_are_cut(
    cells: list[str], size: int, limit: int
) -> None:
    parts = [cells[start : start + size] for start in range(0, len(cells), size)]
    found = in_texts(cells, text_bytes=limit)
    assert in_texts(*parts, text_bytes=limit) == found
    assert (found.first, found.last) == (min(cells), max(cells))
    assert found.over or found.different == len(set(cells))
    assert found.different <= len(set(cells))


def test_long_texts_are_not_all_kept() -> None:
    found = in_texts([f"{number:030000}" for number in range(100)])
    assert found.over
    assert found.different < 100
    assert len(found.last) == 200
    assert (found.shortest, found.longest) == (30_000, 30_000)


def test_of_a_wide_report_the_first_hundred_columns_are_looked_at() -> None:
    builder = SummaryBuilder(1, 1990)
    builder.add([tuple(range(1990)), tuple(range(1990))])
    summary = builder.summary()
    assert len(summary.columns) == 100
    assert summary.columns[99] == figures([99, 99])


def test_a_summary_survives_being_stored() -> None:
    builder = SummaryBuilder(3, 3)
    builder.add([(1, "a", math.inf), (2**64 - 1, "", None), (-(2**63), b"x", 0.5)])
    builder.add([])
    summary = builder.summary()
    assert (summary.generation, summary.chunks, summary.rows) == (3, 2, 3)
    assert Summary.from_bytes(summary.to_bytes()) == summary


# Words


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (23453, "23,453"), (-0.5, "-0.5"), (1e300, "1e+300"), (2.0, "2"), (1234.25, "1,234.25")],
)
def test_numbers_are_shown_with_all_digits_and_separators(number: float, text: str) -> None:
    assert words.shown(number) == text


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (0.5, "0.5"),
        (61.20341, "≈ 61.2034"),
        (1234567.8, "≈ 1,234,570"),
        (1e20, "1e+20"),
        (-1 / 3, "≈ -0.333333"),
    ],
)
def test_a_mean_has_six_digits_and_says_when_that_is_not_all(mean: float, text: str) -> None:
    assert words.about(mean) == text


def test_a_histogram_is_told_in_words() -> None:
    assert (
        words.histogram_in_words(numbers([0, 96, *range(40, 48)] * 2))
        == "from 0 to 96, most between 40 and 44"
    )
    assert words.histogram_in_words(numbers([1, 2, 2])) == "from 1 to 2, most at 2"
    assert words.histogram_in_words(numbers([1000])) == ""


def test_an_outline_shows_every_bar_that_is_not_empty() -> None:
    assert words.outline(numbers([1] * 1000 + [3]), 40) == "M0 40v-40h.9v40zM2 40v-1h.9v1z"


@pytest.mark.parametrize(
    ("cells", "different", "lengths"),
    [
        (["a"], "one value", "1 character"),
        (["aa", "aa"], "all the same", "2 characters"),
        (["a", "bb"], "all different", "1 to 2 characters"),
        (["a", "bb", "a"], "2 different", "1 to 2 characters"),
    ],
)
def test_texts_are_told_in_words(cells: list[Cell], different: str, lengths: str) -> None:
    assert words.different(in_texts(cells)) == different
    assert words.lengths(in_texts(cells)) == lengths


def test_the_rows_that_were_looked_at_are_told() -> None:
    assert words.coverage(Summary(1, 12, 12_000), complete=False) == "The first 12,000 rows"
    assert words.coverage(Summary(1, 1, 1), complete=True) == "1 row"
