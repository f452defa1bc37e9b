"""Whatever people and nodes do, in whatever order, the state database holds what a simple model says.

Two people ask and cancel; two nodes claim, and a node may come back with a lease it lost long ago. The model
is docs/words.md as a few lines of Python: it knows nothing of SQL.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from app.database import Database
from app.errors import LeaseLost
from app.leases import Leases
from app.model import Chunk, Column, Kind, Lease, Report, Spec, Status
from app.report_store import ReportStore
from app.schema import report
from app.spool import Spool

T = TypeVar("T")

LIMIT = 2  # reports of a person at once
ATTEMPTS = 4
COLUMNS = (Column("id", Kind.INTEGER),)
LIVE, EXPIRED = 600.0, -1.0  # seconds of a lease: it lasts longer than the test, or has run out already

# From status to status; one that is final stays.
ALLOWED = {
    (None, "queued"),
    ("queued", "running"),
    ("queued", "cancelled"),
    *(("running", final) for final in ("done", "cancelled", "failed", "timed_out")),
}
FINALS = [status for status in Status if status.final]
seconds = st.sampled_from([LIVE, EXPIRED])


@dataclass
class Model:
    """A report as it has to be."""

    owner: str
    slot: int | None
    status: Status = Status.QUEUED
    node: str | None = None
    expired: bool = True
    epoch: int = 0
    attempts: int = 0
    cancel_requested: bool = False
    error_code: str | None = None
    generation: int = 1
    chunks: list[int] = field(default_factory=list)  # rows of each
    cursor: bytes | None = None
    total: int | None = None
    notes: list[str] = field(default_factory=list)
    trouble: str | None = None

    @property
    def waits(self) -> bool:
        return self.status is Status.QUEUED or (self.status is Status.RUNNING and self.expired)

    def holds(self, lease: Lease) -> bool:
        return self.status is Status.RUNNING and self.epoch == lease.epoch

    def end(self, status: Status, error_code: str | None = None) -> None:
        self.status, self.error_code = status, error_code
        self.slot = self.node = self.trouble = None
        self.expired = True
        if status is Status.DONE:
            self.total = sum(self.chunks)


class States(RuleBasedStateMachine):
    runner: asyncio.Runner
    database: Database

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.store, self.owners = ReportStore(self.database), Leases(self.database)
        self.spool = Spool(self.database)
        self.model: dict[str, Model] = {}  # in the order they were asked for
        self.seen: dict[str, str] = {}  # the status of each at the last look
        self.do(self._empty())

    async def _empty(self) -> None:
        async with self.database.write() as connection:
            await connection.execute(delete(report))

    def do(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return self.runner.run(done())

    def guarded(self, lease: Lease, work: Awaitable[T], expected: T) -> Model | None:
        """The report if the lease holds and the work answered as expected; None if it was refused."""
        found = self.model[lease.report]
        if found.holds(lease):
            assert self.do(work) == expected
            return found
        with pytest.raises(LeaseLost):
            self.do(work)
        return None

    # People

    @rule(owner=st.sampled_from(["ann", "ben"]))
    def ask(self, owner: str) -> None:
        taken = {each.slot for each in self.model.values() if each.owner == owner}
        free = min({*range(1, LIMIT + 1)} - taken, default=None)
        report_id = f"report-{len(self.model):04}"
        asked = self.do(self.store.create(report_id, owner, LIMIT, "noise.recordings", Spec((0,)), COLUMNS))
        assert (asked and asked.slot) == free
        if free is not None:
            self.model[report_id] = Model(owner, free)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.model:
            return
        report_id = data.draw(st.sampled_from(sorted(self.model)))
        found = self.model[report_id]
        found.cancel_requested |= not found.status.final
        if found.status is Status.QUEUED:
            found.end(Status.CANCELLED)
        after = self.do(self.store.request_cancellation(report_id))
        assert after is not None
        assert (after.status, after.cancel_requested) == (found.status, found.cancel_requested)

    # Nodes

    @rule(target=leases, node=st.sampled_from(["node-1", "node-2"]), seconds=seconds)
    def claim(self, node: str, seconds: float) -> Any:
        waiting = [key for key, each in self.model.items() if each.waits and each.attempts < ATTEMPTS]
        claimed = self.do(self.owners.claim(node, seconds))
        assert (claimed and claimed.id) == (waiting[0] if waiting else None)
        if claimed is None:
            return multiple()
        found = self.model[claimed.id]
        found.status, found.node, found.expired = Status.RUNNING, node, seconds < 0
        found.epoch += 1
        found.attempts += 1
        assert claimed.epoch == found.epoch
        return Lease(claimed.id, claimed.epoch)

    @rule()
    def fail_abandoned(self) -> None:
        lost = {
            key: each
            for key, each in self.model.items()
            if each.status is Status.RUNNING and each.expired and each.attempts >= ATTEMPTS
        }
        assert sorted(self.do(self.owners.fail_abandoned())) == sorted(lost)
        for each in lost.values():
            each.end(Status.FAILED, "abandoned")

    @rule()
    def release_all(self) -> None:
        self.do(self.owners.release_all())
        for each in self.model.values():
            each.expired = True

    # Owners, and those who think they are

    @rule(lease=leases, rows=st.integers(1, 9), seconds=seconds, keyed=st.booleans())
    def append(self, lease: Lease, rows: int, seconds: float, keyed: bool) -> None:
        found = self.model[lease.report]
        cursor = b"%d" % rows if keyed else None
        work = self.spool.append(lease, self._next_chunk(found, rows), cursor, seconds)
        if self.guarded(lease, work, found.cancel_requested):
            found.chunks.append(rows)
            found.cursor, found.attempts, found.trouble, found.expired = cursor, 0, None, seconds < 0

    @rule(lease=leases, number=st.sampled_from([-1, 1]), generation=st.sampled_from([-1, 0, 1]))
    def append_another_than_the_next(self, lease: Lease, number: int, generation: int) -> None:
        found = self.model[lease.report]
        due = self._next_chunk(found, 1)
        chunk = Chunk(due.generation + generation, due.number + number, due.first_row, 1, due.payload)
        with pytest.raises(LeaseLost):
            self.do(self.spool.append(lease, chunk, None, LIVE))

    def _next_chunk(self, found: Model, rows: int) -> Chunk:
        number, first_row = len(found.chunks) + 1, sum(found.chunks) + 1
        return Chunk(found.generation, number, first_row, rows, b"." * rows)

    @rule(lease=leases, seconds=seconds)
    def heartbeat(self, lease: Lease, seconds: float) -> None:
        requested = self.model[lease.report].cancel_requested
        if found := self.guarded(lease, self.owners.heartbeat(lease, seconds), requested):
            found.expired = seconds < 0

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        found = self.model[lease.report]
        self.do(self.owners.release(lease))
        if found.holds(lease):
            found.expired, found.attempts = True, max(0, found.attempts - 1)

    @rule(lease=leases, total=st.integers(0, 99))
    def set_total(self, lease: Lease, total: int) -> None:
        if found := self.guarded(lease, self.owners.set_total(lease, total, "exact"), None):
            found.total = total

    @rule(lease=leases)
    def set_trouble(self, lease: Lease) -> None:
        if found := self.guarded(lease, self.owners.set_trouble(lease, "It is locked."), None):
            found.trouble = "It is locked."

    @rule(lease=leases)
    def add_note(self, lease: Lease) -> None:
        if found := self.guarded(lease, self.owners.add_note(lease, "It changed."), None):
            found.notes.append("It changed.")

    @rule(lease=leases)
    def start_generation(self, lease: Lease) -> None:
        due = self.model[lease.report].generation + 1
        if found := self.guarded(lease, self.owners.start_generation(lease, "Read again."), due):
            found.generation, found.chunks, found.cursor = due, [], None
            found.notes.append("Read again.")

    @rule(lease=leases, status=st.sampled_from(FINALS))
    def finish(self, lease: Lease, status: Status) -> None:
        found = self.model[lease.report]
        holds = found.holds(lease)
        code = "a-code" if status in (Status.FAILED, Status.TIMED_OUT) else None
        assert self.do(self.owners.finish(lease, status, code, code)) is holds
        if holds:
            found.end(status, code)

    # After each step

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        for report_id, expected in self.model.items():
            found = self.do(self.store.get(report_id))
            assert found is not None
            assert _told(found) == replace(expected, chunks=[])
            self._follow_status(found)
            self._check_spool(found, expected)

    def _follow_status(self, found: Report) -> None:
        before = self.seen.get(found.id)
        assert before == found.status or (before, found.status) in ALLOWED
        assert (found.finished_at is not None) == found.status.final
        assert (found.started_at is not None) == (found.epoch > 0)
        self.seen[found.id] = found.status

    def _check_spool(self, found: Report, expected: Model) -> None:
        for generation in range(1, found.generation):
            assert self.do(self.spool.read(found.id, generation, 0, 99)) == []
        chunks = self.do(self.spool.read(found.id, found.generation, 0, 99))
        rows = 0
        for number, (chunk, due) in enumerate(zip(chunks, expected.chunks, strict=True), 1):
            assert (chunk.number, chunk.first_row, chunk.rows) == (number, rows + 1, due)
            rows += chunk.rows
        assert (found.chunks, found.rows, found.bytes) == (len(chunks), rows, rows)

    @invariant()
    def a_slot_is_taken_once_and_there_are_not_more_than_allowed(self) -> None:
        for owner in ("ann", "ben"):
            slots = [each.slot for each in self.do(self.store.running(owner))]
            assert len(slots) == len(set(slots)) <= LIMIT


def _told(found: Report) -> Model:
    """The report as the model tells it, but for its chunks, which are in the spool."""
    names = {each.name for each in fields(Model)} & {each.name for each in fields(Report)}
    told = {name: getattr(found, name) for name in names - {"chunks", "notes"}}
    expired = found.lease_until < found.read_at
    return Model(**told, node=found.lease_owner, expired=expired, notes=list(found.notes))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_a_report_goes_through_its_states_as_the_model_does(state_url: str, runner: asyncio.Runner) -> None:
    database = runner.run(Database.open(state_url))
    machine = type("Machine", (States,), {"runner": runner, "database": database})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    finally:
        runner.run(database.close())
