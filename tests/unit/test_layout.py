from app.layout import measured
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
