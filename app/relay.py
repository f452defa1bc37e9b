"""Carries hints between the servers that share a state database.

PostgreSQL has notifications, which name the topic. SQLite has none, but tells whether another process has
written: then everyone who listens looks for himself.
"""

import asyncio
import logging

from app import hints
from app.database import Database
from app.errors import RowfallError
from app.hints import Hint, Hints
from app.waiting import pause

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1  # SQLite
_CALM_SECONDS = 1.0  # SQLite: between hints to those who write when woken
_TEST_SECONDS = 10  # PostgreSQL: a line that is silent may be dead
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before another try
_UNHURRIED = {hints.QUEUE, hints.EXPIRED, hints.EXPORTS}  # who listens to these looks by himself in time
_LAST_SECONDS = 1.0  # for the last hints of a server that stops


class Relay:
    def __init__(self, database: Database, hints: Hints) -> None:
        self._database = database
        self._hints = hints
        self._topics: set[str] = set()  # to be sent; one that is sent often stands here once
        self._due = Hint()
        self._stopping = asyncio.Event()
        self._missed = False  # hints of other servers may have been lost

    async def serve(self) -> None:
        """Until `stop`. Hints that cannot be carried are dropped: everyone looks once a second anyway."""
        relaying = asyncio.create_task(self._relay())
        try:
            await self._stopping.wait()
            await asyncio.wait([relaying], timeout=_LAST_SECONDS)
        finally:
            relaying.cancel()
            await asyncio.wait([relaying])

    def stop(self) -> None:
        """`serve` then ends within a second, after the hints that are due."""
        self._stopping.set()
        self._due.set()

    async def _relay(self) -> None:
        carry = self._look if self._database.dialect == "sqlite" else self._exchange
        loop = asyncio.get_running_loop()
        seconds = _FIRST_PAUSE
        while not self._stopping.is_set():
            start = loop.time()
            try:
                await carry()
            except Exception as error:
                self._tell_lost(error)
                seconds = _FIRST_PAUSE if loop.time() - start > 2 * _LONGEST_PAUSE else seconds
                await pause(seconds, self._stopping)
                seconds = min(2 * seconds, _LONGEST_PAUSE)

    async def _exchange(self) -> None:
        """PostgreSQL: until `stop`; raises when the line is lost."""
        async with self._database.notifications(self._hints.notify_here, self._due.set) as send:
            self._tell_regained()
            self._hints.forward = self._forward
            try:
                while self._topics or not self._stopping.is_set():
                    await self._due.wait(_TEST_SECONDS)
                    self._due.clear()
                    topics, self._topics = self._topics, set()
                    await send(topics)
            finally:
                self._hints.forward = None
                self._topics.clear()

    def _forward(self, topic: str) -> None:
        self._topics.add(topic)
        self._due.set()

    async def _look(self) -> None:
        """SQLite: until `stop`; raises when the file cannot be read."""
        now = asyncio.get_running_loop().time
        seen = await self._database.data_version()
        self._tell_regained()
        owed, told_at = False, now()
        while not self._stopping.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
            if self._hints.topics() <= _UNHURRIED:
                continue
            version = await self._database.data_version()
            if version != seen:
                seen, owed = version, True
                self._wake(viewers=True)
            if owed and now() - told_at >= _CALM_SECONDS:
                owed, told_at = False, now()
                self._wake(viewers=False)

    def _wake(self, *, viewers: bool) -> None:
        """Viewers only read. Workers and runners write, so two servers would wake each other without end."""
        for topic in self._hints.topics() - {hints.EXPIRED}:
            if topic.startswith(hints.CHUNKS) is viewers:
                self._hints.notify_here(topic)

    def _tell_lost(self, error: Exception) -> None:
        if not self._missed:
            unexpected = None if isinstance(error, RowfallError) else error
            log.warning("hints of other servers do not arrive for now: %s", error, exc_info=unexpected)
        self._missed = True

    def _tell_regained(self) -> None:
        if self._missed:
            log.info("hints of other servers arrive again")
            self._hints.notify_all()
        self._missed = False
