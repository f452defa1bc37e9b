"""Wakes who waits for a report. A hint carries nothing and may be lost: the state database has the truth."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.waiting import pause

QUEUE = "queue"  # a report was queued
EXPORTS = "exports"  # a file was asked for
EXPIRED = "expired"  # a report was deleted, and its rows are to be removed
CHUNKS = "chunks:"  # begins each topic that viewers listen to


def chunks(report_id: str) -> str:
    """Topic: the report has a new chunk, total or status."""
    return CHUNKS + report_id


def cancellation(report_id: str) -> str:
    """Topic: somebody asked to cancel the report."""
    return f"cancellation:{report_id}"


class Hint:
    """One listener. Clear it before reading the state, so that what happens meanwhile wakes it again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Returns at the hint or after `seconds`, whichever is first."""
        await pause(max(0, seconds), self._event)


class Hints:
    """The hints within one process. `forward` takes those that this process gives to the other ones."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[Hint]] = defaultdict(set)
        self.forward: Callable[[str], None] | None = None

    def notify(self, topic: str) -> None:
        """Wakes who listens to the topic, in whatever process."""
        self.notify_here(topic)
        if self.forward is not None:
            self.forward(topic)

    def notify_here(self, topic: str) -> None:
        for hint in self._listeners.get(topic, ()):
            hint.set()

    def notify_all(self) -> None:
        """Wakes everyone in this process: it is stopping, or missed hints."""
        for topic in self.topics():
            self.notify_here(topic)

    def topics(self) -> set[str]:
        """What somebody in this process listens to."""
        return set(self._listeners)

    @contextmanager
    def listen(self, topic: str) -> Iterator[Hint]:
        hint = Hint()
        self._listeners[topic].add(hint)
        try:
            yield hint
        finally:
            self._listeners[topic].discard(hint)
            if not self._listeners[topic]:
                del self._listeners[topic]
