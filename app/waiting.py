"""Waiting that ends early when somebody asks to stop."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

from app.errors import SourceInterrupted

T = TypeVar("T")


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
