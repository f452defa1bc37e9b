"""Waiting for a database that is away for a while, as long as nobody asks to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TypeVar

from app.database import StateUnavailable
from app.errors import SourceInterrupted, SpoolFull

T = TypeVar("T")

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5


async def patiently(work: Callable[[], Awaitable[T]], stopped: asyncio.Event, *, for_room: bool = False) -> T:
    """Does `work` again while the state database does not answer. Raises StateUnavailable once `stopped`.

    A full disk is waited for only if asked for (`for_room`), else SpoolFull is raised at once. Whoever waits
    here may lose the lease meanwhile, which the work itself then finds out.
    """
    told = False
    while True:
        try:
            return await work()
        except StateUnavailable as error:
            if stopped.is_set() or (isinstance(error, SpoolFull) and not for_room):
                raise
            if not told:
                log.warning("waiting for the state database: %s", error)
            told = True
        await pause(_RETRY_SECONDS, stopped)


async def pause(seconds: float, stopped: asyncio.Event) -> None:
    """Waits so long, or until `stopped`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()


async def unless_stopped(work: Coroutine[object, object, T], stopped: asyncio.Event) -> T:
    """The outcome of `work`, which is cancelled once `stopped`: then raises SourceInterrupted."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        task.cancel()  # of no effect if it is done
    with suppress(asyncio.CancelledError):
        return await task
    raise SourceInterrupted("Reading was stopped.")
