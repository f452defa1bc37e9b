"""The SQL of what people do with reports: ask for them, look at them, cancel, keep and delete them.

What the owner of a lease does is in `leases`, the append of a chunk in `spool`. A change of state is a
guarded UPDATE: who finds no row came too late, and nothing needs a lock.
"""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, select, update

from app.database import Database, now
from app.model import Column, Report, Spec, Status
from app.report_row import CHANGED, FINAL, OVER, READ, THERE, report_of
from app.schema import ACTIVE, report

_DAY = 86_400  # seconds

_by_id = report.c.id == bindparam("report_id")

_GET = select(*READ).where(_by_id, THERE)
_LATEST = (
    select(*READ)
    .where(report.c.owner == bindparam("of_owner"), THERE)
    .order_by(report.c.created_at.desc(), report.c.id.desc())
    .limit(bindparam("at_most"))
)
_ACTIVE_OF = select(*READ).where(ACTIVE, report.c.owner == bindparam("of_owner")).order_by(report.c.slot)

_SET_WIDTHS = update(report).where(_by_id).values(columns=bindparam("new_columns"))

_CANCEL_QUEUED = (
    update(report)
    .where(_by_id, report.c.status == Status.QUEUED)
    .values(status=Status.CANCELLED, cancel_requested=True, **OVER)
    .returning(*CHANGED)
)
_CANCEL_RUNNING = (
    update(report)
    .where(_by_id, report.c.status == Status.RUNNING, report.c.cancel_requested.is_(False))
    .values(cancel_requested=True)
    .returning(*CHANGED)
)
_EXPIRE = update(report).where(_by_id, FINAL, THERE).values(expires_at=now()).returning(report.c.id)
_KEEP = update(report).where(_by_id, THERE).returning(*CHANGED)


class ReportStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = (
            database.insert(report)
            .on_conflict_do_nothing(index_elements=["owner", "slot"], index_where=ACTIVE)
            .returning(*CHANGED)
        )

    async def create(
        self,
        report_id: str,
        owner: str,
        limit: int,
        dataset: str,
        spec: Spec,
        columns: tuple[Column, ...],
        *,
        retention_days: float | None = None,
        continues: str | None = None,
    ) -> Report | None:
        """A queued report in the owner's lowest free slot; None if all `limit` are taken.

        `continues` is the report whose chunks it takes over before it reads on.
        """
        values = {
            "id": report_id,
            "owner": owner,
            "dataset": dataset,
            "spec": msgspec.to_builtins(spec),
            "columns": msgspec.to_builtins(columns),
            "continues": continues,
        }
        statement = self._insert.values(created_at=now(), expires_at=_in_days(retention_days))
        async with self._database.write() as connection:
            for slot in range(1, limit + 1):
                row = (await connection.execute(statement, {**values, "slot": slot})).first()
                if row is not None:
                    return report_of(row)
        return None

    async def get(self, report_id: str) -> Report | None:
        # A NUL or half a surrogate pair, from an address somebody typed, is an error to the drivers.
        if not report_id.isprintable():
            return None
        async with self._database.read() as connection:
            row = (await connection.execute(_GET, {"report_id": report_id})).first()
        return report_of(row) if row else None

    async def latest(self, owner: str, limit: int = 50) -> list[Report]:
        return await self._all(_LATEST, {"of_owner": owner, "at_most": limit})

    async def running(self, owner: str) -> list[Report]:
        """The queued and running reports, by slot."""
        return await self._all(_ACTIVE_OF, {"of_owner": owner})

    async def set_widths(self, report_id: str, columns: tuple[Column, ...]) -> None:
        values = {"report_id": report_id, "new_columns": msgspec.to_builtins(columns)}
        async with self._database.write() as connection:
            await connection.execute(_SET_WIDTHS, values)

    async def request_cancellation(self, report_id: str) -> Report | None:
        """Cancels a queued report, asks the owner of a running one to stop; the row after it."""
        before = await self.get(report_id)
        # The 2nd to the 500th click only read, and do not queue with the writers.
        if before is None or before.status.final or before.cancel_requested:
            return before
        async with self._database.write() as connection:
            for statement in (_CANCEL_QUEUED, _CANCEL_RUNNING, _GET):
                if row := (await connection.execute(statement, {"report_id": report_id})).first():
                    return report_of(row)
        return None

    async def expire(self, report_id: str) -> bool:
        """From now on a final report is there for nobody; False if it is not final, or not there."""
        async with self._database.write() as connection:
            return (await connection.execute(_EXPIRE, {"report_id": report_id})).first() is not None

    async def keep(self, report_id: str, days: float | None) -> Report | None:
        """Until so many days from now, or for ever; the row after it."""
        statement = _KEEP.values(expires_at=_in_days(days))
        async with self._database.write() as connection:
            row = (await connection.execute(statement, {"report_id": report_id})).first()
        return report_of(row) if row else None

    async def _all(self, statement: Select[Any], values: dict[str, object]) -> list[Report]:
        async with self._database.read() as connection:
            return [report_of(row) for row in await connection.execute(statement, values)]


def _in_days(days: float | None) -> ColumnElement[float] | None:
    return None if days is None else now() + days * _DAY
