"""Writing to a state database that may be away for a while: restarted, or locked by a backup."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import SpoolFull, StateUnavailable
from app.waiting import pause

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
