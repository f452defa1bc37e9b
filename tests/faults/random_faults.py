"""People and faults at random: `Chaos` is one run, and its log."""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
from checker import FINAL, Original
from cluster import Cluster
from postgresql import PostgreSQL
from serving import Server
from sources import KEYED, VIEW, endless, odd_texts, paced
from state import Record
from viewer import Stalled, Viewer

_SETTLE_SECONDS = 180
_REPORTS = 8  # queued and running at once
_VIEWERS = 6
_LONGEST_PAUSE = 5.0  # more than a lease
_DATASETS = (*(f"paced.{table}" for table in (*KEYED, VIEW)), "odd.odd")
_ANSWERS = (200, 201, 404, 409, 429, 503)
_KNOWN_ERRORS = ("abandoned",)  # four claims without a chunk, which so many faults may well cause

Fault = Callable[[], str]  # does it, and says what it did


class Chaos:
    def __init__(self, folder: Path, seed: int, nodes: int, postgresql: PostgreSQL | None) -> None:
        sources = (
            paced(folder / "paced.db", 3_000),
            odd_texts(folder / "odd.db"),
            endless(folder / "endless.db"),
        )
        self._address = postgresql.new_database() if postgresql else str(folder / "state.db")
        self.cluster = Cluster(
            folder, self._address, *sources, reports_per_user=_REPORTS, running_reports=4
        ).start(nodes)
        self.log: list[str] = []
        self.answers: Counter[int] = Counter()
        self._postgresql = postgresql
        self._sources = sources
        self._random = random.Random(seed)
        self._began = time.monotonic()
        self._paused: set[Server] = set()
        self._viewers: list[Viewer] = []
        self._stalled: list[Stalled] = []
        self._faults: list[tuple[Fault, int]] = [  # and how often, beside the others
            (self._request, 30),
            (self._cancel, 4),
            (self._view, 12),
            (self._leave, 6),
            (self._stall, 3),
            (self._kill, 6),
            (self._restart, 3),
            (self._pause, 6),
            (self._lock_source, 3),
            *([(self._restart_state, 2)] if postgresql else []),
        ]

    def run(self, seconds: float) -> None:
        faults, weights = zip(*self._faults, strict=True)
        while time.monotonic() - self._began < seconds:
            (fault,) = self._random.choices(faults, weights)
            self._say(fault())
            time.sleep(self._random.uniform(0.02, 0.3))
        self._end()

    def _end(self) -> None:
        """All nodes run again, the endless reports are cancelled, and everything has to come to its end."""
        for node in list(self._paused):
            self._wake(node)
        for stalled in self._stalled:
            stalled.__exit__()
        for report in self._active():
            if report["dataset"] == "endless.endless":
                self._say(self._cancel_report(report))
        self._say("waiting until all is settled")
        found = self.cluster.settle(_SETTLE_SECONDS)
        statuses = Counter(each["error_code"] or each["status"] for each in found.reports)
        self._say(f"settled: {dict(statuses)}, answers {dict(self.answers)}")
        assert not {each["error_code"] for each in found.reports} - {None, *_KNOWN_ERRORS}, statuses
        assert not set(self.answers) - {*_ANSWERS}, self.answers
        self._check_viewers({each["id"]: each for each in found.reports})

    def _check_viewers(self, reports: dict[str, Record]) -> None:
        for viewer in self._viewers:
            report = reports[viewer.report_id]
            source, _, table = report["dataset"].partition(".")
            original = Original(self.cluster.sources[source], table, report["rows"])
            viewer.assert_saw([row[0] for row in original.rows])
        self._say(f"{len(self._viewers)} viewers saw each row once")

    # What people do

    def _request(self) -> str:
        dataset = self._random.choices([*_DATASETS, "endless.endless"], [4] * len(_DATASETS) + [1])[0]
        return f"a report on {dataset}: {self._post('/api/v1/reports', {'dataset': dataset})}"

    def _cancel(self) -> str:
        active = self._active()
        return self._cancel_report(self._random.choice(active)) if active else "nothing to cancel"

    def _cancel_report(self, report: Record) -> str:
        report_id = report["id"]
        return f"cancel {report_id}: {self._post(f'/api/v1/reports/{report_id}/cancellation')}"

    def _view(self) -> str:
        active = [each for each in self._active() if each["dataset"] != "endless.endless"]
        if not active or len(self._viewers) >= _VIEWERS:
            return "nothing to view"
        report = self._random.choice(active)
        self._viewers.append(
            Viewer(report["id"], *self._random.sample(self.cluster.urls, len(self.cluster.urls)))
        )
        return f"a viewer of {report['id']}"

    def _leave(self) -> str:
        if not self._viewers:
            return "nobody leaves"
        viewer = self._viewers.pop(self._random.randrange(len(self._viewers)))
        viewer.leave()
        assert viewer.complaints == []
        return f"a viewer of {viewer.report_id} leaves"

    def _stall(self) -> str:
        active, nodes = self._active(), self._awake()
        if not active or not nodes:
            return "nobody stalls"
        report, node = self._random.choice(active), self._random.choice(nodes)
        self._stalled.append(Stalled(node.url, report["id"], 1))
        return f"a viewer of {report['id']} that never reads, on {_name(node)}"

    def _post(self, path: str, json: object = None) -> int | str:
        """The answer's status, or the error: the node may be gone, or asleep."""
        node = self._random.choice(self.cluster.nodes)
        try:
            answer = httpx.post(f"{node.url}{path}", json=json, timeout=3)
        except httpx.HTTPError as error:
            return f"{type(error).__name__} from {_name(node)}"
        self.answers[answer.status_code] += 1
        return answer.status_code

    # Faults

    def _kill(self) -> str:
        node = self._random.choice(self.cluster.nodes)
        self._paused.discard(node)
        node.kill()
        node.start()
        return f"kill -9 of {_name(node)}, and started again"

    def _restart(self) -> str:
        nodes = self._awake()
        if not nodes:
            return "nobody to stop"
        node = self._random.choice(nodes)
        node.stop()
        node.start()
        return f"SIGTERM to {_name(node)}, and started again"

    def _pause(self) -> str:
        nodes = self._awake()
        if not nodes:
            return "nobody to pause"
        node = self._random.choice(nodes)
        node.pause()
        seconds = self._random.uniform(0.1, _LONGEST_PAUSE)
        self._paused.add(node)
        # By the clock: a node that starts may have to wait for what this one holds.
        threading.Timer(seconds, self._wake, [node]).start()
        return f"SIGSTOP of {_name(node)} for {seconds:.1f} s"

    def _wake(self, node: Server) -> None:
        if node in self._paused and node.runs:
            node.resume()
        self._paused.discard(node)

    def _lock_source(self) -> str:
        path = self._random.choice(self._sources)
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(1)
        except sqlite3.OperationalError:
            return f"{path.name} is being read, and cannot be locked"
        finally:
            connection.close()
        return f"{path.name} was locked for a second"

    def _restart_state(self) -> str:
        assert self._postgresql is not None
        self._postgresql.stop("immediate")
        self._postgresql.start()
        return "the state's PostgreSQL crashed and started again"

    def _awake(self) -> list[Server]:
        return [node for node in self.cluster.nodes if node not in self._paused]

    def _active(self) -> list[Record]:
        return [each for each in self.cluster.reports() if each["status"] not in FINAL]

    def _say(self, what: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.2f} s  {what}")


def _name(node: Server) -> str:
    return node.folder.name
