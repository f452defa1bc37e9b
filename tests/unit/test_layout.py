import pytest

from app.errors import InvalidRequest
from app.layout import fixed, measured
from app.model import Column, Kind


def columns(*names: str) -> list[Column]:
    return [Column(name, Kind.ANY) for name in names]


def test_a_column_is_as_wide_as_most_of_its_cells() -> None:
    rows = [("x" * 10, "x" * 20)] * 99 + [("x" * 300, "x" * 20)]
    narrow, wide = measured(columns("a", "b"), rows)
    assert 64 <= narrow.width < wide.width < 300


def test_a_long_name_widens_a_column_of_short_cells() -> None:
    short, long = measured(columns("n", "spectral_centroid_hz"), [(1, 1)])
    assert long.width > short.width


def test_a_key_that_counts_up_has_room_for_three_more_digits() -> None:
    key, number = measured(columns("a", "b"), [(row, 1000 - row) for row in range(1, 1001)])
    (later,) = measured(columns("a"), [(1_000_000,)] * 2)
    assert key.width == later.width > number.width


def test_no_column_is_wider_than_the_limit() -> None:
    (column,) = measured(columns("a"), [("x" * 10_000,)])
    assert column.width == 380


def test_wide_characters_count_twice() -> None:
    latin, wide = measured(columns("a", "b"), [("x" * 12, "漢" * 12)])
    assert wide.width > 1.4 * latin.width


def test_a_column_of_numbers_is_aligned_right_with_its_nulls() -> None:
    numbers, text, mixed = measured(columns("a", "b", "c"), [(1, "1", 1), (None, "2", "x")])
    assert (numbers.right, text.right, mixed.right) == (True, False, False)


def test_without_rows_the_declared_kind_decides_the_alignment() -> None:
    declared = [Column("a", Kind.INTEGER), Column("b", Kind.TEXT)]
    assert [column.right for column in measured(declared, [])] == [True, False]


def test_widths_that_a_person_chose_stay_when_the_columns_are_measured_again() -> None:
    chosen = fixed(columns("a", "b"), ["500", "41"])
    again = measured(chosen, [("x", "x" * 100)])
    assert [(column.width, column.fixed) for column in again] == [(500, True), (41, True)]


def test_the_columns_after_those_with_a_chosen_width_keep_theirs() -> None:
    a, b = measured(columns("a", "b"), [("x", "x" * 20)])
    assert [column.width for column in fixed([a, b], ["300"])] == [300, b.width]


@pytest.mark.parametrize(
    "widths", [[], ["39"], ["2001"], ["1e2"], ["\N{SUPERSCRIPT TWO}00"], [""], ["100"] * 3]
)
def test_widths_that_do_not_fit_are_refused(widths: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="width"):
        fixed(columns("a", "b"), widths)
