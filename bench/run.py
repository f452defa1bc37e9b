"""Runs all measures and writes RESULTS.md."""

import datetime
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import data
import streaming

HERE = Path(__file__).parent
RUNS = 5
_NULL = subprocess.DEVNULL

Measure = Callable[[], float]


def process(*command: str) -> float:
    """Seconds of a whole process, its output thrown away."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=_NULL)
    return time.perf_counter() - start


def peak(*command: str) -> float:
    """MiB that a whole process took at the most."""
    code = "import resource,subprocess,sys;subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL)"
    code += ";print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    return int(subprocess.check_output([sys.executable, "-c", code, *command])) / 1024


def alternating(measures: dict[str, Measure]) -> dict[str, list[float]]:
    """Each measure RUNS times, in turn, after one warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(RUNS + 1):
        for name, measure in measures.items():
            seconds = measure()
            if turn:
                taken[name].append(seconds)
    return taken


def rendering(path: Path) -> list[str]:
    ours, jinja, load = (
        (sys.executable, str(HERE / "rendering.py"), way, str(path)) for way in ("ours", "jinja", "load")
    )
    html = ("sqlite3", "-html", str(path), "SELECT * FROM flights")
    ways = {
        "`sqlite3 -html`": html,
        "Rowfall's reader and renderer": ours,
        "fetchmany and Jinja2": jinja,
        "load all, then Jinja2": load,
    }
    taken = alternating({name: (lambda command=command: process(*command)) for name, command in ways.items()})
    base = taken["`sqlite3 -html`"]
    lines = [
        "| rows to HTML, whole process | seconds | peak MiB | against `sqlite3 -html` |",
        "|---|---|---|---|",
    ]
    for name, seconds in taken.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
        lines.append(f"| {name} | {statistics.median(seconds):.2f} | {peak(*ways[name]):.0f} | {ratio:.1f} |")
    return lines


def reports(path: Path) -> list[str]:
    html = ("sqlite3", "-html", str(path), "SELECT * FROM flights")
    with streaming.server(path, page_chunks="100000") as server:
        streaming.run(server.url, "flights.flights")
        before = server.memory("VmRSS")
        runs, base = [], []
        for _ in range(RUNS):
            base.append(process(*html))
            runs.append(streaming.run(server.url, "flights.flights"))
        most = server.memory("VmHWM")
    assert all(run.rows == data.ROWS for run in runs), runs
    done = statistics.median(run.done for run in runs)
    ratio = statistics.median(run.done / seconds for run, seconds in zip(runs, base, strict=True))
    first = statistics.median(run.first for run in runs)
    return [
        "| a report of all flights over loopback, spool included | |",
        "|---|---|",
        f"| from POST to the first row | {first * 1000:.0f} ms |",
        f"| from POST to the last row | {done:.2f} s |",
        f"| the same against `sqlite3 -html` | {ratio:.1f} |",
        f"| peak memory of the server | {most:.0f} MiB |",
        f"| of which grown over {RUNS} reports after a first one | {max(0.0, most - before):.0f} MiB |",
    ]


def growth() -> list[str]:
    """Time and memory against the number of rows."""
    lines = [
        "| rows | seconds from POST to the last row | microseconds a row | peak MiB of the server |",
        "|---|---|---|---|",
    ]
    for rows in (1_000, 10_000, 100_000, 336_776):
        with streaming.server(data.part(rows), page_chunks="100000") as server:
            taken = [streaming.run(server.url, f"part{rows}.flights").done for _ in range(3)]
            seconds = statistics.median(taken)
            most = server.memory("VmHWM")
        lines.append(f"| {rows:,} | {seconds:.3f} | {seconds / rows * 1e6:.1f} | {most:.0f} |")
    return lines


def main() -> None:
    path = data.flights()
    head = [
        "# Results",
        "",
        f"`bench/run.py` on {datetime.date.today()}: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}. {data.ROWS:,} flights of 10 columns; "
        f"medians of {RUNS} alternating runs.",
    ]
    parts = [rendering(path), reports(path), growth()]
    text = "\n".join(["\n".join(head), *("\n".join(part) for part in parts)]).replace(
        "\n| rows", "\n\n| rows"
    )
    text = text.replace("\n| a report", "\n\n| a report")
    (HERE / "RESULTS.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
