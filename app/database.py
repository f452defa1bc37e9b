"""The state database: one code path over SQLite and PostgreSQL.

A database has a reading and a writing engine. Reads run without a transaction (each statement sees what
was committed before it), which saves them two or three round trips. Writes are transactions; on SQLite,
which has one writer at a time, they queue in the process: waiting in SQLite's busy handler instead costs
p99 234 ms against 26 ms with five reports running.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from filelock import AsyncFileLock
from sqlalchemy import Connection, Double, Table, exc, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

from app import migrations
from app.engines import Connect, postgresql_connect, postgresql_engine, sqlite_engine
from app.errors import StateUnavailable
from app.notifications import Send, line
from app.state_errors import in_words

_MIGRATION_SECONDS = 60
_MIGRATION_LOCK = 0x526F7766616C6C  # "Rowfall": the key of PostgreSQL's advisory lock


class now(FunctionElement[float]):  # noqa: N801 - it reads as the SQL function it is
    """The database's clock in seconds since 1970. A node's own clock may be an hour off."""

    type = Double()
    inherit_cache = True
    name = "now"


@compiles(now, "sqlite")
def _sqlite_now(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp: the time of the statement. PostgreSQL's own now() is that of the transaction's start.
    return "(extract(epoch from clock_timestamp())::double precision)"


class Database:
    """Opened by `await Database.open(...)`, used by `read()` and `write()`, closed by `close()`."""

    def __init__(
        self,
        place: str,
        reader: AsyncEngine,
        writer: AsyncEngine,
        turn: AbstractAsyncContextManager[object],
        connect: Connect | None = None,
    ) -> None:
        self.place = place  # for people: a path, or an address without its password
        self._reader, self._writer, self._turn = reader, writer, turn
        self._connect = connect

    @classmethod
    async def open(cls, url_or_path: str) -> Self:
        """`url_or_path` is a path, `sqlite:///path` or `postgresql://...`."""
        if url_or_path.startswith(("postgresql:", "postgres:")):
            return await cls._open_postgresql(url_or_path)
        path = url_or_path.removeprefix("sqlite:///")
        if not path or "://" in path or path == ":memory:":
            raise StateUnavailable(
                "The state database must be a file's path, sqlite:///path or a postgresql:// address."
            )
        return await cls._open_sqlite(Path(path))

    @classmethod
    async def _open_sqlite(cls, path: Path) -> Self:
        _create_file(path)
        database = cls(str(path), sqlite_engine(path), sqlite_engine(path, writes=True), asyncio.Lock())
        lock = AsyncFileLock(f"{path}.migration.lock", mode=0o600, timeout=_MIGRATION_SECONDS)
        async with database._opening(), lock:
            await database._migrate()
            # Stays with the file, so it is set once, and only in a file that has proved to be ours.
            async with database._reader.connect() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        return database

    @classmethod
    async def _open_postgresql(cls, url: str) -> Self:
        connect = postgresql_connect(url)
        reader, writer = postgresql_engine(connect, isolation_level="AUTOCOMMIT"), postgresql_engine(connect)
        database = cls(_public(url), reader, writer, nullcontext(), connect)
        async with database._opening():
            await database._migrate()
        return database

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator[None]:
        try:
            with in_words(self.place, mistakes=()):
                yield
        except BaseException:
            await self.close()
            raise

    async def _migrate(self) -> None:
        async with self._writer.begin() as connection:
            if self.dialect == "postgresql":  # held until the commit
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            await connection.run_sync(self._upgrade)

    def _upgrade(self, connection: Connection) -> None:
        if tables := migrations.tables_of_others(connection):
            raise StateUnavailable(
                f"{self.place} holds the table {min(tables)}, which Rowfall did not make. "
                "Choose another place for the state database."
            )
        migrations.upgrade(connection)

    @property
    def dialect(self) -> str:
        return self._writer.dialect.name

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that has `on_conflict_do_nothing`."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for SELECTs; two of them may see different states."""
        with in_words(self.place):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back by an exception."""
        with in_words(self.place):
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def give_back(self, pages: int) -> int:
        """SQLite: takes up to so many unused pages out of the file, and tells how many there were.

        PostgreSQL uses its own again by itself: 0.
        """
        if self.dialect != "sqlite":
            return 0
        with in_words(self.place):
            async with self._turn, self._writer.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                ((unused,),) = await driver.execute_fetchall("PRAGMA freelist_count")
                if unused:  # `execute` would free one page only
                    await driver.executescript(f"PRAGMA incremental_vacuum({pages})")
        return int(unused)

    async def shrink(self) -> None:
        """SQLite: the file becomes as small as its pages are, unless somebody reads now. Blocks nobody."""
        if self.dialect == "sqlite":
            async with self.read() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    async def data_version(self) -> int:
        """SQLite: a number that a commit of another process changes, and one of this process does not."""
        with in_words(self.place):
            # Of the connection that writes, for SQLite leaves out the commits of the connection that asks.
            async with self._turn, self._writer.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                ((version,),) = await driver.execute_fetchall("PRAGMA data_version")
        return int(version)

    @asynccontextmanager
    async def notifications(
        self, heard: Callable[[str], None], lost: Callable[[], None]
    ) -> AsyncIterator[Send]:
        """PostgreSQL: the line to the other processes, as `notifications.line` describes it."""
        assert self._connect is not None
        with in_words(self.place):
            async with line(self._connect, heard, lost) as send:
                yield send

    async def close(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()


def _create_file(path: Path) -> None:
    """Creates the file for its owner only; SQLite gives the files beside it the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except FileNotFoundError as error:
        raise StateUnavailable(
            f"The directory of the state database {path} does not exist. Create it, or choose another place."
        ) from error
    except OSError as error:
        raise StateUnavailable(f"The state database {path} cannot be opened: {error.strerror}.") from error


def _public(url: str) -> str:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise StateUnavailable("The address of the state database cannot be understood.") from error
    return f"postgresql://{parsed.host or ''}/{parsed.database or ''}"
