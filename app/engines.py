"""The engines of the state database: how SQLite and PostgreSQL are connected to."""

import functools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

Connect = Callable[[], Awaitable[asyncpg.Connection]]

_BUSY_SECONDS = 10  # how long a statement waits for another process that writes to the same SQLite file
_CONNECT_SECONDS = 10
_HANG_SECONDS = 5  # less than a lease
_LOG_BYTES = 8 * 2**20  # the write-ahead log is cut to this when it starts anew

_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}",
    "PRAGMA auto_vacuum = INCREMENTAL",  # has an effect only before the first table
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    # Some builds overwrite what is deleted: 540 ms and not 11 ms for a report of a million rows, and as much
    # again in the write-ahead log. Retention gives the pages back to the disk instead.
    "PRAGMA secure_delete = FAST",
    f"PRAGMA journal_size_limit = {_LOG_BYTES}",
)

# Strict JSON: Python would write NaN, which SQLite keeps and PostgreSQL refuses.
_strict_json = functools.partial(json.dumps, allow_nan=False)


def sqlite_engine(path: Path, *, writes: bool = False) -> AsyncEngine:
    # The driver's own transactions are off: the writer begins its own, a reader needs none.
    url = URL.create("sqlite+aiosqlite", database=str(path))
    pool: dict[str, Any] = (
        {"pool_size": 1, "max_overflow": 0} if writes else {"skip_autocommit_rollback": True}
    )
    driver = {"isolation_level": None}
    engine = create_async_engine(url, connect_args=driver, json_serializer=_strict_json, **pool)
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    if writes:
        event.listen(engine.sync_engine, "begin", _begin_immediate)
        event.listen(engine.sync_engine, "invalidate", _roll_back)
    return engine


def _set_pragmas(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    # Takes the write lock at once: a transaction that began as a reader fails, and does not wait, when
    # another process wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _roll_back(connection: Any, record: object, exception: object) -> None:
    # SQLAlchemy closes the connection of a cancelled task. With a RETURNING not read to its end SQLite would
    # keep it, and the write lock, until the cursor is collected: then every write fails as busy.
    connection.rollback()


def postgresql_engine(connect: Connect, **options: Any) -> AsyncEngine:
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, json_serializer=_strict_json, **options
    )


def postgresql_connect(url: str) -> Connect:
    async def connect() -> asyncpg.Connection:
        # asyncpg reads the address itself, because it knows libpq's parameters (sslmode, several hosts ...).
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        # Or a server that hangs in a write would keep its report locked, and nobody could go on.
        try:
            await connection.execute(f"SET idle_in_transaction_session_timeout = {_HANG_SECONDS * 1000}")
        except BaseException:  # a cancelled task, above all
            connection.terminate()
            raise
        return connection

    return connect
