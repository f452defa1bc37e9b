"""One ordered read of a SQLite file, in a thread of its own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from app.errors import SourceChanged, SourceError, SourceInterrupted
from app.model import Batch, Column, Dataset, Filter
from app.source.sqlite_batches import KeysetBatches, StatementBatches
from app.source.sqlite_catalog import verify
from app.source.sqlite_connection import (
    Brake,
    SourceConnection,
    SqliteError,
    beside,
    error_code,
    is_busy,
    translate,
)
from app.source.sqlite_file import OpenFile, open_file

T = TypeVar("T")


class SqliteReader:
    """See `Reader`. A read is one hop to the thread: it fetches, encodes and comes back with a batch."""

    def __init__(
        self,
        path: Path,
        dataset: Dataset,
        columns: tuple[int, ...],
        filters: tuple[Filter, ...],
        timeout: float,
    ) -> None:
        self.columns: tuple[Column, ...] = tuple(dataset.columns[position] for position in columns)
        self._path, self._dataset, self._timeout = path, dataset, timeout
        self._positions, self._filters = columns, filters
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-reader")
        self._brake = Brake()
        self._connection: SourceConnection | None = None
        self._file: OpenFile | None = None
        self._batches: KeysetBatches | StatementBatches | None = None
        self._version: tuple[int, ...] = ()
        self._limit = 0  # rows a batch
        self._closing: asyncio.Future[None] | None = None

    @property
    def identity(self) -> bytes:
        assert self._file is not None
        return self._file.identity

    async def open(self, cursor: bytes | None, chunk_rows: int) -> None:
        self._limit = chunk_rows
        try:
            await self._run(lambda: self._open(cursor))
        except BaseException:
            await self.close()
            raise

    def _open(self, cursor: bytes | None) -> None:
        if self._connection is None:
            self._connection, self._file = open_file(self._path)
            self._brake.attach(self._connection)
        # One snapshot, so that the schema that is verified is the one whose version is kept.
        self._connection.execute("BEGIN")
        try:
            self._version = self._data_version()
            assert self._file is not None
            self._batches = self._verified(self._connection, self._file, cursor)
        finally:
            self._connection.rollback()

    def _verified(
        self, connection: SourceConnection, file: OpenFile, cursor: bytes | None
    ) -> KeysetBatches | StatementBatches:
        dataset, positions, filters = self._dataset, self._positions, self._filters
        key = verify(connection, dataset)
        if key is not None:
            return KeysetBatches(connection, file, dataset, key, positions, filters, cursor)
        if cursor is not None:
            raise SourceChanged(f"“{dataset.name}” has no key to continue by. Run it again.")
        return StatementBatches(connection, file, dataset, positions, filters)

    async def read(self) -> Batch | None:
        return await self._run(self._read)

    def _read(self) -> Batch | None:
        assert self._connection is not None
        assert self._file is not None
        assert self._batches is not None
        self._file.check()
        if self._connection.immutable and self._has_changed():
            raise SourceChanged(f"{self._path} changed while it was read without locks. Run it again.")
        batch = self._batches.next(self._limit)
        self._check_brake()
        return batch

    def interrupt(self) -> None:
        self._brake.pull()

    async def changed(self) -> bool:
        return await self._run(self._has_changed)

    def _has_changed(self) -> bool:
        return self._data_version() != self._version

    def _data_version(self) -> tuple[int, ...]:
        """Differs after a commit of anybody else."""
        assert self._connection is not None
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if not self._connection.immutable:
            return (version,)
        # SQLite does not look at an immutable file again.
        try:
            found = self._path.stat()
        except OSError:
            return (version,)
        return version, found.st_mtime_ns, found.st_size, beside(self._path, "-wal")

    async def close(self) -> None:
        if self._closing is None:
            self.interrupt()
            loop = asyncio.get_running_loop()
            self._closing = loop.run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        if self._batches is not None:
            self._batches.close()
        if self._connection is not None:
            self._connection.close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closing is not None:
            raise SourceInterrupted(f"Reading {self._path} was stopped.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._patiently, work)
        except asyncio.CancelledError:
            # The thread would go on by itself, and closing would wait for it.
            self.interrupt()
            raise

    def _patiently(self, work: Callable[[], T]) -> T:
        """Waits for a lock as SQLite's own busy handler does, but hears the brake while it waits."""
        until = time.monotonic() + self._timeout
        while True:
            self._check_brake()
            try:
                return work()
            except SqliteError as error:
                if not is_busy(error) or time.monotonic() > until:
                    raise self._explained(translate(error, self._path), error_code(error)) from error
                self._brake.pulled.wait(0.02)
            except SourceError as error:
                raise self._explained(error) from error.__cause__

    def _explained(self, error: SourceError, code: int = 0) -> SourceError:
        if self._file is None or isinstance(error, SourceInterrupted):
            return error
        return self._file.explained(error, code)

    def _check_brake(self) -> None:
        if self._brake.pulled.is_set():
            raise SourceInterrupted(f"Reading {self._path} was stopped.")
