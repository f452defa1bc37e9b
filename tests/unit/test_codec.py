import math

import msgspec
import pytest
import zstandard

from app.codec import ChunkEncoder, decode
from app.model import CELL_LIMIT, Cell, Cut, Row, Undecodable


def through(*rows: Row) -> list[Row]:
    encoder = ChunkEncoder()
    for row in rows:
        encoder.add(row)
    return decode(encoder.finish())


def test_no_rows_are_a_chunk_too() -> None:
    assert through() == []


def test_a_row_without_cells_is_still_a_row() -> None:
    assert through((), ()) == [(), ()]


@pytest.mark.parametrize(
    "cell",
    [
        None,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        2**53 + 1,
        0.1,
        1.0,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        math.inf,
        -math.inf,
        "",
        "a\0b",
        "e\u0301 \U0001f600 \u202e",
        b"",
        b"\x00\xff",
        b"text",
    ],
)
def test_a_plain_cell_keeps_its_value_and_type(cell: Cell) -> None:
    [(back,)] = through((cell,))
    assert back == cell
    assert type(back) is type(cell)
    assert str(back) == str(cell)  # tells -0.0 from 0.0


def test_nan_stays_nan() -> None:
    [(back,)] = through((math.nan,))
    assert isinstance(back, float)
    assert math.isnan(back)


def test_rows_and_cells_keep_their_order() -> None:
    rows: list[Row] = [(number, f"row {number}", None) for number in range(1000)]
    assert through(*rows) == rows


@pytest.mark.parametrize("letter", ["a", "ü", "\U0001f600"])
def test_text_is_cut_one_character_past_the_limit_and_not_before(letter: str) -> None:
    exactly = letter * CELL_LIMIT
    assert through((exactly, exactly + "z")) == [(exactly, Cut(exactly))]


def test_bytes_are_cut_one_byte_past_the_limit_and_not_before() -> None:
    exactly = b"\xff" * CELL_LIMIT
    assert through((exactly, exactly + b"z")) == [(exactly, Cut(exactly))]


def test_small_cells_that_are_many_are_not_cut() -> None:
    row: Row = tuple("x" * 100 for _ in range(1600))
    assert through(row) == [row]


def test_a_large_cell_leaves_the_rows_around_it_alone() -> None:
    large = "x" * 10_000_000
    rows = through(("before", 1), (large, 2), ("after", 3))
    assert rows == [("before", 1), (Cut("x" * CELL_LIMIT), 2), ("after", 3)]


def test_text_that_is_not_utf8_comes_back_as_its_bytes_and_its_neighbours_as_they_were() -> None:
    escaped = b"caf\xe9".decode("utf-8", "surrogateescape")
    rows = through(("before",), (escaped, "é", 1, b"\xe9", None), ("after",))
    assert rows == [("before",), (Undecodable(b"caf\xe9"), "é", 1, b"\xe9", None), ("after",)]


def test_undecodable_text_keeps_at_most_the_limit_of_its_bytes() -> None:
    escaped = (b"\xff" * (CELL_LIMIT + 1)).decode("utf-8", "surrogateescape")
    assert through((escaped,)) == [(Undecodable(b"\xff" * CELL_LIMIT),)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud800\udcff"])
def test_a_lone_surrogate_that_stands_for_no_byte_does_not_fail_the_chunk(text: str) -> None:
    [(cell, after)] = through((text, "after"))
    assert cell == Undecodable(text.encode("utf-8", "surrogatepass"))
    assert after == "after"


def test_a_row_that_is_both_large_and_undecodable_is_marked_cell_by_cell() -> None:
    escaped = b"\xff".decode("utf-8", "surrogateescape")
    long = "y" * (CELL_LIMIT + 1)
    assert through((long, escaped, b"z")) == [(Cut("y" * CELL_LIMIT), Undecodable(b"\xff"), b"z")]


def test_size_counts_what_is_kept_of_large_cells_not_what_was_read() -> None:
    encoder = ChunkEncoder()
    empty = encoder.size
    encoder.add(("x" * 10_000_000,))
    assert CELL_LIMIT < encoder.size - empty < CELL_LIMIT + 100
    assert encoder.rows == 1


def test_an_unknown_mark_is_refused_and_not_shown_as_data() -> None:

    payload = msgspec.msgpack.encode([[msgspec.msgpack.Ext(99, b"")]])
    with pytest.raises((ValueError, msgspec.DecodeError), match="newer version"):
        decode(zstandard.ZstdCompressor().compress(payload))
