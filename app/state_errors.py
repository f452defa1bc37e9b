"""Errors of the state database's drivers as sentences: the one seam."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from alembic.util import CommandError
from filelock import Timeout
from sqlalchemy import exc

from app.errors import StateFull, StateUnavailable

# Of a statement, so they keep their traceback; but when migrating, a missing permission is one of them.
_MISTAKES = (exc.IntegrityError, exc.ProgrammingError, exc.DataError)
_DRIVER_ERRORS = (
    exc.DBAPIError,
    exc.TimeoutError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
)
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}
_PG_FULL = "53100"


@contextmanager
def in_words(place: str, mistakes: tuple[type[Exception], ...] = _MISTAKES) -> Iterator[None]:
    """`place` is what people know the database by. Errors of the `mistakes` pass as they are."""
    try:
        yield
    except mistakes:
        raise
    except Timeout as error:
        raise StateUnavailable(f"Another process is still preparing the state database {place}.") from error
    except CommandError as error:
        raise StateUnavailable(f"A newer version of Rowfall wrote the state database {place}.") from error
    except _DRIVER_ERRORS as error:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        if _says_full(cause):
            raise StateFull(
                f"The disk of the state database {place} is full. Make some room on it; then reports can be "
                "asked for, and deleted, again."
            ) from error
        lines = str(cause).splitlines()
        reason = lines[0].rstrip(".") if lines else "it does not answer"
        raise StateUnavailable(f"The state database {place} cannot be used: {reason}.") from error


def _says_full(cause: object) -> bool:
    return getattr(cause, "sqlite_errorname", "") in _FULL or getattr(cause, "sqlstate", "") == _PG_FULL
