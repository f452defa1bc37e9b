"""A SQLite file as a source."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from app.codec import ChunkEncoder, decode
from app.errors import InvalidRequest, SourceUnreachable
from app.model import Dataset, Filter, Row, Skipped
from app.source import sqlite_advice, sqlite_catalog
from app.source.sqlite_connection import TOLERANT, Brake, connect, is_busy, is_interrupt, translated
from app.source.sqlite_reader import SqliteReader
from app.source.sqlite_statement import all_rows, count

T = TypeVar("T")

PREVIEW_SECONDS = 2.0


class SqliteSource:
    """See `Source`. `timeout`: seconds to wait for another program's lock."""

    def __init__(self, name: str, path: str | Path, timeout: float = 5.0) -> None:
        self.name = name
        self._path = Path(path)
        self._timeout = timeout

    @classmethod
    def from_url(cls, name: str, url: str) -> "SqliteSource":
        """`sqlite:///data.db`, or `sqlite:////srv/data.db` for an absolute path; taken literally."""
        path = url.partition("://")[2]
        if not path.startswith("/") or path == "/":
            raise InvalidRequest(f"“{url}” names no file: write sqlite:///data.db or sqlite:////srv/data.db.")
        return cls(name, path[1:])

    async def discover(self) -> tuple[list[Dataset], list[Skipped]]:
        return await self._ask(lambda connection: sqlite_catalog.discover(connection, self.name))

    async def describe_query(self, name: str, sql: str) -> Dataset:
        columns = await self._ask(lambda connection: sqlite_catalog.query_columns(connection, sql))
        return Dataset(f"{self.name}.{name}", self.name, name, "query", columns, sql=sql)

    async def preview(self, dataset: Dataset, limit: int = 8, filters: tuple[Filter, ...] = ()) -> list[Row]:
        return await self._ask(
            lambda connection: _first(connection, dataset, limit, filters), PREVIEW_SECONDS
        )

    async def count(
        self, dataset: Dataset, seconds: float = 2.0, filters: tuple[Filter, ...] = ()
    ) -> int | None:
        """Also None while another program's lock lasts longer."""
        try:
            return await self._ask(lambda connection: _count(connection, dataset, filters), seconds)
        except SourceUnreachable as error:
            if isinstance(error.__cause__, sqlite3.Error) and is_busy(error.__cause__):
                return None
            raise

    async def open_reader(
        self,
        dataset: Dataset,
        columns: tuple[int, ...],
        cursor: bytes | None,
        chunk_rows: int,
        filters: tuple[Filter, ...] = (),
    ) -> SqliteReader:
        _require_columns(dataset, columns)
        reader = SqliteReader(self._path, dataset, columns, filters, self._timeout)
        await reader.open(cursor, chunk_rows)
        return reader

    async def advise(
        self, dataset: Dataset, columns: tuple[int, ...], filters: tuple[Filter, ...] = ()
    ) -> tuple[str, ...]:
        _require_columns(dataset, columns)
        return await self._ask(lambda connection: sqlite_advice.advise(connection, dataset, columns, filters))

    async def _ask(self, question: Callable[[sqlite3.Connection], T], seconds: float | None = None) -> T:
        """The answer from a connection of its own; past `seconds` the question's statement is stopped."""
        brake = Brake()
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, brake.pull)
        try:
            return await asyncio.to_thread(self._answer, question, brake, seconds)
        finally:
            brake.pull()  # a cancelled caller would leave the thread busy
            if timer is not None:
                timer.cancel()

    def _answer(self, question: Callable[[sqlite3.Connection], T], brake: Brake, seconds: float | None) -> T:
        patience = self._timeout if seconds is None else min(seconds, self._timeout)
        with translated(self._path), closing(connect(self._path, patience)) as connection:
            brake.attach(connection)
            return question(connection)


def _require_columns(dataset: Dataset, columns: tuple[int, ...]) -> None:
    if not columns or not all(0 <= position < len(dataset.columns) for position in columns):
        raise InvalidRequest(f"Choose at least one column, and only such that “{dataset.name}” has.")


def _first(
    connection: sqlite3.Connection, dataset: Dataset, limit: int, filters: tuple[Filter, ...]
) -> list[Row]:
    encoder = ChunkEncoder()
    try:
        key = sqlite_catalog.verify(connection, dataset)
        connection.text_factory = TOLERANT
        columns = tuple(range(len(dataset.columns)))
        with closing(connection.execute(*all_rows(dataset, key, columns, filters))) as rows:
            for row in rows:
                encoder.add(row)
                if encoder.rows >= limit:
                    break
    except sqlite3.OperationalError as error:
        if not is_interrupt(error):
            raise
    return decode(encoder.finish())


def _count(connection: sqlite3.Connection, dataset: Dataset, filters: tuple[Filter, ...]) -> int | None:
    if dataset.sql is not None:
        sqlite_catalog.create_query_view(connection, dataset.sql)
    elif filters:
        sqlite_catalog.verify(connection, dataset)  # they go by position
    try:
        total: int = connection.execute(*count(dataset, filters)).fetchone()[0]
    except sqlite3.OperationalError as error:
        if is_interrupt(error):
            return None
        raise
    return total
