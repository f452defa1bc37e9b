"""All SQL on files made of reports: asked for, made by one process, kept in parts, fetched, forgotten.

A file is made anew from the start by whoever finds the lease of its maker run out; every step of a maker is
guarded by its name, so a former one writes nothing.
"""

from contextlib import suppress
from dataclasses import asdict
from typing import Any

import msgspec
import uuid_utils
from sqlalchemy import Double, Row, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.database import Database, now
from app.errors import LeaseLost, NotFound
from app.model import Made, Status, StoredExport
from app.report_row import FINAL
from app.schema import export, export_part, report

PART_BYTES = 1024 * 1024

_UNFINISHED = (Status.QUEUED, Status.RUNNING)
_by_id = export.c.id == bindparam("export_id")
_lease_end = now() + bindparam("lease_seconds", type_=Double)
_held = and_(_by_id, export.c.status == Status.RUNNING, export.c.lease_owner == bindparam("maker"))

_FIND = select(*export.c, now().label("read_at")).where(
    export.c.report == bindparam("of_report"),
    export.c.generation == bindparam("of_generation"),
    export.c.format == bindparam("of_format"),
    export.c.options == bindparam("of_options"),
)
_AGAIN = (
    update(export)
    .where(_by_id, export.c.status.in_((Status.FAILED, Status.CANCELLED)))
    .values(
        status=Status.QUEUED, error=None, rows=0, cancel_requested=False, created_at=now(), finished_at=None
    )
)
_OLDEST = (
    select(export.c.id)
    .where(
        # So that the file can say how the report ended.
        export.c.report.in_(select(report.c.id).where(FINAL)),
        or_(
            export.c.status == Status.QUEUED,
            and_(export.c.status == Status.RUNNING, export.c.lease_until < now()),
        ),
    )
    .order_by(export.c.created_at, export.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_CLAIM = (
    update(export)
    .where(export.c.id == _OLDEST)
    .values(
        status=Status.RUNNING,
        lease_owner=bindparam("maker"),
        lease_until=_lease_end,
        rows=0,
        started_at=now(),
    )
    .returning(*export.c, now().label("read_at"))
)
_PROGRESS = (
    update(export)
    .where(_held)
    .values(rows=bindparam("so_far"), lease_until=_lease_end)
    .returning(export.c.cancel_requested)
)
_FINISH = (
    update(export)
    .where(_held)
    .values(
        status=bindparam("final"),
        error=bindparam("sentence"),
        size=bindparam("length"),
        sha256=bindparam("sum"),
        manifest=bindparam("proof"),
        lease_owner=None,
        finished_at=now(),
    )
    .returning(export.c.id)
)
_RELEASE_ALL = update(export).where(export.c.status == Status.RUNNING).values(lease_owner=None, lease_until=0)
_RELEASE = _RELEASE_ALL.where(export.c.lease_owner == bindparam("maker"))
_CANCEL = update(export).where(_by_id, export.c.status.in_(_UNFINISHED)).values(cancel_requested=True)
_CANCEL_QUEUED = (
    update(export)
    .where(_by_id, export.c.status == Status.QUEUED)
    .values(status=Status.CANCELLED, finished_at=now())
)
_PART = select(export_part.c.payload).where(
    export_part.c.export == bindparam("export_id"), export_part.c.number == bindparam("which")
)
_DROP_PARTS = delete(export_part).where(export_part.c.export == bindparam("export_id"))
_OLD = select(export.c.id).where(
    export.c.status.not_in(_UNFINISHED), export.c.created_at < now() - bindparam("age", type_=Double)
)


class ExportStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, report: str, generation: int, format_: str, options: str) -> StoredExport | None:
        names = ("of_report", "of_generation", "of_format", "of_options")
        values = dict(zip(names, (report, generation, format_, options), strict=True))
        async with self._database.read() as connection:
            row = (await connection.execute(_FIND, values)).first()
        return _stored(row) if row else None

    async def request(self, report: str, generation: int, format_: str, options: str) -> StoredExport:
        """The file that is there, is being made, or is queued now. Raises NotFound for a deleted report."""
        new = {**_new(report, generation, format_, options), "status": Status.QUEUED}
        statement = self._database.insert(export).values(created_at=now()).on_conflict_do_nothing()
        with suppress(IntegrityError):  # the report was deleted
            async with self._database.write() as connection:
                await connection.execute(statement, new)
        found = await self.find(report, generation, format_, options)
        if found is None:
            raise NotFound(f"The report {report} was deleted.")
        if found.status in (Status.FAILED, Status.CANCELLED):
            async with self._database.write() as connection:
                await connection.execute(_AGAIN, {"export_id": found.id})
            return await self.request(report, generation, format_, options)
        return found

    async def remember(
        self,
        report: str,
        generation: int,
        format_: str,
        options: str,
        *,
        sizes: tuple[int, ...],
        sha256: str,
        rows: int,
        manifest: bytes,
    ) -> None:
        """What is known of a file that was made as it was sent: its next download has a length and a sum."""
        known = {
            **_new(report, generation, format_, options),
            "status": Status.DONE,
            "rows": rows,
            "size": sum(sizes),
            "sha256": sha256,
            "manifest": manifest,
            "sizes": msgspec.msgpack.encode(sizes),
        }
        statement = self._database.insert(export).values(created_at=now(), finished_at=now())
        with suppress(IntegrityError):  # the report was deleted meanwhile
            async with self._database.write() as connection:
                await connection.execute(statement.on_conflict_do_nothing(), known)

    async def claim(self, maker: str, lease_seconds: float) -> StoredExport | None:
        """The oldest file that waits or whose maker went silent; nothing of it is there any more."""
        async with self._database.write() as connection:
            row = (await connection.execute(_CLAIM, {"maker": maker, "lease_seconds": lease_seconds})).first()
            if row is not None:
                await connection.execute(_DROP_PARTS, {"export_id": row.id})
        return _stored(row) if row else None

    async def progress(self, made: Made, part: tuple[int, bytes] | None = None) -> bool:
        """Renews the lease, and adds a part: its number from 0 and its PART_BYTES, of the last one the rest.

        True if somebody asked to cancel. Raises LeaseLost.
        """
        async with self._database.write() as connection:
            requested: bool | None = (await connection.execute(_PROGRESS, asdict(made))).scalar()
            if requested is None:
                raise LeaseLost
            if part is not None:
                values = {"export": made.export_id, "number": part[0], "payload": part[1]}
                await connection.execute(insert(export_part), values)
        return requested

    async def finish(
        self,
        export_id: str,
        maker: str,
        status: Status,
        *,
        error: str | None = None,
        size: int | None = None,
        sha256: str | None = None,
        manifest: bytes | None = None,
    ) -> None:
        """The final status; nothing changes if the lease was lost."""
        values = {
            "export_id": export_id,
            "maker": maker,
            "final": status,
            "sentence": error,
            "length": size,
            "sum": sha256,
            "proof": manifest,
        }
        async with self._database.write() as connection:
            held = (await connection.execute(_FINISH, values)).first() is not None
            if held and status is not Status.DONE:
                await connection.execute(_DROP_PARTS, {"export_id": export_id})

    async def release(self, maker: str) -> None:
        """A graceful stop: what it was making is made by the next at once."""
        async with self._database.write() as connection:
            await connection.execute(_RELEASE, {"maker": maker})

    async def release_all(self) -> None:
        """Only for a server that knows it is alone: whoever held these leases is gone."""
        async with self._database.write() as connection:
            await connection.execute(_RELEASE_ALL)

    async def cancel(self, export_id: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(_CANCEL_QUEUED, {"export_id": export_id})
            await connection.execute(_CANCEL, {"export_id": export_id})

    async def part(self, export_id: str, number: int) -> bytes | None:
        values = {"export_id": export_id, "which": number}
        async with self._database.read() as connection:
            payload: bytes | None = (await connection.execute(_PART, values)).scalar()
        return payload

    async def forget(self, seconds: float) -> None:
        """Files that are older go; they can be made again."""
        async with self._database.read() as connection:
            old = (await connection.execute(_OLD, {"age": seconds})).scalars().all()
        for export_id in old:
            async with self._database.write() as connection:
                await connection.execute(_DROP_PARTS, {"export_id": export_id})
                await connection.execute(delete(export).where(_by_id), {"export_id": export_id})


def _new(*file: object) -> dict[str, object]:
    """Of the report's id, its generation, the format and the options."""
    names = ("report", "generation", "format", "options")
    return {"id": str(uuid_utils.uuid7()), **dict(zip(names, file, strict=True))}


def _stored(row: Row[*tuple[Any, ...]]) -> StoredExport:
    values = row._asdict()
    values["status"] = Status(values["status"])
    values["sizes"] = tuple(msgspec.msgpack.decode(values["sizes"])) if values["sizes"] else ()
    del values["lease_owner"], values["lease_until"]
    return StoredExport(**values)
