"""What a column's summary holds, and how the page says it: a figure is exact, or says "about" or "over"."""

from collections.abc import Iterator
from typing import Self

import msgspec

Number = int | float

SHOWN_COLUMNS = 100  # of a report: with more of them the page would grow to megabytes


class Numbers(msgspec.Struct, frozen=True):
    """The numbers of a column. All but `nans` and `infinities` is about the finite ones."""

    count: int
    least: Number | None = None  # None where none is finite
    greatest: Number | None = None
    mean: float | None = None  # correctly rounded; None, too, if it is too large for a float
    start: Number = 0  # left edge of the first bar
    width: Number = 0  # of each bar, a power of two; 0: all numbers are equal
    bars: tuple[int, ...] = ()  # at most 32; each holds its left edge and not its right one
    whole: bool = True  # none is a float
    nans: int = 0
    infinities: int = 0


class Texts(msgspec.Struct, frozen=True):
    """The texts of a column that are not empty. `first` and `last` are in the order of code points."""

    count: int
    different: int
    over: bool  # there are more than `different`, because counting ended there
    top: tuple[tuple[str, int], ...]  # the most frequent values; none where `over`
    first: str
    last: str
    shortest: int  # characters
    longest: int


class Figures(msgspec.Struct, frozen=True):
    """One column. Cells that are cut, binary or not UTF-8 are counted and not looked at."""

    nulls: int = 0
    empties: int = 0
    binary: int = 0
    cut: int = 0
    undecodable: int = 0
    numbers: Numbers | None = None
    texts: Texts | None = None


class Summary(msgspec.Struct, frozen=True):
    """The first columns of a report, SHOWN_COLUMNS at most, as far as its chunks were looked at."""

    generation: int
    chunks: int
    rows: int
    columns: tuple[Figures, ...] = ()

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Raises msgspec.DecodeError for what another version wrote."""
        return msgspec.msgpack.decode(payload, type=cls)


def shown(number: Number) -> str:
    """All digits, with thousands separators: `23,453`, `-0.5`, `1e+300`."""
    return f"{number:,}".removesuffix(".0")


def about(number: float) -> str:
    """Six significant digits, after an `≈` where that is not all: `0.5`, `≈ 61.2034`, `≈ 1,234,570`."""
    short = float(f"{number:.6g}")
    return ("" if short == number else "≈ ") + shown(short)


def facts(figures: Figures) -> list[str]:
    """What else is in the column, the NULLs first: `["1,204 NULL", "35 empty", "3 texts"]`."""
    counted = list(_counted(figures))
    main = main_part(figures)
    if isinstance(main, Numbers) and figures.texts:
        counted.append((figures.texts.count, "text" if figures.texts.count == 1 else "texts"))
    if isinstance(main, Texts) and figures.numbers:
        counted.append((figures.numbers.count, "number" if figures.numbers.count == 1 else "numbers"))
    return [f"{figures.nulls:,} NULL" if figures.nulls else "0 NULL"] + [
        f"{count:,} {what}" for count, what in counted if count
    ]


def _counted(figures: Figures) -> Iterator[tuple[int, str]]:
    yield figures.empties, "empty"
    if figures.numbers:
        yield figures.numbers.nans, "not a number"
        yield figures.numbers.infinities, "infinite"
    yield figures.binary, "binary"
    yield figures.cut, "cut"
    yield figures.undecodable, "not UTF-8"


def main_part(figures: Figures) -> Numbers | Texts | None:
    """What most values of a column are; a SQLite column may mix them."""
    numbers, texts = figures.numbers, figures.texts
    if numbers and texts:
        return numbers if numbers.count >= texts.count else texts
    return numbers or texts


def different(texts: Texts) -> str:
    """`over 10,000 different`, `all different`, `12 different`, `all the same`."""
    if texts.over:
        return f"over {texts.different:,} different"
    if texts.different == 1:
        return "one value" if texts.count == 1 else "all the same"
    return "all different" if texts.different == texts.count else f"{texts.different:,} different"


def lengths(texts: Texts) -> str:
    """`19 characters`, `5 to 80 characters`."""
    few = f"{texts.shortest:,} to " if texts.shortest < texts.longest else ""
    return f"{few}{texts.longest:,} character{'' if texts.longest == 1 else 's'}"


def histogram_in_words(numbers: Numbers) -> str:
    """`from 0 to 96, most between 40 and 48`."""
    if numbers.least is None or numbers.greatest is None or not numbers.width:
        return ""  # no histogram is drawn of one value, or of none
    fullest = numbers.bars.index(max(numbers.bars))
    left = numbers.start + fullest * numbers.width
    most = f"at {shown(left)}"
    if not (numbers.whole and numbers.width == 1):
        most = f"between {shown(left)} and {shown(left + numbers.width)}"
    return f"from {shown(numbers.least)} to {shown(numbers.greatest)}, most {most}"


def outline(numbers: Numbers, height: int) -> str:
    """The bars as the `d` of an SVG path: 1 wide each with a gap, as high as their share of `height`.

    A path and not an element a bar: a third of the bytes. A bar that is not empty can be seen.
    """
    fullest = max(numbers.bars, default=1)
    bars = ((at, max(1, round(height * count / fullest))) for at, count in enumerate(numbers.bars) if count)
    return "".join(f"M{at} {height}v-{tall}h.9v{tall}z" for at, tall in bars)


def coverage(summary: Summary, complete: bool) -> str:
    """`23,453 rows`, `The first 12,000 rows`."""
    rows = "1 row" if summary.rows == 1 else f"{summary.rows:,} rows"
    return rows if complete else f"The first {rows}"
