"""Memory of the whole server: five reports of a million rows with ten viewers, then 100 reports in a row.

Writes MEMORY.md. The aim is 300 MB at the most for the first, and no growth in the second.
"""

import datetime
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import data
import httpx
import streaming

REPORTS, VIEWERS = 5, 2  # so many viewers a report; one of all ten never reads
CONSECUTIVE, WARM_UP, SMALL = 100, 20, 23_453  # reports, and rows of each
_SUMMARY = {"HX-Request": "true"}  # as the page asks, once a second


def ask(url: str, dataset: str) -> str:
    return httpx.post(f"{url}/reports", data={"dataset": dataset}, timeout=60).headers["location"]


def watch(url: str, report: str, seen: list[int]) -> None:
    """A viewer as a browser is one: it takes the whole stream."""
    with (
        httpx.Client(base_url=url, timeout=600) as client,
        client.stream("GET", f"{report}/events") as stream,
    ):
        seen.append(sum(len(part) for part in stream.iter_raw()))


def look(url: str, report: str, over: threading.Event) -> None:
    """The summaries above the columns, as the page of a viewer asks for them."""
    with httpx.Client(base_url=url, timeout=60) as client:
        while not over.wait(1):
            with suppress(httpx.HTTPError):
                client.get(f"{report}/summary", headers=_SUMMARY)


def stalled(url: str, report: str) -> socket.socket:
    """A viewer that asks for the stream and reads nothing."""
    place = urlsplit(url)
    assert place.hostname
    assert place.port
    line = socket.create_connection((place.hostname, place.port))
    line.sendall(f"GET {report}/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    return line


def at_once(server: streaming.Server) -> tuple[float, float]:
    """MiB before and at the most with five reports and ten viewers, and seconds until all are over."""
    start = time.perf_counter()
    over, seen = threading.Event(), list[int]()
    reports = [ask(server.url, "million.mixed") for _ in range(REPORTS)]
    watched = [report for report in reports for _ in range(VIEWERS)][1:]
    viewers = [threading.Thread(target=watch, args=(server.url, report, seen)) for report in watched]
    lookers = [threading.Thread(target=look, args=(server.url, report, over)) for report in reports]
    with closing(stalled(server.url, reports[0])):
        for thread in (*viewers, *lookers):
            thread.start()
        for viewer in viewers:
            viewer.join()
    over.set()
    for looker in lookers:
        looker.join()
    found = [httpx.get(f"{server.url}/api/v1{report}", timeout=60).json() for report in reports]
    if {(report["status"], report["rows"]) for report in found} != {("done", data.MILLION)}:
        raise SystemExit(f"not all reports are done: {found}")
    if len(seen) != len(watched):
        raise SystemExit("not all viewers came to the end")
    return server.memory("VmHWM"), time.perf_counter() - start


def one_after_the_other(server: streaming.Server) -> list[float]:
    """MiB after the warm-up and after each tenth of the reports that follow."""
    memory = []
    for number in range(WARM_UP + CONSECUTIVE + 1):
        if number >= WARM_UP and (number - WARM_UP) % (CONSECUTIVE // 10) == 0:
            memory.append(server.memory("VmRSS"))
        streaming.run(server.url, f"part{SMALL}.flights")
    return memory


def main() -> None:
    with streaming.server(data.million(), report_timeout="600") as server:
        idle = server.memory("VmRSS")
        most, seconds = at_once(server)
    with streaming.server(data.part(SMALL)) as server:
        after = one_after_the_other(server)
    lines = [
        "# Memory of the server",
        "",
        f"Of {datetime.date.today()}, by `bench/memory.py`, in one run.",
        "",
        "| | MiB |",
        "|---|---|",
        f"| without a report | {idle:.0f} |",
        f"| at the most, with {REPORTS} reports of {data.MILLION:,} rows x 10 at once and "
        f"{REPORTS * VIEWERS} viewers, one of which never reads, and their summaries "
        f"({seconds:.0f} s) | {most:.0f} |",
        f"| after {WARM_UP} reports of {SMALL:,} rows x 10, each with a viewer | {after[0]:.0f} |",
        f"| after {CONSECUTIVE} more | {after[-1]:.0f} |",
        "",
        f"After each {CONSECUTIVE // 10} of them: {', '.join(f'{each:.1f}' for each in after)} MiB.",
    ]
    text = "\n".join(lines) + "\n"
    Path(__file__).with_name("MEMORY.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
