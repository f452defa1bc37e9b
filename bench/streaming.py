"""A report over loopback against a real server: POST, then its event stream to the end."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_PRODUCT = ("-m", "app")


@dataclass
class Server:
    url: str
    pid: int

    def memory(self, which: str) -> float:
        """MiB: `VmRSS` now, `VmHWM` at the most."""
        found = re.search(rf"{which}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024


@contextmanager
def server(
    path: Path, program: Sequence[str] = _PRODUCT, state: str | None = None, **settings: str
) -> Iterator[Server]:
    """A server of one file, by default with a state of its own; `program` may be another one that takes its
    commands."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--auth", "none", "--port", "0", "--state", state or f"{folder}/state.db"]
        process = subprocess.Popen(
            [sys.executable, *program, "serve", str(path), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {f"ROWFALL_{name.upper()}": value for name, value in settings.items()},
        )
        try:
            assert process.stdout
            ready = process.stdout.readline()
            yield Server(ready.removeprefix("Rowfall is ready: ").strip().rstrip("/"), process.pid)
        finally:
            process.terminate()
            process.wait(10)


@dataclass
class Run:
    first: float  # seconds from the POST to the first row in the stream
    done: float  # to the end of the stream
    rows: int
    bytes: int


def run(url: str, dataset: str) -> Run:
    """A report from the request to its last event; all rows come as rows if `page_chunks` allows."""
    # Plain text, so that the rows can be counted as they come.
    with httpx.Client(base_url=url, timeout=120, headers={"Accept-Encoding": "identity"}) as client:
        start = time.perf_counter()
        report = client.post("/reports", data={"dataset": dataset}).headers["location"]
        first, rows, size, tail = 0.0, 0, 0, b""
        with client.stream("GET", f"{report}/events") as stream:
            for part in stream.iter_raw():
                # A tag may lie across two parts.
                found = (tail + part).count(b"</tr>")
                tail = part[-4:]
                if found and not first:
                    first = time.perf_counter() - start
                rows += found
                size += len(part)
        return Run(first, time.perf_counter() - start, rows, size)
