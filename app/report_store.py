"""All SQL on reports but the append of a chunk.

A change of state is a guarded UPDATE: who finds no row came too late, and nothing needs a lock.
"""

from typing import Any

import msgspec
from sqlalchemy import Double, Executable, Row, Select, and_, bindparam, case, delete, or_, select, update

from app.database import Database, now
from app.errors import LeaseLost
from app.model import Column, Lease, Report, Spec, Status
from app.schema import ACTIVE, HELD, chunk, held, report

_ATTEMPTS = 4  # claims without a new chunk before a report is given up
_ABANDONED = "Reading broke off four times in a row without a new row. The rows read before that are kept."
_LOST = "Another owner reads this report now, or it is over."

_by_id = report.c.id == bindparam("report_id")
_row = (*report.c, now().label("read_at"))
_queued = report.c.status == Status.QUEUED
_running = report.c.status == Status.RUNNING
_expired = and_(_running, report.c.lease_until < now())
_lease_end = now() + bindparam("lease_seconds", type_=Double)
_over = {"slot": None, "lease_owner": None, "lease_until": 0, "finished_at": now()}

_GET = select(*_row).where(_by_id)
_LATEST = (
    select(*_row)
    .where(report.c.owner == bindparam("of_owner"))
    .order_by(report.c.created_at.desc(), report.c.id.desc())
    .limit(bindparam("at_most"))
)
_ACTIVE_OF = select(*_row).where(ACTIVE, report.c.owner == bindparam("of_owner")).order_by(report.c.slot)

_OLDEST_WAITING = (
    select(report.c.id)
    .where(ACTIVE, or_(_queued, _expired), report.c.attempts < _ATTEMPTS)
    .order_by(report.c.created_at, report.c.id)
    .limit(1)
    # PostgreSQL: two nodes that ask at once take different reports. SQLite has one writer anyway.
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_CLAIM = (
    update(report)
    .where(report.c.id == _OLDEST_WAITING)
    .values(
        status=Status.RUNNING,
        lease_owner=bindparam("node"),
        lease_until=_lease_end,
        epoch=report.c.epoch + 1,
        attempts=report.c.attempts + 1,
        started_at=case((report.c.started_at.is_(None), now()), else_=report.c.started_at),
    )
    .returning(*_row)
)
_FAIL_ABANDONED = (
    update(report)
    .where(ACTIVE, _expired, report.c.attempts >= _ATTEMPTS)
    .values(status=Status.FAILED, error_code="abandoned", error=_ABANDONED, **_over)
    .returning(report.c.id)
)
_HEARTBEAT = update(report).where(HELD).values(lease_until=_lease_end).returning(report.c.cancel_requested)
_RELEASE = (
    update(report)
    .where(HELD)
    # A chunk sets the attempts to 0, and a stop that was asked for is no reason to allow more than four.
    .values(lease_until=0, attempts=case((report.c.attempts > 0, report.c.attempts - 1), else_=0))
)
_RELEASE_ALL = update(report).where(ACTIVE, _running).values(lease_until=0)

_SET = update(report).where(HELD).returning(report.c.id)
_SET_COLUMNS = _SET.values(columns=bindparam("new_columns"))
_SET_WIDTHS = update(report).where(_by_id).values(columns=bindparam("new_columns"))
_SET_TOTAL = _SET.values(total=bindparam("new_total"), total_kind=bindparam("new_kind"))
_NOTES = select(report.c.notes).where(HELD).with_for_update()
_SET_NOTES = _SET.values(notes=bindparam("new_notes"))

_START_GENERATION = (
    update(report)
    .where(HELD)
    .values(generation=report.c.generation + 1, next_chunk=1, rows=0, bytes=0, cursor=None)
    .returning(report.c.generation)
)
_DROP_OLDER = delete(chunk).where(
    chunk.c.report == bindparam("of_report"), chunk.c.generation < bindparam("before")
)

_FINISH = _SET.values(
    status=bindparam("final"), error_code=bindparam("code"), error=bindparam("sentence"), **_over
)
_FINISH_DONE = _FINISH.values(total=report.c.rows, total_kind="exact")

_CANCEL_QUEUED = (
    update(report)
    .where(_by_id, _queued)
    .values(status=Status.CANCELLED, cancel_requested=True, **_over)
    .returning(*_row)
)
_CANCEL_RUNNING = (
    update(report)
    .where(_by_id, _running, report.c.cancel_requested.is_(False))
    .values(cancel_requested=True)
    .returning(*_row)
)


class ReportStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = (
            database.insert(report)
            .on_conflict_do_nothing(index_elements=["owner", "slot"], index_where=ACTIVE)
            .returning(*_row)
        )

    async def create(
        self, report_id: str, owner: str, limit: int, dataset: str, spec: Spec, columns: tuple[Column, ...]
    ) -> Report | None:
        """A queued report in the owner's lowest free slot; None if all `limit` are taken."""
        values = {
            "id": report_id,
            "owner": owner,
            "dataset": dataset,
            "spec": msgspec.to_builtins(spec),
            "columns": msgspec.to_builtins(columns),
        }
        statement = self._insert.values(created_at=now())
        async with self._database.write() as connection:
            for slot in range(1, limit + 1):
                row = (await connection.execute(statement, {**values, "slot": slot})).first()
                if row is not None:
                    return _report(row)
        return None

    async def get(self, report_id: str) -> Report | None:
        # A NUL or half a surrogate pair, from an address somebody typed, is an error to the drivers.
        if not report_id.isprintable():
            return None
        async with self._database.read() as connection:
            row = (await connection.execute(_GET, {"report_id": report_id})).first()
        return _report(row) if row else None

    async def latest(self, owner: str, limit: int = 50) -> list[Report]:
        return await self._all(_LATEST, {"of_owner": owner, "at_most": limit})

    async def running(self, owner: str) -> list[Report]:
        """The queued and running reports, by slot."""
        return await self._all(_ACTIVE_OF, {"of_owner": owner})

    async def claim(self, node: str, lease_seconds: float) -> Report | None:
        """The oldest report that waits or whose owner went silent, now leased to `node`."""
        async with self._database.write() as connection:
            row = (await connection.execute(_CLAIM, {"node": node, "lease_seconds": lease_seconds})).first()
        return _report(row) if row else None

    async def fail_abandoned(self) -> list[str]:
        """Gives up what has been claimed too often; the ids of those reports."""
        async with self._database.write() as connection:
            return list((await connection.execute(_FAIL_ABANDONED)).scalars())

    async def heartbeat(self, lease: Lease, lease_seconds: float) -> bool:
        """Renews the lease; True if the report's cancellation was requested."""
        return bool(await self._as_owner(_HEARTBEAT, lease, lease_seconds=lease_seconds))

    async def release(self, lease: Lease) -> None:
        """A graceful stop: another node may claim the report at once, and this attempt does not count."""
        async with self._database.write() as connection:
            await connection.execute(_RELEASE, held(lease))

    async def release_all(self) -> None:
        """Only for a server that knows it is alone: whoever held these leases is gone."""
        async with self._database.write() as connection:
            await connection.execute(_RELEASE_ALL)

    async def set_columns(self, lease: Lease, columns: tuple[Column, ...]) -> None:
        await self._as_owner(_SET_COLUMNS, lease, new_columns=msgspec.to_builtins(columns))

    async def set_widths(self, report_id: str, columns: tuple[Column, ...]) -> None:
        values = {"report_id": report_id, "new_columns": msgspec.to_builtins(columns)}
        async with self._database.write() as connection:
            await connection.execute(_SET_WIDTHS, values)

    async def set_total(self, lease: Lease, total: int | None, total_kind: str) -> None:
        await self._as_owner(_SET_TOTAL, lease, new_total=total, new_kind=total_kind)

    async def add_note(self, lease: Lease, sentence: str) -> None:
        async with self._database.write() as connection:
            notes = (await connection.execute(_NOTES, held(lease))).scalar()
            if notes is None:
                raise LeaseLost(_LOST)
            await connection.execute(_SET_NOTES, {**held(lease), "new_notes": [*notes, sentence]})

    async def start_generation(self, lease: Lease) -> int:
        """Empties the report for a source that has to be read again from the start."""
        async with self._database.write() as connection:
            generation: int | None = (await connection.execute(_START_GENERATION, held(lease))).scalar()
            if generation is None:
                raise LeaseLost(_LOST)
            await connection.execute(_DROP_OLDER, {"of_report": lease.report, "before": generation})
        return generation

    async def finish(
        self, lease: Lease, status: Status, error_code: str | None = None, error: str | None = None
    ) -> bool:
        """The final status; False if the lease was lost, so that it is another's to give."""
        statement = _FINISH_DONE if status is Status.DONE else _FINISH
        values = {"final": status, "code": error_code, "sentence": error and _storable(error)}
        async with self._database.write() as connection:
            return (await connection.execute(statement, {**held(lease), **values})).first() is not None

    async def request_cancellation(self, report_id: str) -> Report | None:
        """Cancels a queued report, asks the owner of a running one to stop; the row after it."""
        before = await self.get(report_id)
        # The 2nd to the 500th click only read, and do not queue with the writers.
        if before is None or before.status.final or before.cancel_requested:
            return before
        async with self._database.write() as connection:
            for statement in (_CANCEL_QUEUED, _CANCEL_RUNNING, _GET):
                if row := (await connection.execute(statement, {"report_id": report_id})).first():
                    return _report(row)
        return None

    async def _all(self, statement: Select[Any], values: dict[str, object]) -> list[Report]:
        async with self._database.read() as connection:
            return [_report(row) for row in await connection.execute(statement, values)]

    async def _as_owner(self, statement: Executable, lease: Lease, **values: object) -> Any:
        """Runs a statement guarded by HELD; the first value it returns."""
        async with self._database.write() as connection:
            row = (await connection.execute(statement, {**held(lease), **values})).first()
        if row is None:
            raise LeaseLost(_LOST)
        return row[0]


def _report(row: Row[*tuple[Any, ...]]) -> Report:
    values = row._asdict()
    values["status"] = Status(values["status"])
    values["spec"] = msgspec.convert(values["spec"], Spec)
    values["columns"] = msgspec.convert(values["columns"], tuple[Column, ...])
    values["notes"] = tuple(values["notes"])
    return Report(**values)


def _storable(sentence: str) -> str:
    """A driver's message may quote what PostgreSQL refuses in text; the final status must not fail by it."""
    return sentence.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
