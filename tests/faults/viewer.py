"""A program that follows a report as a page does: it reconnects with the last id, and minds every row."""

import html
import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import httpx

_ROW = re.compile(r'<tr aria-rowindex="(\d+)"[^>]*><td[^>]*>(.*?)</td>')
_RESET = '<hx-partial hx-target="#report-rows" hx-swap="innerHTML"></hx-partial>'
# `keep`: the first 100,000 rows come as rows, where a page asks for the later ones when they are near.
_QUERY = "?page=1&keep=true"


@dataclass
class Message:
    event: str = ""
    id: str = ""
    data: list[str] = field(default_factory=list)


class Viewer:
    """Follows a report from `urls` in turn, in a thread, until its end. `with` ends it before.

    `rows` has the number and the first cell of each row in the order they came; a new generation empties it.
    """

    def __init__(self, report_id: str, *urls: str) -> None:
        self.rows: list[tuple[int, str]] = []
        self.generation = 0
        self.resets = 0  # times the rows so far were taken back
        self.connects = 0
        self.ended = threading.Event()
        self.complaints: list[str] = []
        self.report_id = report_id
        self._urls = itertools.cycle(urls)
        self._last = ""
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"viewer of {report_id}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Ends at its next message; one that is stalled ends with its server."""
        self._leaving.set()

    def wait_for_rows(self, count: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while len(self.rows) < count:
            assert time.monotonic() < deadline, f"{len(self.rows)} rows of {count} after {seconds} s"
            time.sleep(0.02)

    def assert_saw(self, keys: Sequence[object], seconds: float = 60) -> None:
        """At the report's end: each of these rows, told by the first cell, once and in order."""
        assert self.ended.wait(seconds), f"no end after {seconds} s and {len(self.rows)} rows"
        assert self.complaints == []
        assert [number for number, _ in self.rows] == list(range(1, len(keys) + 1))
        assert [key for _, key in self.rows] == [str(key) for key in keys]

    def _follow(self) -> None:
        while not self._leaving.is_set() and not self.ended.is_set():
            with suppress(httpx.HTTPError):
                self._connect(next(self._urls))
            self._leaving.wait(0.1)

    def _connect(self, url: str) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        address = f"{url}/reports/{self.report_id}/events{_QUERY}"
        with httpx.stream("GET", address, headers=headers, timeout=httpx.Timeout(5, read=40)) as answer:
            if answer.status_code >= 500:
                return
            if answer.status_code != 200:
                self.complaints.append(f"{answer.status_code} from {address}")
                self.ended.set()
                return
            self.connects += 1
            self._read(answer)

    def _read(self, answer: httpx.Response) -> None:
        message = Message()
        for line in _lines(answer):
            if self._leaving.is_set():
                return
            if line:
                name, _, value = line.partition(": ")
                if name == "data":
                    message.data.append(value)
                elif name in ("event", "id"):
                    setattr(message, name, value)
                continue
            if message.event == "end":
                self.ended.set()
                return
            self._take(message)
            message = Message()

    def _take(self, message: Message) -> None:
        if message.event:
            return
        text = "\n".join(message.data)
        if _RESET in text:
            self.resets += 1
            self.rows = []
        if not message.id:
            return
        generation, number = map(int, message.id.split("."))
        self._mind(generation, number)
        self._last = message.id
        self.rows += [(int(index) - 1, html.unescape(key)) for index, key in _ROW.findall(text)]

    def _mind(self, generation: int, number: int) -> None:
        """Numbers go up by one; another generation begins with an empty table."""
        if generation == self.generation:
            due = int(self._last.split(".")[1]) + 1
            if number != due:
                self.complaints.append(f"chunk {number} of generation {generation} came for {due}")
            return
        if self.rows or number != 1 or generation < self.generation:
            self.complaints.append(
                f"{generation}.{number} came after {self._last} with {len(self.rows)} rows in the table"
            )
        self.generation = generation


def _lines(answer: httpx.Response) -> Iterator[str]:
    """Ended by line feeds alone: a cell may hold what else Python takes for the end of a line."""
    rest = b""
    for piece in answer.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)


class Stalled:
    """Viewers that ask for the stream and never read; their sockets take 4 KiB each."""

    def __init__(self, url: str, report_id: str, count: int) -> None:
        place = urlsplit(url)
        request = f"GET /reports/{report_id}/events{_QUERY} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n"
        self._sockets = []
        for _ in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((place.hostname, place.port))
            connection.sendall(request.encode())
            self._sockets.append(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._sockets:
            connection.close()
