"""The summaries of reports: brought forward from the spool for who looks, kept once they are complete.

A report that nobody looks at costs nothing. Of a report that several people look at, one task does the
work for all; it is no viewer's own, so that a viewer who leaves cannot break it off in the middle.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from cachetools import LRUCache
from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError

from app.codec import decode
from app.database import Database
from app.figures import Summary
from app.model import Chunk, Report
from app.schema import summary as summaries
from app.spool import Spool
from app.summary import SummaryBuilder

_REPORTS = 8  # kept in memory; one that is not complete takes up to 16 MB, a complete one a few KB
_BATCH = 4  # chunks in memory at a time, and about 15 ms of work between two looks at the clock

_STORED = select(summaries.c.payload).where(
    summaries.c.report == bindparam("of_report"), summaries.c.generation == bindparam("of_generation")
)


class Summaries:
    def __init__(self, database: Database, spool: Spool) -> None:
        self._database, self._spool = database, spool
        insert = database.insert(summaries)
        values = {name: insert.excluded[name] for name in ("generation", "payload")}
        self._insert = insert.on_conflict_do_update(index_elements=["report"], set_=values)
        self._works: LRUCache[str, _Work] = LRUCache(_REPORTS)

    async def of(self, report: Report, seconds: float) -> Summary:
        """The report's summary after about `seconds` of work, at most, on chunks that it lacks.

        Raises StateUnavailable.
        """
        work = self._works.get(report.id)
        if work is None or work.generation < report.generation:
            work = self._works[report.id] = _Work(report)
        if work.task is None or work.task.done():
            work.task = asyncio.create_task(self._forward(work, report, seconds))
        return await asyncio.shield(work.task)

    async def _forward(self, work: "_Work", report: Report, seconds: float) -> Summary:
        if work.builder is None:
            return work.summary
        if report.status.final and not work.summary.chunks:
            stored = await self._stored(report)
            if stored is not None:
                return work.end(stored)
        await self._read(work, work.builder, seconds)
        complete = work.generation == report.generation and work.summary.chunks == report.chunks
        if report.status.final and complete:
            await self._store(report, work.end(work.summary))
        return work.summary

    async def _read(self, work: "_Work", builder: SummaryBuilder, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        end, before = clock() + seconds, builder.chunks
        while True:  # one batch at least, so that a busy machine gets there, too
            chunks = await self._spool.read(work.report, work.generation, builder.chunks, _BATCH)
            await asyncio.to_thread(_add, builder, chunks)
            if len(chunks) < _BATCH or clock() >= end:
                break
        if builder.chunks > before:
            work.summary = await asyncio.to_thread(builder.summary)

    async def _stored(self, report: Report) -> Summary | None:
        values = {"of_report": report.id, "of_generation": report.generation}
        async with self._database.read() as connection:
            payload = (await connection.execute(_STORED, values)).scalar()
        with suppress(msgspec.DecodeError):  # another version wrote it: it is made and stored again
            return None if payload is None else Summary.from_bytes(payload)
        return None

    async def _store(self, report: Report, summary: Summary) -> None:
        values = {"report": report.id, "generation": summary.generation, "payload": summary.to_bytes()}
        with suppress(IntegrityError):  # the report was deleted meanwhile
            async with self._database.write() as connection:
                await connection.execute(self._insert, values)


class _Work:
    """What is known of one report."""

    def __init__(self, report: Report) -> None:
        self.report, self.generation = report.id, report.generation
        self.builder: SummaryBuilder | None = SummaryBuilder(report.generation, len(report.columns))
        self.summary = self.builder.summary()
        self.task: asyncio.Task[Summary] | None = None

    def end(self, summary: Summary) -> Summary:
        """Complete: the counted texts are let go."""
        self.builder, self.summary = None, summary
        return summary


def _add(builder: SummaryBuilder, chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        builder.add(decode(chunk.payload))
