"""Measures the formats of downloads from the spool's payloads and writes EXPORTS.md.

It needs what the tests need and XlsxWriter from PyPI, the one to compare with: pip install XlsxWriter.
"""

import asyncio
import datetime
import os
import pickle
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import data

from app.codec import ChunkEncoder, decode
from app.exports import EXPORTS
from app.exports.manifest import Manifest
from app.exports.writing import Options, Preset
from app.model import Column, Kind, Row

RUNS = 3
_PRESETS = {"csv": Options(), "csv for Excel": Options(Preset.EXCEL, ";", ","), "ndjson": Options()}
_ABOUT = Manifest("", "bench.flights", "done", None, 0, None, None, "UTC", (), (), (), (), "", None, {}, ())


def payloads(path: Path, table: str) -> Path:
    """A file with the chunks of a table as the spool holds them, and its columns' names."""
    kept = data.CACHE / f"{path.stem}.payloads"
    if not kept.exists():
        with closing(sqlite3.connect(path)) as connection:
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [each[0] for each in cursor.description]
            chunks = []
            while rows := cursor.fetchmany(1000):
                encoder = ChunkEncoder()
                for row in rows:
                    encoder.add(row)
                chunks.append(encoder.finish())
        kept.write_bytes(pickle.dumps((names, chunks)))
    return kept


class Spooled:
    def __init__(self, kept: Path) -> None:
        names, self.payloads = pickle.loads(kept.read_bytes())
        self.columns = [Column(name, Kind.ANY, width=80) for name in names]

    def chunks(self) -> Iterator[Sequence[Row]]:
        return map(decode, self.payloads)


def stream(name: str, spooled: Spooled, to: str = os.devnull) -> None:
    make = EXPORTS[name.partition(" ")[0]].stream
    assert make is not None
    writer = make(spooled.columns, _PRESETS[name])
    with Path(to).open("wb") as file:
        file.write(writer.begin())
        for rows in spooled.chunks():
            file.write(writer.rows(rows, 1))


def write(name: str, spooled: Spooled, to: Path) -> None:
    make = EXPORTS[name].file
    assert make is not None
    make(spooled.columns, Options()).write(to, spooled.chunks, _ABOUT)


def xlsxwriter(path: Path, to: Path) -> None:
    import xlsxwriter  # not among what Rowfall needs

    book = xlsxwriter.Workbook(to, {"constant_memory": True})
    sheet = book.add_worksheet()
    with closing(sqlite3.connect(path)) as connection:
        for number, row in enumerate(connection.execute("SELECT * FROM flights")):
            sheet.write_row(number, 0, row)
    book.close()


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


async def pause(act: Callable[[], object]) -> float:
    """The longest time in seconds that an event loop stood still while `act` ran in a thread beside it."""
    running = asyncio.create_task(asyncio.to_thread(act))
    longest, last = 0.0, time.perf_counter()
    while not running.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last - 0.001), now
    await running
    return longest


def streams(path: Path, table: str) -> list[str]:
    spooled = Spooled(payloads(path, table))
    command = ["sqlite3", "-csv", str(path), f"SELECT * FROM {table}"]
    ways: dict[str, Callable[[], object]] = {
        "`sqlite3 -csv`": lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
        "decoding alone": lambda: [len(rows) for rows in spooled.chunks()],
        **{name: (lambda name=name: stream(name, spooled)) for name in _PRESETS},
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            taken[name].append(seconds(way))
    base = taken["`sqlite3 -csv`"]
    lines = ["", f"| {table} | seconds | against `sqlite3 -csv` |", "|---|---|---|"]
    for name, each in taken.items():
        ratio = statistics.median(one / other for one, other in zip(each, base, strict=True))
        lines.append(f"| {name} | {statistics.median(each):.2f} | {ratio:.2f} |")
    return lines


def files(path: Path) -> list[str]:
    kept = payloads(path, "flights")
    lines = [
        "",
        "| 19 columns of flights | seconds | against XlsxWriter | MiB grown | longest pause, ms | MB |",
        "|---|---|---|---|---|---|",
    ]
    found: dict[str, list[list[float]]] = {name: [] for name in ("XlsxWriter", "xlsx", "parquet", "nothing")}
    for _ in range(RUNS):
        for name, runs in found.items():
            # A process each, so that the memory of one does not hide that of another.
            words = subprocess.check_output([sys.executable, __file__, name, str(path), str(kept)], text=True)
            runs.append(list(map(float, words.split())))
    for name, runs in found.items():
        pairs = zip(runs, found["XlsxWriter"], strict=True)
        ratio = statistics.median(run[0] / base[0] for run, base in pairs)
        took, grown, paused, size = (statistics.median(column) for column in zip(*runs, strict=True))
        lines.append(
            f"| {name} | {took:.1f} | {ratio:.2f} | {grown:.0f} | {paused * 1000:.0f} | {size / 1e6:.0f} |"
        )
    return lines


def memory(field: str) -> float:
    """MiB of this process, by the kernel."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def one(name: str, path: Path, kept: Path) -> None:
    """Prints seconds, grown MiB, the longest pause, and the size of the file."""
    with tempfile.TemporaryDirectory() as place:
        to = Path(place, "file")
        to.touch()
        spooled = Spooled(kept)
        ways: dict[str, Callable[[], object]] = {
            "XlsxWriter": lambda: xlsxwriter(path, to),
            "nothing": lambda: time.sleep(5),  # how long the machine itself keeps an event loop waiting
        }
        before = memory("VmRSS")
        start = time.perf_counter()
        longest = asyncio.run(pause(ways.get(name) or (lambda: write(name, spooled, to))))
        took = time.perf_counter() - start
        print(took, memory("VmHWM") - before, longest, to.stat().st_size)


def main() -> None:
    lines = [
        "# Downloads",
        "",
        f"`bench/exports.py` on {datetime.date.today()}: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}; medians of {RUNS} alternating "
        "runs, from the payloads of the spool, decoding included. XlsxWriter in its constant-memory mode "
        "reads SQLite.",
        *streams(data.flights(), "flights"),
        *streams(data.million(), "mixed"),
        *files(data.flights19()),
        "",
        "The pause is that of an event loop in the same process while the file is made in a thread;",
        "beside nothing, the machine alone causes it.",
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f}; above its cores, seconds are too high.",
        "",
    ]
    Path(__file__).with_name("EXPORTS.md").write_text("\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
