"""The file that a reader has open: whether it is still the one at its path, and still whole.

None of this opens the file: closing it again would drop the locks that this process's other connections
hold on it (POSIX locks belong to the process).
"""

import os
import sqlite3
from pathlib import Path

from app.errors import SourceChanged, SourceCorrupt, SourceError, SourceUnreachable
from app.source.sqlite_connection import SourceConnection, connect


def open_file(path: Path) -> tuple[SourceConnection, "OpenFile"]:
    """A connection that waits for no lock, and the file it is of. sqlite3.Error, or SourceUnreachable."""
    before = _there(path)
    connection = connect(path, timeout=0)
    try:
        file = OpenFile(path)
        if file.identity != before:
            raise SourceUnreachable(f"{path} was replaced just while it was opened. Try again.")
    except SourceUnreachable:
        connection.close()
        raise
    return connection, file


def _there(path: Path) -> bytes:
    try:
        return _identity(path.stat())
    except OSError:
        return b""  # opening it says why


class OpenFile:
    """An open file can be read on after it was moved, deleted or replaced, so somebody has to look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = self._look()
        self.identity = _identity(found)
        self._size = found.st_size  # bytes, at its largest
        self._spoiled: SourceError | None = None
        self._mark: tuple[int, int | None] = (0, None)  # bytes; when it was written, None if that may change

    def check(self) -> None:
        """SourceUnreachable if it is gone (it may come back), SourceChanged if it was replaced."""
        if self._spoiled is not None:
            raise self._spoiled
        found = self._look()
        if _identity(found) != self.identity:
            raise SourceChanged(
                f"{self._path} was replaced by another file while it was read. The rows so far are of the"
                " old one. Run it again."
            )
        self._size = max(self._size, found.st_size)

    def explained(self, error: SourceError, code: int = 0) -> SourceError:
        """What lies behind an error of a read (`code`: SQLite's) if the file tells, else the error itself."""
        try:
            self.check()
            size = self._look().st_size
        except SourceError as reason:
            return reason
        # A smaller file alone is no fault: its owner may have dropped a table and vacuumed.
        if size < self._size and (size == 0 or isinstance(error, SourceCorrupt)):
            return self._truncated(size)
        if code == sqlite3.SQLITE_NOTADB:
            return SourceCorrupt(
                f"{self._path} is no SQLite database any more: it was overwritten while it was read."
                " Restore it from a backup, then run it again."
            )
        return error

    def begin(self, connection: sqlite3.Connection) -> None:
        """To be called when a read transaction has begun."""
        found = self._look()
        # Its lock keeps others from writing, but for what they bring from the WAL to its place in the file.
        # Windows may tell the time of an earlier write late.
        wal = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        self._mark = (found.st_size, None if wal or os.name == "nt" else found.st_mtime_ns)

    def require_unspoiled(self) -> None:
        """To be called before what was read in the transaction is used.

        SourceCorrupt or SourceChanged if the file was written to without regard to the lock: SQLite takes
        what it finds for rows, and zeros past the end.
        """
        try:
            found = self._path.stat()
        except OSError:
            return  # the next check tells
        size, written = self._mark
        if _identity(found) != self.identity:
            return
        if found.st_size < size:
            self._spoiled = self._truncated(found.st_size)
        elif written not in (None, found.st_mtime_ns):
            self._spoiled = SourceChanged(
                f"{self._path} was overwritten while it was read, without regard to SQLite's locks. The rows"
                " so far were read before. Run it again."
            )
        if self._spoiled is not None:
            raise self._spoiled

    def _truncated(self, size: int) -> SourceCorrupt:
        return SourceCorrupt(
            f"{self._path} was truncated while it was read: {size:,} of {self._size:,} bytes are left. The"
            " rows so far were read before. Restore it from a backup, then run it again."
        )

    def _look(self) -> os.stat_result:
        try:
            return self._path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceUnreachable(
                f"{self._path} is not where it was: it was moved or deleted while it was read. Put it back,"
                " then try again."
            ) from error
        except OSError as error:
            raise SourceUnreachable(f"{self._path} cannot be reached any more: {error.strerror}.") from error


def _identity(found: os.stat_result) -> bytes:
    return f"{found.st_dev}:{found.st_ino}".encode()
