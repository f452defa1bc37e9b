"""Numbers -> count, range, exact mean and exact histogram, chunk by chunk."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from app.figures import Number, Numbers

_BINS, _BARS = 64, 32
_UNIT = 1074  # every float is a multiple of 2**-1074, so that sums and edges can be exact integers of it
_DIGITS = 53  # bits of a float's significand


class NumberSummary:
    def __init__(self) -> None:
        self._count = self._nans = self._infinities = 0
        self._sum = 0  # in units of 2**-1074
        self._least: Number = 0
        self._greatest: Number = 0
        self._histogram = _Histogram()

    def add_ints(self, ints: Sequence[int]) -> None:
        """`ints` and, below, `floats` hold at least one number."""
        self._sum += sum(ints) << _UNIT
        self._place(sorted(ints))

    def add_floats(self, floats: Sequence[float]) -> None:
        if not math.isfinite(sum(floats)):  # or the sum of finite ones is past the largest float
            self._nans += sum(map(math.isnan, floats))
            self._infinities += sum(map(math.isinf, floats))
            floats = list(filter(math.isfinite, floats))
        self._sum += _exact_sum(floats)
        if floats:
            self._place(sorted(floats))

    def _place(self, ordered: Sequence[Number]) -> None:
        before = self._count
        first, last = _whole(ordered[0]), _whole(ordered[-1])
        self._least = min(self._least, first) if before else first
        self._greatest = max(self._greatest, last) if before else last
        self._count += len(ordered)
        self._histogram.add(ordered, self._least, self._greatest)

    def figures(self, *, whole: bool) -> Numbers | None:
        all_of_them = self._count + self._nans + self._infinities
        if not self._count:
            if not all_of_them:
                return None
            return Numbers(all_of_them, whole=False, nans=self._nans, infinities=self._infinities)
        start, width, bars = self._histogram.bars(whole=whole)
        return Numbers(
            count=all_of_them,
            least=_storable(self._least),
            greatest=_storable(self._greatest),
            mean=_mean(self._sum, self._count),
            start=_storable(start) if width else _storable(self._least),
            width=_storable(width),
            bars=bars,
            whole=whole,
            nans=self._nans,
            infinities=self._infinities,
        )


def _exact_sum(floats: Sequence[float]) -> int:
    """In units. The rounded sum, then the rounded sum of what it left out, until nothing is left."""
    parts: list[float] = []
    try:
        while part := math.fsum([*floats, *parts]):
            parts.append(-part)
    except OverflowError:  # on the way, although the parts may be floats
        return sum(map(_units, floats))
    return -sum(map(_units, parts))


def _units(number: Number) -> int:
    over, under = number.as_integer_ratio()
    return (over << _UNIT) // under


def _whole(number: Number) -> Number:
    """1.0 and -0.0 as 1 and 0, so that it does not matter which of two equal numbers came first."""
    return int(number) if abs(number) < 2**_DIGITS and number == int(number) else number


def _mean(units: int, count: int) -> float | None:
    try:
        return units / (count << _UNIT)
    except OverflowError:
        return None


def _storable(number: Number) -> Number:
    """MessagePack takes integers of 64 bits, as chunks do; larger ones come from no chunk and lose digits."""
    if -(2**63) <= number < 2**64:
        return number
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


class _Histogram:
    """Exact bins: as wide as a power of two, edges at multiples of it, the narrowest that make up to 64 bins.

    That width depends on the least and the greatest number alone, and a wider bin is two narrower ones: so
    the bins of all numbers are the same however they came.
    """

    def __init__(self) -> None:
        self._power: int | None = None  # the width is 2**power units; None while all numbers are equal
        self._bins: Counter[int] = Counter()  # bin n begins at n * width
        self._range: tuple[Number, Number] | None = None
        self._equal = 0

    def add(self, ordered: Sequence[Number], least: Number, greatest: Number) -> None:
        """Takes sorted numbers; `least` and `greatest` are those of all so far."""
        if least == greatest:
            self._range, self._equal = (least, greatest), self._equal + len(ordered)
            return
        if self._range != (least, greatest):
            self._widen(_power(_units(least), _units(greatest)))
            self._range = (least, greatest)
        self._count(ordered)

    def _widen(self, power: int) -> None:
        if self._power is None:
            if self._equal and self._range:
                self._bins[_units(self._range[0]) >> power] = self._equal
        elif power > self._power:
            self._bins = _merged(self._bins, power - self._power)
        self._power = power

    def _count(self, ordered: Sequence[Number]) -> None:
        assert self._power is not None
        first, last = (_units(ordered[end]) >> self._power for end in (0, -1))
        before = 0
        for number in range(first, last):
            upto = bisect_left(ordered, _edge(number + 1, self._power), before)
            self._bins[number] += upto - before
            before = upto
        self._bins[last] += len(ordered) - before

    def bars(self, *, whole: bool) -> tuple[Number, Number, tuple[int, ...]]:
        """(left edge, width, counts) of at most 32 bars; of whole numbers, bars at least 1 wide."""
        if self._power is None:
            return 0, 0, (self._equal,)
        power, bins = self._power, +self._bins
        more = max(0, _UNIT - power) if whole else 0
        while (max(bins) >> more) - (min(bins) >> more) >= _BARS:
            more += 1
        bins, power = _merged(bins, more), power + more
        first = min(bins)
        counts = tuple(bins[number] for number in range(first, max(bins) + 1))
        return _edge(first, power), _edge(1, power), counts


def _power(least: int, greatest: int) -> int:
    """The narrowest width for a range in units.

    Never so narrow that an edge is no float: past 2**53 a bin is at least 1 wide, and its edges are integers.
    """
    power = max(0, min(_UNIT, max(abs(least), abs(greatest)).bit_length() - _DIGITS))
    power = max(power, (greatest - least).bit_length() - _BINS.bit_length())
    while (greatest >> power) - (least >> power) >= _BINS:
        power += 1
    return power


def _edge(number: int, power: int) -> Number:
    return number << power - _UNIT if power >= _UNIT else math.ldexp(number, power - _UNIT)


def _merged(bins: Counter[int], powers: int) -> Counter[int]:
    merged: Counter[int] = Counter()
    for number, count in bins.items():
        merged[number >> powers] += count
    return merged
