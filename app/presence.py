"""Whether a server is the only one on its state, so that reports which somebody holds were left behind.

Known of a file only. Each server holds a lock of its own beside it, numbered from 0, as long as it lives; the
system lets go of the locks of a process that was killed. Two that start at once take each other for running,
and then wait for the leases, as servers on PostgreSQL do.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from app.database import Database


@contextmanager
def presence(database: Database) -> Iterator[bool]:
    """Makes this server known to others; True if there is no other one."""
    if database.dialect != "sqlite":
        yield False
        return
    own = _first_free(database.place)
    try:
        yield not any(map(_is_held, _others(database.place, Path(own.lock_file))))
    finally:
        own.release()


def _first_free(place: str) -> FileLock:
    for number in itertools.count():
        lock = FileLock(f"{place}.server-{number}.lock", mode=0o600, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            continue
        return lock
    raise AssertionError


def _others(place: str, own: Path) -> list[Path]:
    state = Path(place)
    # Not by a pattern: the name of the state may hold a `*`.
    return [
        each
        for each in state.absolute().parent.iterdir()
        if each.name.startswith(f"{state.name}.server-") and each.name != own.name
    ]


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, mode=0o600, blocking=False):
            return False
    except Timeout:
        return True
