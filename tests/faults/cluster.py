"""Several server processes that share one state database and read the same sources."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import checker
import state
from serving import Server
from sources import CHUNK_ROWS
from state import Record, State

# A second that a silent node keeps its reports, where the tests need not show the default's ten: the
# smallest that a busy machine does not take for silence.
LEASE_SECONDS = 2


class Cluster:
    """`nodes` are started one after the other; `start` and `add` make further ones."""

    def __init__(self, folder: Path, address: str, *sources: Path, **settings: object) -> None:
        self.address = address  # of the state: a path or postgresql://...
        self.sources = {source.stem: source for source in sources}
        self.nodes: list[Server] = []
        self._folder = folder
        self._settings = {"chunk_rows": CHUNK_ROWS, "lease_seconds": LEASE_SECONDS} | settings

    def start(self, count: int) -> "Cluster":
        for _ in range(count):
            self.add()
        return self

    def add(self, environment: Mapping[str, str] | None = None, **settings: object) -> Server:
        """One more node, which may differ in its environment or its settings."""
        folder = self._folder / f"node-{len(self.nodes) + 1}"
        folder.mkdir()
        server = Server(
            folder,
            "serve",
            *map(str, self.sources.values()),
            auth="none",
            environment=environment,
            **{"state": state.named(self.address, folder.name)} | self._settings | settings,
        )
        self.nodes.append(server)
        return server.start()

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    # What stands in the state database, whichever node runs.

    def reports(self) -> list[Record]:
        return state.reports(self.address)

    def report(self, report_id: str) -> Record:
        return next(report for report in self.reports() if report["id"] == report_id)

    def wait(self, report_id: str, holds: Callable[[Record], bool], seconds: float = 60) -> Record:
        """The report, once the condition holds."""
        deadline = time.monotonic() + seconds
        while not holds(report := self.report(report_id)):
            assert time.monotonic() < deadline, f"still so after {seconds} s: {_brief(report)}"
            time.sleep(0.05)
        return report

    def wait_for_rows(self, report_id: str, rows: int = 1) -> Record:
        """The report while it runs, with so many rows."""
        found = self.wait(report_id, lambda report: report["rows"] >= rows)
        assert found["status"] == "running", f"it was over too soon for the test: {_brief(found)}"
        return found

    def wait_until_done(self, report_id: str, seconds: float = 120) -> Record:
        found = self.wait(report_id, lambda report: report["status"] in checker.FINAL, seconds)
        assert found["status"] == "done", _brief(found)
        return found

    def owner_of(self, report_id: str) -> Server:
        """The node that holds the report's lease."""
        return next(node for node in self.nodes if owns(node, self.report(report_id)))

    def is_writing(self, node: Server) -> bool:
        """Whether the node, which is paused, is in the middle of a write to the state."""
        return state.is_held(self.address, node.folder.name)

    def check(self) -> State:
        return checker.check(self.address, self.sources)

    def settle(self, seconds: float = 120) -> State:
        return checker.settle(self.address, self.sources, seconds)

    def stop(self) -> None:
        for node in self.nodes:
            if node.runs:
                node.resume()
                node.kill()


def owns(node: Server, report: Record) -> bool:
    """A node's name in the state begins with the number of its process."""
    return str(report["lease_owner"]).startswith(f"{node.process}-")


def _brief(report: Record) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in ("spec", "columns", "cursor")}


Start = Callable[..., Cluster]
