"""One run of a report: source -> chunks in the spool -> checkpoint -> final status."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from app import hints
from app.errors import LeaseLost, RowfallError, SourceInterrupted, SpoolFull, StateUnavailable
from app.model import Lease, Report, Status
from app.patience import patiently
from app.progress import spoken
from app.reading import Reading
from app.run_context import RunContext

log = logging.getLogger(__name__)

_ADVICE_SECONDS = 2.0


class Stop(Enum):
    """Why a run ends before the source does."""

    CANCELLED = auto()
    TIMED_OUT = auto()
    LEASE_LOST = auto()  # another owner has the report: write nothing more
    SHUTDOWN = auto()  # the report goes on after the restart


@dataclass(frozen=True, slots=True)
class Outcome:
    status: Status
    code: str | None = None
    sentence: str | None = None


class Run:
    """The run of a report that this process has claimed."""

    def __init__(self, report: Report, context: RunContext) -> None:
        self.report = report
        self._lease = Lease(report.id, report.epoch)
        self._context = context
        self._settings = context.settings
        self._reading = Reading(report, self._lease, context)
        self._stop: Stop | None = None
        self._given_up = asyncio.Event()  # not even the final status is this process's to write

    def stop(self, why: Stop) -> None:
        """Breaks off the source's query; `execute` then writes what is due and returns."""
        self._stop = self._stop or why
        if why in (Stop.SHUTDOWN, Stop.LEASE_LOST):
            self._given_up.set()
        self._reading.stop()

    async def execute(self) -> None:
        """The whole life of the run. Returns when the report is final, or is left for another owner."""
        try:
            outcome = await self._guarded_outcome()
            # Shielded: a status that was reached is written even while the process is being stopped.
            await asyncio.shield(self._conclude(outcome))
        finally:
            self._reading.tell_viewers()

    async def _guarded_outcome(self) -> Outcome | None:
        guard = asyncio.create_task(self._guard())
        try:
            return await self._outcome()
        finally:
            # Before the lease is given back: a heartbeat that is on its way would take it again.
            guard.cancel()
            with suppress(asyncio.CancelledError):
                await guard

    async def _outcome(self) -> Outcome | None:
        """How the report ends; None if it does not end here."""
        try:
            await self._reading.run()
        except SourceInterrupted:
            return await self._stopped()
        except LeaseLost:
            return None
        except RowfallError as error:
            if isinstance(error, StateUnavailable) and not isinstance(error, SpoolFull):
                # The lease runs out by itself, and the report goes on from its last chunk.
                log.warning("report %s breaks off for now: %s", self.report.id, error)
                return None
            return Outcome(Status.FAILED, error.code, error.sentence)
        except Exception:
            log.exception("report %s stopped by an error inside Rowfall", self.report.id)
            return Outcome(
                Status.FAILED,
                "internal",
                "An error inside Rowfall stopped this report. The rows so far are kept; the server's log "
                f"has the details under {self.report.id}.",
            )
        return Outcome(Status.DONE)

    async def _stopped(self) -> Outcome | None:
        if self._stop is Stop.CANCELLED or self._reading.cancelled:
            return Outcome(Status.CANCELLED)
        if self._stop is Stop.TIMED_OUT:
            return Outcome(Status.TIMED_OUT, "timed-out", await self._advice())
        return None

    async def _advice(self) -> str:
        """What a person can do about a report that took too long."""
        sentences = [
            f"This report ran for {spoken(self._settings.report_timeout)}, which is the limit. "
            "The rows so far are kept."
        ]
        if self._reading.continuable:
            sentences.append("Continue reads on from there.")
        found: Sequence[str] = ()
        try:
            async with asyncio.timeout(_ADVICE_SECONDS):
                dataset = await self._context.catalog.dataset(self.report.dataset)
                source = self._context.catalog.source(dataset)
                found = await source.advise(dataset, self.report.spec.columns, self.report.spec.filters)
        except (RowfallError, TimeoutError) as error:
            log.info("no advice on report %s: %s", self.report.id, error)
        if not found:
            found = [_less(self.report)]
        return " ".join([*sentences, *found])

    async def _guard(self) -> None:
        """Keeps the lease while a read is slow, and notices a cancellation or the time limit at once."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._settings.report_timeout
        with self._context.hints.listen(hints.cancellation(self.report.id)) as hint:
            while self._stop is None:
                await hint.wait(min(self._settings.lease_seconds / 4, deadline - now()))
                hint.clear()
                if now() >= deadline:
                    self.stop(Stop.TIMED_OUT)
                else:
                    await self._heartbeat()

    async def _heartbeat(self) -> None:
        try:
            if await self._context.leases.heartbeat(self._lease, self._settings.lease_seconds):
                self.stop(Stop.CANCELLED)
        except LeaseLost:
            self.stop(Stop.LEASE_LOST)
        except StateUnavailable as error:
            # The guard goes on, or nobody would watch the time limit. An append tells whose the lease is.
            log.warning("report %s could not renew its lease: %s", self.report.id, error)

    async def _conclude(self, outcome: Outcome | None) -> None:
        leases = self._context.leases
        if outcome is not None:
            end = (outcome.status, outcome.code, outcome.sentence)
            await patiently(lambda: leases.finish(self._lease, *end), self._given_up, for_room=True)
            log.info("report %s on %s: %s", self.report.id, self.report.dataset, outcome.status)
        elif self._stop is Stop.SHUTDOWN:
            await leases.release(self._lease)


def _less(report: Report) -> str:
    """What to ask for when the source has no advice."""
    filters = "A narrower filter" if report.spec.filters else "A filter"
    if len(report.columns) == 1:
        return f"{filters} gives fewer rows."
    return f"{filters} gives fewer rows, and fewer columns are read faster."
