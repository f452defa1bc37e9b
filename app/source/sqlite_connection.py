"""Opening a SQLite file for reading only, stopping what runs on it, its errors as sentences."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from operator import methodcaller
from pathlib import Path

from app.errors import SourceCorrupt, SourceError, SourceInterrupted, SourceQueryFailed, SourceUnreachable

# Text that is not UTF-8 arrives with surrogate escapes instead of failing the whole fetch. The default
# factory, `str`, takes 0.5 ms less for 1,000 rows.
TOLERANT = methodcaller("decode", "utf-8", "surrogateescape")

# Steps of SQLite's machine between two looks at the brake: about 2 ms.
_STEPS = 200_000


class SourceConnection(sqlite3.Connection):
    """A read-only connection; `immutable` if SQLite was told that nobody changes the file."""

    immutable = False


def connect(path: Path, timeout: float) -> SourceConnection:
    """Waits up to `timeout` seconds for a lock. Raises sqlite3.Error, or SourceUnreachable."""
    _check_file(path)
    try:
        return _open(path, "mode=ro", timeout)
    except sqlite3.Error as error:
        if not _is_resting_wal(path, error):
            raise
    connection = _open(path, "mode=ro&immutable=1", timeout)
    connection.immutable = True
    return connection


def _check_file(path: Path) -> None:
    """What SQLite calls "unable to open database file" in all cases, told apart.

    Never by opening the file: closing it again would drop the locks that this process's other
    connections hold on it (POSIX locks belong to the process).
    """
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise SourceUnreachable(f"Rowfall may not look into the folder of {path}.") from error
    except OSError as error:
        raise SourceUnreachable(f"There is no file {path}.") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "something else than a file"
        raise SourceUnreachable(f"{path} is {what}, not a SQLite database.")
    if not _may(path, os.R_OK):
        raise SourceUnreachable(f"Rowfall may not read {path}: its permissions forbid it.")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _open(path: Path, options: str, timeout: float) -> SourceConnection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=SourceConnection,
    )
    try:
        connection.execute("PRAGMA query_only = 1")
        # A file that is truncated while it is mapped into memory would kill the process (SIGBUS).
        connection.execute("PRAGMA mmap_size = 0")
        # SQLite opens the file at the first read only.
        with closing(connection.execute("SELECT 1 FROM sqlite_schema")) as rows:
            rows.fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_resting_wal(path: Path, error: sqlite3.Error) -> bool:
    """Whether the file is unreadable only because its WAL index cannot be made in a read-only folder.

    With changes in a WAL or a journal beside it, the file alone is not the database.
    """
    codes = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY, sqlite3.SQLITE_READONLY_CANTINIT)
    return (
        error_code(error) in codes
        and not _may(path.absolute().parent, os.W_OK)
        and beside(path, "-wal") == beside(path, "-journal") == 0
    )


def beside(path: Path, suffix: str) -> int:
    """The size of SQLite's companion file in bytes, 0 if there is none."""
    try:
        return Path(f"{path}{suffix}").stat().st_size
    except OSError:
        return 0


class Brake:
    """Stops what runs on a connection, now and later, from any thread."""

    def __init__(self) -> None:
        self.pulled = threading.Event()
        self._connection: sqlite3.Connection | None = None

    def attach(self, connection: sqlite3.Connection) -> None:
        # SQLite forgets an interruption that comes just before a statement starts, so it also asks.
        connection.set_progress_handler(self.pulled.is_set, _STEPS)
        self._connection = connection

    def pull(self) -> None:
        self.pulled.set()
        if self._connection is not None:
            with suppress(sqlite3.ProgrammingError):  # closed meanwhile
                self._connection.interrupt()


def error_code(error: Exception) -> int:
    """SQLite's extended result code, 0 for an error of the driver itself."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def is_busy(error: Exception) -> bool:
    return error_code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_interrupt(error: Exception) -> bool:
    return error_code(error) == sqlite3.SQLITE_INTERRUPT


def is_undecodable(error: Exception) -> bool:
    return error_code(error) == 0 and str(error).startswith("Could not decode to UTF-8")


_DAMAGED = "{path} is damaged: {message}. Restore it from a backup, or try sqlite3's .recover."
_UNREADABLE = "{path} could not be read: {message}."
_UNFINISHED = (
    "{path} was left in the middle of a change, which a reader may not finish."
    " Open it once with the program it belongs to."
)
_WAL = (
    "{path} cannot be read where it is: it has changes in its -wal file, or needs one, and its folder"
    " may not be written. Close it with the program it belongs to, or copy it with its -wal file."
)

# By extended code first, then by its last byte.
_MEANINGS: dict[int, tuple[type[SourceError], str]] = {
    sqlite3.SQLITE_NOTADB: (SourceCorrupt, "{path} is not a SQLite database, or it is encrypted."),
    sqlite3.SQLITE_CORRUPT: (SourceCorrupt, _DAMAGED),
    sqlite3.SQLITE_BUSY: (SourceUnreachable, "{path} is locked by another program."),
    sqlite3.SQLITE_LOCKED: (SourceUnreachable, "{path} is locked by another program."),
    sqlite3.SQLITE_INTERRUPT: (SourceInterrupted, "Reading {path} was stopped."),
    sqlite3.SQLITE_READONLY: (SourceUnreachable, _WAL),
    sqlite3.SQLITE_READONLY_ROLLBACK: (SourceUnreachable, _UNFINISHED),
    sqlite3.SQLITE_CANTOPEN: (SourceUnreachable, _UNREADABLE),
    sqlite3.SQLITE_PERM: (SourceUnreachable, _UNREADABLE),
    sqlite3.SQLITE_IOERR: (SourceUnreachable, _UNREADABLE),
}


# The driver fails to decode SQLite's message where it quotes a name that is not UTF-8.
SqliteError = (sqlite3.Error, UnicodeDecodeError)


def message(error: sqlite3.Error | UnicodeDecodeError) -> str:
    """What SQLite says."""
    return error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)


def translate(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> SourceError:
    code = error_code(error)
    if code == sqlite3.SQLITE_CANTOPEN and beside(path, "-wal"):
        return SourceUnreachable(_WAL.format(path=path))
    otherwise = (SourceQueryFailed, "SQLite could not answer from {path}: {message}.")
    kind, sentence = _MEANINGS.get(code) or _MEANINGS.get(code & 0xFF, otherwise)
    return kind(sentence.format(path=path, message=message(error)))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The one seam where errors of SQLite become sentences that name the file."""
    try:
        yield
    except SqliteError as error:
        raise translate(error, path) from error
