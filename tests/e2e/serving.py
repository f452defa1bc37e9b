"""The real server, as a process of its own: started, stopped, killed and started again."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

ROWFALL = Path(sys.executable).with_name("rowfall.exe" if sys.platform == "win32" else "rowfall")
READY = "Rowfall is ready: "
START_SECONDS = 60  # the demo database is built on the first start


class Server:
    """`rowfall COMMAND...` in a folder of its own, which holds its state too unless `state` names another.

    Killed or stopped, it can start again.
    """

    def __init__(
        self,
        folder: Path,
        *command: str,
        auth: str = "none",
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.url = ""
        self._command = [str(ROWFALL), *command, "--auth", auth]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ROWFALL_")}
        given = {f"ROWFALL_{name.upper()}": str(value) for name, value in settings.items()}
        self._environment = clean | given | dict(environment or {})
        self._port = 0  # a free one at first, then the same again
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> "Server":
        with self._log_file.open("a") as log:
            self._process = subprocess.Popen(
                [*self._command, "--port", str(self._port)],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = self._first_line()
        assert line.startswith(READY), f"The server said {line!r} and logged:\n{self.log}"
        self.link = line.removeprefix(READY).strip()
        parts = urlsplit(self.link)
        assert parts.port is not None
        self._port = parts.port
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    def _first_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        if sys.platform != "win32":
            ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
            assert ready, f"The server was not ready after {START_SECONDS} s. Its log:\n{self.log}"
        return self._process.stdout.readline()

    @property
    def port(self) -> int:
        return self._port

    @property
    def _log_file(self) -> Path:
        return self.folder / "server.log"

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    def kill(self) -> None:
        """As a power cut would: SIGKILL, nothing is written any more."""
        assert self._process is not None
        self._process.kill()
        self._ended(5)

    def stop(self, seconds: float = 15) -> None:
        if self._process is not None:
            self._process.terminate()
            self._ended(seconds)

    def pause(self) -> None:
        """SIGSTOP: the process is there, and does nothing until `resume`."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, sent: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sent)

    @property
    def process(self) -> int:
        """Its number, 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def runs(self) -> bool:
        """Whether there is a process, be it paused."""
        return self._process is not None and self._process.poll() is None

    def _ended(self, seconds: float) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(seconds)
        self._process.stdout.close()
        self._process = None

    def page_of(self, dataset: str) -> str:
        return f"{self.url}/datasets/{quote(dataset, safe='')}"

    # What a program does through the API.

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60)

    def post(self, path: str, json: object = None) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=json, timeout=60)

    def delete(self, path: str) -> httpx.Response:
        return httpx.delete(f"{self.url}{path}", timeout=60)

    def request(self, dataset: str) -> str:
        """The id of a new report."""
        answer = self.post("/api/v1/reports", {"dataset": dataset})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def report(self, report_id: str) -> dict[str, object]:
        answer = self.get(f"/api/v1/reports/{report_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait_until(
        self, report_id: str, *statuses: str, rows: int = 0, seconds: float = 60
    ) -> dict[str, object]:
        """The report, once it has one of the statuses and at least so many rows."""
        deadline = time.monotonic() + seconds
        while True:
            report = self.report(report_id)
            if report["status"] in statuses and int(str(report["rows"])) >= rows:
                return report
            assert time.monotonic() < deadline, f"no {statuses} with {rows} rows after {seconds} s: {report}"
            time.sleep(0.02)

    def cancel_all(self) -> None:
        for report in self.get("/api/v1/reports").json():
            if report["status"] in ("queued", "running"):
                self.post(f"/api/v1/reports/{report['id']}/cancellation")
                self.wait_until(report["id"], "cancelled", seconds=5)


Serve = Callable[..., Server]
