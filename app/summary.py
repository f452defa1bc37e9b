"""The cells of a report's columns -> figures, the same however the rows are cut into chunks.

Whole columns go through builtins (Counter, sorted, fsum, bisect): 1,000 x 10 cells take about 2 ms. A look at
each cell in Python would take ten times that.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

from app.figures import SHOWN_COLUMNS, Figures, Summary, Texts
from app.histogram import NumberSummary
from app.model import Cell, Cut, Row, Undecodable

_DIFFERENT = 10_000  # different texts of a column that are counted
_COLUMN_BYTES, _REPORT_BYTES = 1_500_000, 16_000_000  # what they may take, about
_ENTRY = 64  # bytes of a counted text beside its characters
_TOP, _SHOWN_TEXT = 3, 200


class SummaryBuilder:
    """Takes a report's chunks in their order; `summary()` tells what they hold so far."""

    def __init__(self, generation: int, columns: int) -> None:
        count = min(columns, SHOWN_COLUMNS)
        limit = min(_COLUMN_BYTES, _REPORT_BYTES // max(1, count))
        self._generation, self.chunks, self._rows = generation, 0, 0
        self._columns = [ColumnSummary(limit) for _ in range(count)]

    def add(self, rows: Sequence[Row]) -> None:
        for column, cells in zip(self._columns, zip(*rows, strict=True), strict=False):
            column.add(cells)
        self.chunks += 1
        self._rows += len(rows)

    def summary(self) -> Summary:
        columns = tuple(column.figures() for column in self._columns)
        return Summary(self._generation, self.chunks, self._rows, columns)


class ColumnSummary:
    """One column. `text_bytes` bounds the memory that its different texts take."""

    def __init__(self, text_bytes: int = _COLUMN_BYTES) -> None:
        self._kinds: Counter[type] = Counter()
        self._numbers = NumberSummary()
        self._texts = _TextSummary(text_bytes)
        self._cut = 0

    def add(self, cells: Sequence[Cell]) -> None:
        """Takes the column's cells of one chunk."""
        kinds = Counter(map(type, cells))
        self._kinds.update(kinds)
        for kind, count in kinds.items():
            if kind in _SKIPPED:
                continue
            part: Sequence[Any] = cells
            if count < len(cells):
                part = [cell for cell in cells if type(cell) is kind]
            if kind is int:
                self._numbers.add_ints(part)
            elif kind is float:
                self._numbers.add_floats(part)
            else:
                self._texts.add(part if kind is str else [str(cell) for cell in part])

    def figures(self) -> Figures:
        return Figures(
            nulls=self._kinds[type(None)],
            empties=self._texts.empties,
            binary=self._kinds[bytes],
            cut=self._kinds[Cut],
            undecodable=self._kinds[Undecodable],
            numbers=self._numbers.figures(whole=not self._kinds[float]),
            texts=self._texts.figures(),
        )


_SKIPPED = frozenset({type(None), bytes, Cut, Undecodable})


class _TextSummary:
    def __init__(self, limit: int) -> None:
        self.empties = 0
        self._count = 0
        self._limit, self._taken = limit, 0
        self._counted: Counter[str] = Counter()  # in the order in which the values came
        self._over = 0  # so many different values were counted when that became too much; 0: it did not
        self._extremes: _Extremes | None = None  # kept from then on; before, the counted values tell them

    def add(self, texts: Sequence[str]) -> None:
        present = list(filter(None, texts))
        self.empties += len(texts) - len(present)
        self._count += len(present)
        if not present:
            return
        if self._extremes:
            self._extremes = self._extremes.with_(present)
            return
        known = len(self._counted)
        self._counted.update(present)
        if len(self._counted) > known:
            self._bound(known)

    def _bound(self, known: int) -> None:
        """Stops counting at the value that is one too many: so it does not matter where a chunk ends."""
        for number, text in enumerate(islice(self._counted, known, None), known):
            self._taken += len(text) + _ENTRY
            if number >= _DIFFERENT or self._taken > self._limit:
                self._over = number
                self._extremes = _Extremes.of(self._counted)
                self._counted.clear()
                return

    def figures(self) -> Texts | None:
        if not self._count:
            return None
        extremes = self._extremes or _Extremes.of(self._counted)
        return Texts(
            count=self._count,
            different=self._over or len(self._counted),
            over=self._extremes is not None,
            top=tuple((text[:_SHOWN_TEXT], count) for text, count in self._counted.most_common(_TOP)),
            first=extremes.first[:_SHOWN_TEXT],
            last=extremes.last[:_SHOWN_TEXT],
            shortest=extremes.shortest,
            longest=extremes.longest,
        )


class _Extremes(NamedTuple):
    first: str
    last: str
    shortest: int
    longest: int

    @classmethod
    def of(cls, texts: Collection[str]) -> Self:
        lengths = list(map(len, texts))
        return cls(min(texts), max(texts), min(lengths), max(lengths))

    def with_(self, texts: Collection[str]) -> "_Extremes":
        more = _Extremes.of(texts)
        return _Extremes(
            min(self.first, more.first),
            max(self.last, more.last),
            min(self.shortest, more.shortest),
            max(self.longest, more.longest),
        )
