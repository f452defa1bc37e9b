"""Where the people's data is: a few verbs for every kind of database, none of which writes to it."""

import re
from collections.abc import Callable
from typing import Protocol

from app.errors import InvalidRequest
from app.model import Batch, Column, Dataset, Filter, Row, Skipped
from app.source.sqlite import SqliteSource


class Source(Protocol):
    """A database that can be reported on. Every verb raises a SourceError with a sentence."""

    name: str

    async def discover(self) -> tuple[list[Dataset], list[Skipped]]:
        """What can be reported on, and what cannot with the reason. Executes and counts nothing."""

    async def describe_query(self, name: str, sql: str) -> Dataset:
        """A saved query as a dataset. InvalidRequest if the text is not one query without parameters."""

    async def preview(self, dataset: Dataset, limit: int = 8, filters: tuple[Filter, ...] = ()) -> list[Row]:
        """The first `limit` rows of a report, or those that came within two seconds."""

    async def count(
        self, dataset: Dataset, seconds: float = 2.0, filters: tuple[Filter, ...] = ()
    ) -> int | None:
        """The exact number of rows, None if that takes longer than `seconds`."""

    async def open_reader(
        self,
        dataset: Dataset,
        columns: tuple[int, ...],
        cursor: bytes | None,
        chunk_rows: int,
        filters: tuple[Filter, ...] = (),
    ) -> "Reader":
        """Reads the columns at these positions, after `cursor` if there is one.

        SourceChanged if the dataset is no longer as described, or the cursor does not fit its key.
        """

    async def advise(
        self, dataset: Dataset, columns: tuple[int, ...], filters: tuple[Filter, ...] = ()
    ) -> tuple[str, ...]:
        """What would make a report of these columns faster: sentences, () if nothing is known.

        From the database's plan; nothing is executed.
        """


class Reader(Protocol):
    """One ordered read of a dataset. Only `interrupt` may be called while another verb runs."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of the result, in its order."""

    @property
    def identity(self) -> bytes:
        """Of the opened database, as opposed to another one at the same address.

        To be compared between readers while both are open: what replaces a closed file may get its identity.
        """

    async def read(self) -> Batch | None:
        """The next rows, at most `chunk_rows`, fewer where they are large or come slowly; None at the end.

        The rows before an error come first. After SourceUnreachable a read may be tried again.
        """

    def interrupt(self) -> None:
        """Stops a running read within milliseconds, from any thread: it and later ones raise
        SourceInterrupted."""

    async def changed(self) -> bool:
        """Whether anything in the source was changed since this reader was opened."""

    async def close(self) -> None:
        """Stops what runs and lets go of the database. May be called again."""


# PostgreSQL is one more entry.
SCHEMES: dict[str, Callable[[str, str], Source]] = {"sqlite": SqliteSource.from_url}


def open_source(name: str, address: str) -> Source:
    """The source at a path or URL (`sqlite:///data.db` is relative, `sqlite:////srv/data.db` absolute).

    Opens nothing yet. InvalidRequest if the address is of no known kind.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    if scheme is None and address:
        return SqliteSource(name, address)
    make = SCHEMES.get(scheme[1].lower()) if scheme else None
    if make is None:
        raise InvalidRequest(
            f"“{address}” is not an address of a database. Understood are the path of a SQLite file"
            f" and URLs that begin with {' or '.join(f'{known}://' for known in SCHEMES)}."
        )
    return make(name, address)
