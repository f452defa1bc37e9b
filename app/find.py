"""Finding text in the rows of a report: all that the spool has, whether or not it is on the page.

A cell matches when its text on the page holds the sought text, both case-folded (`str.casefold`, so that
STRASSE finds Straße). Numbers have the text that the page shows; of a cut cell it is the part that is kept;
NULL and binary cells match nothing. Letters that are written in two ways (é as one or two code points) are
told apart, as they are everywhere else.

Most chunks hold no match, and most of these are told by their MessagePack bytes, where each text stands as
contiguous UTF-8. Processor time for each chunk of 1,000 rows, on a busy machine, over a million rows of 10
columns (3 integers, 2 reals, 5 texts) without a match:

    sought              bytes first    every cell
    zebra               0.7 ms         2.7 ms
    ostrich kiss fly    1.2 ms         2.4 ms        holds s, i, f ...: ß, ﬁ and others fold to them
    привет              1.1 ms         2.7 ms
    999999999999        -              4.5 ms        may be part of a number, which the bytes do not spell
"""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache

from app.codec import decompress, unpack
from app.model import Cell, Chunk, Cut, Report, Row, Undecodable
from app.spool import Spool

SECONDS = 2.0  # that one request may look
_BATCH = 8  # chunks read at once: up to 8 MB where cells are large, half a megabyte otherwise


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest row that matches, and the first column that does. Both count from 1."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Passed:
    """The time was up after this row; no row before it, on the way, matches."""

    row: int


@dataclass(frozen=True, slots=True)
class Missing:
    """No row on the way matches, up to the last (or first) that `report` says is there."""


Outcome = Found | Passed | Missing


async def find(
    spool: Spool,
    report: Report,
    text: str,
    *,
    after: int = 0,
    before: int | None = None,
    seconds: float = SECONDS,
) -> Outcome:
    """The first row after row number `after` with a cell that holds `text`, which is not empty.

    With `before`, the last row before row number `before` instead. It looks at one chunk at least and then
    for as long as `seconds`, in a thread; of a running report, at the rows that `report` counts.
    """
    deadline = time.monotonic() + seconds
    needle = Needle(text)
    way = _Way(after, report.rows + 1) if before is None else _Way(0, min(before, report.rows + 1), True)
    passed = 0
    async for chunks in _batches(spool, report, way):
        outcome = await asyncio.to_thread(_look, chunks, needle, way, deadline)
        if isinstance(outcome, Found):
            return outcome
        passed = outcome
        if time.monotonic() >= deadline:
            break
    over = passed <= 1 if way.back else passed >= report.rows
    return Missing() if over or not passed else Passed(passed)


@dataclass(frozen=True, slots=True)
class _Way:
    """The rows with numbers between these two, and in which direction."""

    after: int
    before: int
    back: bool = False


async def _batches(spool: Spool, report: Report, way: _Way) -> AsyncIterator[Sequence[Chunk]]:
    """The chunks that hold rows on the way, in its direction."""
    if way.after + 1 >= way.before:
        return
    nearest = way.before - 1 if way.back else way.after + 1
    start = await spool.chunk_of_row(report.id, report.generation, nearest)
    if start is None:  # the report was read anew meanwhile, or deleted
        return
    if way.back:
        for last in range(start.number, 0, -_BATCH):
            first = max(1, last - _BATCH + 1)
            yield (await spool.read(report.id, report.generation, first - 1, last - first + 1))[::-1]
    else:
        for first in range(start.number, report.chunks + 1, _BATCH):
            yield await spool.read(
                report.id, report.generation, first - 1, min(_BATCH, report.chunks - first + 1)
            )


def _look(chunks: Sequence[Chunk], needle: "Needle", way: _Way, deadline: float) -> Found | int:
    """The match, or the number of the last row that was passed; 0 without chunks."""
    passed = 0
    for chunk in chunks:
        if found := needle.in_chunk(chunk, way):
            return found
        passed = chunk.first_row if way.back else chunk.first_row + chunk.rows - 1
        if time.monotonic() >= deadline:
            break
    return passed


# What a part of a number's text may look like: of -12.5, 1e-07 and 1e+16 any part, and of the names.
_PART_OF_NUMBER = re.compile(r"-?[0-9]*(\.[0-9]*)?(e([-+][0-9]*)?)?|[-+][0-9]*")
_NAMES = ("-inf", "nan")
_ASCII = bytes(range(128))
_PREFILTERED = 16  # characters: more would tell hardly more chunks apart, and fold more letters


class Needle:
    """A text that is sought in many chunks."""

    def __init__(self, text: str) -> None:
        self._text = text.casefold()
        self._caseless = not any(map(_unfolded().get, self._text))
        self._numeric = bool(_PART_OF_NUMBER.fullmatch(self._text)) or any(
            self._text in name for name in _NAMES
        )
        # U+FFFD also stands for bytes that are no UTF-8.
        self._prefilter = not self._numeric and "\ufffd" not in self._text
        start = self._text[:_PREFILTERED]
        self._bytes = start.encode(errors="surrogatepass")
        letters = {letter for part in start for letter in _unfolded().get(part, ()) if not letter.isascii()}
        self._letters = [(letter.encode(), letter.casefold().encode()) for letter in sorted(letters)]

    def in_chunk(self, chunk: Chunk, way: _Way) -> Found | None:
        """The match of the chunk's rows on the way that comes first on it."""
        data = decompress(chunk.payload)
        if not self.may_be_in(data):
            return None
        start = max(0, way.after + 1 - chunk.first_row)
        rows = unpack(data)[start : max(0, way.before - chunk.first_row)]
        found = self.in_rows(rows, back=way.back)
        return found and Found(chunk.first_row + start + found[0], found[1] + 1)

    def may_be_in(self, data: bytes) -> bool:
        """False only if no text of these MessagePack bytes holds the needle, and no number can.

        The bytes are folded as far as the needle's letters go. A text begins with a byte that continues no
        character, so a letter's bytes are never half in it; what becomes of other bytes does not matter.
        """
        if not self._prefilter:
            return True
        data = data.lower()
        beyond_ascii = data.translate(None, _ASCII)  # a fifth of the bytes, to be searched for 15 letters
        for letter, folded in self._letters:
            if letter in beyond_ascii:
                data = data.replace(letter, folded)
        return self._bytes in data

    def in_rows(self, rows: Sequence[Row], *, back: bool = False) -> tuple[int, int] | None:
        """(row, column), from 0, of the first row that matches, or the last, and its first column."""
        found = [
            (row, position)
            for position, column in enumerate(zip(*rows, strict=True))
            if (row := self._in_column(column, back)) is not None
        ]
        return min(found, key=lambda each: (-each[0] if back else each[0], each[1]), default=None)

    def _in_column(self, column: tuple[Cell, ...], back: bool) -> int | None:
        kinds = set(map(type, column))
        if kinds <= _NUMBERS and not self._numeric:
            return None
        texts = list(map(str, column)) if kinds <= _PLAIN else [_text(cell) for cell in column]
        # All cells at once first: that takes a fifth of the time.
        if not self._is_in("\x1f".join(texts)):
            return None
        order = range(len(texts) - 1, -1, -1) if back else range(len(texts))
        return next((row for row in order if self._is_in(texts[row])), None)

    def _is_in(self, text: str) -> bool:
        return self._text in (text if self._caseless else text.casefold())


@cache
def _unfolded() -> dict[str, list[str]]:
    """For each character the others whose folding holds it: of `s` among them S, ß and ẞ."""
    others = defaultdict(list)
    for letter in map(chr, range(CASED)):
        folded = letter.casefold()
        if folded != letter:
            for part in folded:
                others[part].append(letter)
    return dict(others)


CASED = 0x20000  # no character from here on has a case
_NUMBERS = frozenset({int, float})
_PLAIN = _NUMBERS | {str}


def _text(cell: Cell) -> str:
    """What may be found of a cell: its text on the page (app/render.py) without what the page adds."""
    match cell:
        case None | bytes() | Cut(value=bytes()):
            return ""
        case Cut(value=str() as start):
            return start
        case Undecodable(raw=raw):
            return raw.decode(errors="replace")
        case _:
            return str(cell)
