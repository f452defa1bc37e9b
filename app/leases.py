"""What the owner of a lease may do with its report, and how it comes to it.

Every statement is guarded by the lease's epoch: a former owner finds no row and writes nothing, so nothing
needs a lock. Only the database's clock is asked.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Double, Executable, and_, bindparam, case, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database, now
from app.errors import LeaseLost
from app.model import Column, Lease, Report, Status
from app.report_row import CHANGED, OVER, report_of
from app.schema import ACTIVE, HELD, chunk, export, held, report

_ATTEMPTS = 4  # claims without a new chunk before a report is given up
_ABANDONED = "Reading broke off four times in a row without a new row. The rows read before that are kept."

_running = report.c.status == Status.RUNNING
_expired = and_(_running, report.c.lease_until < now())
_lease_end = now() + bindparam("lease_seconds", type_=Double)

_OLDEST_WAITING = (
    select(report.c.id)
    .where(
        ACTIVE,
        or_(report.c.status == Status.QUEUED, _expired),
        report.c.attempts < _ATTEMPTS,
        report.c.id.not_in(bindparam("mine", expanding=True)),
    )
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
    .returning(*CHANGED)
)
_FAIL_ABANDONED = (
    update(report)
    .where(ACTIVE, _expired, report.c.attempts >= _ATTEMPTS)
    .values(status=Status.FAILED, error_code="abandoned", error=_ABANDONED, **OVER)
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
_SET_TOTAL = _SET.values(total=bindparam("new_total"), total_kind=bindparam("new_kind"))
_SET_TROUBLE = _SET.values(trouble=bindparam("new_trouble"))
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
# Files that were asked for meanwhile are made of what is read now.
_MOVE_EXPORTS = (
    update(export)
    .where(export.c.report == bindparam("of_report"), export.c.status == Status.QUEUED)
    .values(generation=bindparam("now_of"))
)

_FINISH = _SET.values(
    status=bindparam("final"),
    error_code=bindparam("code"),
    error=bindparam("sentence"),
    **OVER,
)
_FINISH_DONE = _FINISH.values(total=report.c.rows, total_kind="exact")


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, node: str, lease_seconds: float, mine: Sequence[str] = ()) -> Report | None:
        """The oldest report that waits or whose owner went silent, now leased to `node`.

        `mine` are those that the node runs already: if the state database was away for longer than a lease,
        their runs renew it themselves.
        """
        values = {"node": node, "lease_seconds": lease_seconds, "mine": [*mine]}
        async with self._database.write() as connection:
            row = (await connection.execute(_CLAIM, values)).first()
        return report_of(row) if row else None

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

    async def set_total(self, lease: Lease, total: int | None, total_kind: str) -> None:
        await self._as_owner(_SET_TOTAL, lease, new_total=total, new_kind=total_kind)

    async def set_trouble(self, lease: Lease, sentence: str) -> None:
        """Why no rows come at the moment; the next chunk, or the end, takes it away."""
        await self._as_owner(_SET_TROUBLE, lease, new_trouble=_storable(sentence))

    async def add_note(self, lease: Lease, sentence: str) -> None:
        async with self._database.write() as connection:
            await add_note(connection, lease, sentence)

    async def start_generation(self, lease: Lease, note: str) -> int:
        """Empties the report for a source that has to be read again from the start; `note` says why."""
        async with self._database.write() as connection:
            await add_note(connection, lease, note)
            generation: int = (await connection.execute(_START_GENERATION, held(lease))).scalar_one()
            await connection.execute(_DROP_OLDER, {"of_report": lease.report, "before": generation})
            await connection.execute(_MOVE_EXPORTS, {"of_report": lease.report, "now_of": generation})
        return generation

    async def finish(
        self, lease: Lease, status: Status, error_code: str | None = None, error: str | None = None
    ) -> bool:
        """The final status; False if the lease was lost, so that it is another's to give."""
        statement = _FINISH_DONE if status is Status.DONE else _FINISH
        values = {"final": status, "code": error_code, "sentence": error and _storable(error)}
        async with self._database.write() as connection:
            return (await connection.execute(statement, {**held(lease), **values})).first() is not None

    async def _as_owner(self, statement: Executable, lease: Lease, **values: object) -> Any:
        """Runs a statement guarded by HELD; the first value it returns."""
        async with self._database.write() as connection:
            row = (await connection.execute(statement, {**held(lease), **values})).first()
        if row is None:
            raise LeaseLost
        return row[0]


async def add_note(connection: AsyncConnection, lease: Lease, sentence: str) -> None:
    """In a transaction of the caller. Raises LeaseLost."""
    notes = (await connection.execute(_NOTES, held(lease))).scalar()
    if notes is None:
        raise LeaseLost
    await connection.execute(_SET_NOTES, {**held(lease), "new_notes": [*notes, sentence]})


def _storable(sentence: str) -> str:
    """A driver's message may quote what PostgreSQL refuses in text; the final status must not fail by it."""
    return sentence.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
