"""Claims reports and runs them, as many at once as the process may."""

import asyncio
import logging
import os
import secrets

from app import hints
from app.errors import StateUnavailable
from app.model import Report
from app.run_context import RunContext
from app.runner import Run, Stop

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0  # hints come at once; this finds what a lost one would have told


class Worker:
    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._node = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Until `stop`: claims whatever is queued or was left by a process that is gone."""
        away = False
        with self._context.hints.listen(hints.QUEUE) as hint:
            while not self._stopping.is_set():
                hint.clear()
                try:
                    await self._claim_all()
                    away = False
                except StateUnavailable as error:
                    if not away:
                        log.warning("no reports are claimed: %s", error)
                    away = True
                except Exception:
                    log.exception("claiming reports failed; trying again")
                await hint.wait(_POLL_SECONDS)
        await self._end_runs()  # a claim that was under way at `stop` has begun one more

    async def stop(self) -> None:
        """Ends the runs at their last chunk; they go on when a worker starts again."""
        self._stopping.set()
        self._context.hints.notify(hints.QUEUE)
        await self._end_runs()

    async def _end_runs(self) -> None:
        for run in self._runs.values():
            run.stop(Stop.SHUTDOWN)
        if self._runs:
            await asyncio.wait(list(self._runs), timeout=4)

    async def _claim_all(self) -> None:
        leases, settings = self._context.leases, self._context.settings
        for report_id in await leases.fail_abandoned():
            log.warning("report %s failed: its process died each time", report_id)
        while len(self._runs) < settings.running_reports and not self._stopping.is_set():
            mine = [run.report.id for run in self._runs.values()]
            report = await leases.claim(self._node, settings.lease_seconds, mine)
            if report is None:
                return
            self._start(report)

    def _start(self, report: Report) -> None:
        run = Run(report, self._context)
        task = asyncio.create_task(run.execute(), name=f"report {report.id}")
        self._runs[task] = run
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._runs[task]
        if not task.cancelled() and (error := task.exception()):
            # The lease runs out by itself, and the report goes on from its last chunk.
            log.error("a run broke off", exc_info=error)
        self._context.hints.notify(hints.QUEUE)
