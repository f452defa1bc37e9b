"""What is asked of a writer, and what it tells."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from babel import Locale, UnknownLocaleError

from app.exports.manifest import Manifest
from app.model import Row

# Gives the report's rows from the first one on, each time it is called: some formats look before they write.
Chunks = Callable[[], Iterator[Sequence[Row]]]


class Preset(StrEnum):
    """Whom a CSV is for: programs, which get the values as they are, or Excel, which would change some."""

    DATA = "data"
    EXCEL = "excel"


@dataclass(frozen=True, slots=True)
class Options:
    """What the person chose; only CSV asks for it, and `data` ignores the signs."""

    preset: Preset = Preset.DATA
    separator: str = ","  # between fields, as the person's Excel expects it: "," ";" or a tab
    decimal: str = "."  # in numbers: "." or ","


def for_excel(locale: str) -> Options:
    """As Excel in this locale ("de-CH", "pt_BR") separates fields; an unknown one counts as English."""
    try:
        decimal = Locale.parse(locale.replace("-", "_")).number_symbols["latn"]["decimal"]
    except (ValueError, UnknownLocaleError, KeyError):
        decimal = "."
    return Options(Preset.EXCEL, *((";", ",") if decimal == "," else (",", ".")))


class StreamWriter(Protocol):
    """A file that can be sent while its report runs. One writer makes one file, chunk by chunk in order."""

    cut: int  # cells so far that hold only the start of a longer one
    undecodable: int  # cells so far whose text is not UTF-8

    def begin(self) -> bytes: ...

    def rows(self, rows: Sequence[Row], first_row: int) -> bytes:
        """The lines of a chunk; `first_row` is the number of its first row in the report, from 1."""

    def end(self) -> bytes: ...


class FileWriter(Protocol):
    """A file that is made as a whole, in a thread; it lets other threads run meanwhile."""

    passes: int  # how often `write` calls for the chunks: once, or twice because it looks first

    def write(self, path: Path, chunks: Chunks, about: Manifest) -> Manifest:
        """Makes the file and gives `about` with what is known now: rows written, cells cut, notes.

        `sha256` and `size` are left to the caller. What `chunks` raises comes through, and leaves a part of a
        file at `path`.
        """
