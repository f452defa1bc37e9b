"""A report that continues another one takes over its chunks: copied in the state database, some at a time.

They are copied, not shared, because each report is deleted on its own day. Each step is a transaction with
its checkpoint, so a new owner goes on where the former one was killed. The cursor comes with the last.
"""

from dataclasses import dataclass

from sqlalchemy import Integer, Text, bindparam, func, insert, select

from app.database import Database
from app.errors import LeaseLost, SourceChanged
from app.leases import add_note
from app.model import Lease, Report
from app.schema import chunk
from app.spool import CHECKPOINT, checkpoint

_AT_ONCE = 25  # chunks in one transaction: about 5 ms on SQLite, between which others write

_slice = (
    chunk.c.report == bindparam("from_report"),
    chunk.c.generation == bindparam("from_generation"),
    chunk.c.number.between(bindparam("first"), bindparam("last")),
)
_rows, _bytes = func.sum(chunk.c.rows), func.sum(func.length(chunk.c.payload))
_SIZE = select(func.count(), func.coalesce(_rows, 0), func.coalesce(_bytes, 0)).where(*_slice)
_COPY = insert(chunk).from_select(
    ["report", "generation", "number", "first_row", "rows", "codec", "payload"],
    select(
        bindparam("to_report", type_=Text),
        bindparam("to_generation", type_=Integer),
        chunk.c.number,
        chunk.c.first_row,
        chunk.c.rows,
        chunk.c.codec,
        chunk.c.payload,
    ).where(*_slice),
)


@dataclass(frozen=True, slots=True)
class Taken:
    chunks: int
    rows: int
    cursor: bytes | None  # of the continued report, once all its chunks are here


class Takeover:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self, lease: Lease, report: Report, number: int, note: str, lease_seconds: float) -> Taken:
        """Copies chunks of `report` from `number` on; with the last ones comes `note`.

        Raises LeaseLost, and SourceChanged if the report was deleted meanwhile.
        """
        last = min(report.chunks, number + _AT_ONCE - 1)
        cursor = report.cursor if last == report.chunks else None
        place = {
            "from_report": report.id,
            "from_generation": report.generation,
            "first": number,
            "last": last,
        }
        async with self._database.write() as connection:
            chunks, rows, size = (await connection.execute(_SIZE, place)).one()
            if chunks != last - number + 1:
                raise SourceChanged(GONE)
            values = checkpoint(lease, 1, number, chunks, rows, size, cursor, lease_seconds)
            if (await connection.execute(CHECKPOINT, values)).first() is None:
                raise LeaseLost
            await connection.execute(_COPY, {**place, "to_report": lease.report, "to_generation": 1})
            if cursor is not None:
                await add_note(connection, lease, note)
        return Taken(chunks, int(rows), cursor)


GONE = "The report that this one continues was deleted. Run it again."
