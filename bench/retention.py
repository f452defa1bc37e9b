"""What a runner notices of a sweep: appends to a SQLite state while a report of a million rows is removed.

The two sides take turns: as many appends with nothing beside them as with the sweep.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from app.database import Database
from app.export_store import ExportStore
from app.hints import Hints
from app.leases import Leases
from app.model import Chunk, Lease, Spec, Status
from app.report_store import ReportStore
from app.retention import Retention
from app.sessions import Sessions
from app.spool import Spool

_PAYLOAD = 60_000  # bytes of 1,000 rows and 10 columns, compressed
_PAUSE = 0.003  # seconds that a runner takes to read and encode the next chunk


class Bench:
    def __init__(self, database: Database) -> None:
        self._store, self._spool, self._leases = ReportStore(database), Spool(database), Leases(database)
        self._made = 0

    async def start(self) -> Lease:
        self._made += 1
        await self._store.create(f"report-{self._made}", "ann", 9, "s.t", Spec((0,)), ())
        report = await self._leases.claim("bench", 1_000)
        assert report
        return Lease(report.id, report.epoch)

    async def append(self, lease: Lease, number: int) -> float:
        """Milliseconds it took."""
        chunk = Chunk(1, number, number * 1000 - 999, 1000, os.urandom(_PAYLOAD))
        start = time.perf_counter()
        await self._spool.append(lease, chunk, b"key", 1_000)
        return (time.perf_counter() - start) * 1000

    async def old_report(self, chunks: int) -> str:
        lease = await self.start()
        for number in range(1, chunks + 1):
            await self.append(lease, number)
        await self._leases.finish(lease, Status.DONE)
        return lease.report

    async def delete(self, report_id: str) -> None:
        assert await self._store.expire(report_id)

    async def run(self, until: asyncio.Event, at_least: int) -> list[float]:
        """Appends of a runner until the event, and at least so many."""
        lease, took = await self.start(), []
        while not until.is_set() or len(took) < at_least:
            took.append(await self.append(lease, len(took) + 1))
            await asyncio.sleep(_PAUSE)
        await self._leases.finish(lease, Status.DONE)
        await self.delete(lease.report)
        return took


async def measure(chunks: int, turns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.db")
        database = await Database.open(str(path))
        bench, retention = (
            Bench(database),
            Retention(database, Sessions(database, 30), ExportStore(database), Hints()),
        )
        alone: list[float] = []
        beside: list[float] = []
        for turn in range(1, turns + 1):
            report_id = await bench.old_report(chunks)
            await database.shrink()
            before = _size(path)
            await bench.delete(report_id)
            swept = asyncio.Event()
            runner = asyncio.create_task(bench.run(swept, 0))
            start = time.perf_counter()
            await retention.sweep()
            seconds = time.perf_counter() - start
            swept.set()
            found = await runner
            beside += found
            await retention.sweep()  # what the runner left
            log = _size(path.with_name("state.db-wal"))
            print(
                f"turn {turn}: sweep {seconds:.2f} s, "
                f"{before:.0f} -> {_size(path):.1f} MiB, log {log:.1f} MiB"
            )
            alone += await bench.run(swept, len(found))
            await retention.sweep()
        await database.close()
    _tell(alone, beside)


def _size(path: Path) -> float:
    return path.stat().st_size / 2**20


def _tell(alone: list[float], beside: list[float]) -> None:
    print(f"\n| ms an append ({len(alone):,} each) | alone | beside a sweep | ratio |\n|---|---|---|---|")
    for name, place in (("p50", 49), ("p99", 98)):
        left, right = (statistics.quantiles(each, n=100)[place] for each in (alone, beside))
        print(f"| {name} | {left:.1f} | {right:.1f} | {right / left:.2f} |")
    print(f"| max | {max(alone):.1f} | {max(beside):.1f} | {max(beside) / max(alone):.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000, help="of the report that is removed (1000)")
    parser.add_argument("--turns", type=int, default=4)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.chunks, arguments.turns))
