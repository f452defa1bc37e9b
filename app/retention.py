"""Retention: reports past their time are removed, and the disk has their space back.

Nobody waits for it. Such a report is hidden at once (`report_row.THERE`); its chunks go some at a time, and
after each step as long is left to those who write, so that a runner waits for one step at most. Several
servers may do this at once: what one has removed the other does not find.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy import and_, bindparam, delete, func, select

from app import hints
from app.database import Database, now
from app.errors import StateUnavailable
from app.export_store import ExportStore
from app.hints import Hints
from app.report_row import FINAL
from app.schema import chunk, report
from app.sessions import Sessions

log = logging.getLogger(__name__)

_EVERY_SECONDS = 300.0
_FILE_SECONDS = 86_400.0  # files of reports are kept for a day; they can be made again
_AGAIN_SECONDS = 10.0  # after a sweep that failed

# A step on SQLite takes 1 ms, or 30 ms where it writes the log back to the file, as an append does.
_CHUNKS, _BYTES = 64, 4 * 2**20
_PAGES = 250

_past = and_(FINAL, report.c.expires_at <= now())
_EXPIRED = select(report.c.id).where(_past).order_by(report.c.expires_at)
_of_report = chunk.c.report == bindparam("of_report")
_FIRST_CHUNKS = (
    select(chunk.c.generation, chunk.c.number, func.length(chunk.c.payload))
    .where(_of_report)
    .order_by(chunk.c.generation, chunk.c.number)
    .limit(_CHUNKS)
)
_DELETE_CHUNKS = delete(chunk).where(
    _of_report, chunk.c.generation == bindparam("of_generation"), chunk.c.number <= bindparam("last")
)
_DELETE_REPORT = delete(report).where(report.c.id == bindparam("of_report"), _past)


class Retention:
    def __init__(self, database: Database, sessions: Sessions, exports: ExportStore, wake: Hints) -> None:
        self._database, self._sessions, self._exports, self._hints = database, sessions, exports, wake
        self._stopping = asyncio.Event()
        self._failed = False

    async def serve(self) -> None:
        """Until `stop`: at once, every few minutes, and when somebody deleted a report."""
        with self._hints.listen(hints.EXPIRED) as hint:
            while not self._stopping.is_set():
                hint.clear()
                await self._try_to_sweep()
                await hint.wait(_AGAIN_SECONDS if self._failed else _EVERY_SECONDS)

    def stop(self) -> None:
        """`serve` ends after the step that is under way; the next start goes on."""
        self._stopping.set()
        self._hints.notify(hints.EXPIRED)

    async def _try_to_sweep(self) -> None:
        try:
            await self.sweep()
        except Exception as error:
            if not self._failed:
                unexpected = None if isinstance(error, StateUnavailable) else error
                log.warning("removing old reports failed; trying again: %s", error, exc_info=unexpected)
            self._failed = True
        else:
            self._failed = False

    async def sweep(self) -> None:
        """Removes all that is past its time. Raises StateUnavailable."""
        await self._sessions.sweep()
        await self._exports.forget(_FILE_SECONDS)
        async with self._database.read() as connection:
            expired = list((await connection.execute(_EXPIRED)).scalars())
        for report_id in expired:
            await self._remove(report_id)
        await self._give_back()

    async def _remove(self, report_id: str) -> None:
        while await self._step(partial(self._remove_chunks, report_id)):
            if self._stopping.is_set():
                return
        # Last, and its summary with it: until then another sweep finds it.
        async with self._database.write() as connection:
            await connection.execute(_DELETE_REPORT, {"of_report": report_id})
        log.info("report %s was removed", report_id)

    async def _remove_chunks(self, report_id: str) -> bool:
        """The first ones, of any generation; False if there are none."""
        async with self._database.read() as connection:
            found = (await connection.execute(_FIRST_CHUNKS, {"of_report": report_id})).all()
        if not found:
            return False
        generation, last, size = found[0]
        for each, number, more in found[1:]:
            size += more
            if each != generation or size > _BYTES:
                break
            last = number
        values = {"of_report": report_id, "of_generation": generation, "last": last}
        async with self._database.write() as connection:
            await connection.execute(_DELETE_CHUNKS, values)
        return True

    async def _give_back(self) -> None:
        gave = False
        while not self._stopping.is_set() and await self._step(self._give_back_some):
            gave = True
        if gave:
            await self._database.shrink()

    async def _give_back_some(self) -> bool:
        return await self._database.give_back(_PAGES) > 0

    async def _step(self, work: Callable[[], Awaitable[bool]]) -> bool:
        now = asyncio.get_running_loop().time
        start = now()
        done = await work()
        await asyncio.sleep(now() - start)
        return done
