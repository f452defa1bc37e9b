"""Writing to a state database that may be away for a while: restarted, or locked by a backup."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.database import StateUnavailable

T = TypeVar("T")

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5


async def patiently(work: Callable[[], Awaitable[T]], stopped: asyncio.Event) -> T:
    """Does `work` again while the state database does not answer. Raises StateUnavailable once `stopped`.

    Whoever waits here may lose the lease meanwhile, which the work itself then finds out.
    """
    told = False
    while True:
        try:
            return await work()
        except StateUnavailable as error:
            if stopped.is_set():
                raise
            if not told:
                log.warning("waiting for the state database: %s", error)
            told = True
        try:
            async with asyncio.timeout(_RETRY_SECONDS):
                await stopped.wait()
        except TimeoutError:
            pass
