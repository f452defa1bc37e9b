"""The chunks of the reports: appended by the one runner that holds the lease, read by everybody.

The statements are built once: SQLAlchemy then keeps their cache keys, too, from one chunk to the next.
"""

from typing import Any

from sqlalchemy import BigInteger, Double, LargeBinary, Row, Select, bindparam, insert, select, update

from app.codec import CODEC
from app.database import Database, now
from app.errors import LeaseLost
from app.model import Chunk, Extent, Lease
from app.pages import Page
from app.room import Room
from app.schema import HELD, chunk, held, report

# Guards each append; it takes the values of `checkpoint`.
CHECKPOINT = (
    update(report)
    .where(
        HELD,
        report.c.next_chunk == bindparam("expected_chunk"),
        report.c.generation == bindparam("of_generation"),
    )
    .values(
        next_chunk=report.c.next_chunk + bindparam("more_chunks"),
        rows=report.c.rows + bindparam("more_rows", type_=BigInteger),
        bytes=report.c.bytes + bindparam("more_bytes", type_=BigInteger),
        cursor=bindparam("new_cursor", type_=LargeBinary),
        lease_until=now() + bindparam("lease_seconds", type_=Double),
        attempts=0,  # they count claims without progress
        trouble=None,
    )
    .returning(report.c.cancel_requested)
)
_INSERT = insert(chunk)

_of_generation = (
    chunk.c.report == bindparam("of_report"),
    chunk.c.generation == bindparam("of_generation"),
)
_CHUNK = select(chunk.c.generation, chunk.c.number, chunk.c.first_row, chunk.c.rows, chunk.c.payload).where(
    *_of_generation
)
_AFTER = (
    _CHUNK.where(chunk.c.number > bindparam("after")).order_by(chunk.c.number).limit(bindparam("at_most"))
)
_NUMBERED = _CHUNK.where(chunk.c.number == bindparam("which"))
# Walks back from the last chunk without touching payloads: 10 ms for the first of 4,000 chunks.
_LAST_FROM = _CHUNK.where(chunk.c.first_row <= bindparam("row")).order_by(chunk.c.number.desc()).limit(1)
_EXTENTS = (
    select(chunk.c.number, chunk.c.first_row, chunk.c.rows)
    .where(
        *_of_generation,
        chunk.c.number > bindparam("after"),
        chunk.c.first_row.between(bindparam("from_row"), bindparam("to_row")),
    )
    .order_by(chunk.c.number)
    .limit(bindparam("at_most"))
)
_LAST_ROW, _ALL = 2**62, 2**31 - 1


class Spool:
    def __init__(self, database: Database, room: Room | None = None) -> None:
        self._database = database
        self.room = room or Room(database)

    async def append(self, lease: Lease, chunk: Chunk, cursor: bytes | None, lease_seconds: float) -> bool:
        """Adds the next chunk and renews the lease; True if the report's cancellation was requested.

        The checkpoint comes first: it locks the report's row, so a former owner waits here and then finds
        another epoch. Raises LeaseLost, and writes nothing, unless this is the owner's next chunk; SpoolFull.
        """
        size = len(chunk.payload)
        await self.room.take(size)
        values = checkpoint(lease, chunk.generation, chunk.number, 1, chunk.rows, size, cursor, lease_seconds)
        async with self._database.write() as connection:
            requested: bool | None = (await connection.execute(CHECKPOINT, values)).scalar()
            if requested is None:
                raise LeaseLost
            await connection.execute(_INSERT, _values(lease, chunk))
        return requested

    async def read(self, report_id: str, generation: int, after: int, limit: int) -> list[Chunk]:
        """Up to `limit` chunks with a number above `after`, in order."""
        values = {"of_report": report_id, "of_generation": generation, "after": after, "at_most": limit}
        async with self._database.read() as connection:
            return [_chunk(row) for row in await connection.execute(_AFTER, values)]

    async def chunk(self, report_id: str, generation: int, number: int) -> Chunk | None:
        values = {"of_report": report_id, "of_generation": generation, "which": number}
        row = await self._first(_NUMBERED, values)
        return _chunk(row) if row else None

    async def chunk_of_row(self, report_id: str, generation: int, row: int) -> Chunk | None:
        """The chunk that holds the row with this number, from 1."""
        values = {"of_report": report_id, "of_generation": generation, "row": row}
        found = await self._first(_LAST_FROM, values)
        return _chunk(found) if found and row < found.first_row + found.rows else None

    async def extents(
        self, report_id: str, generation: int, page: Page, after: int = 0, limit: int = _ALL
    ) -> list[Extent]:
        """Where the page's chunks with a number above `after` lie, in order; no payload is read."""
        values = {
            "of_report": report_id,
            "of_generation": generation,
            "after": after,
            "from_row": page.first_row,
            "to_row": page.last_row or _LAST_ROW,
            "at_most": limit,
        }
        async with self._database.read() as connection:
            return [Extent(*row) for row in await connection.execute(_EXTENTS, values)]

    async def _first(self, statement: Select[Any], values: dict[str, object]) -> Row[*tuple[Any, ...]] | None:
        async with self._database.read() as connection:
            row: Row[*tuple[Any, ...]] | None = (await connection.execute(statement, values)).first()
        return row


def _chunk(row: Row[*tuple[Any, ...]]) -> Chunk:
    return Chunk(*row)


def checkpoint(
    lease: Lease,
    generation: int,
    number: int,
    chunks: int,
    rows: int,
    size: int,
    cursor: bytes | None,
    lease_seconds: float,
) -> dict[str, object]:
    """The values of CHECKPOINT for so many chunks from `number` on, with payloads of `size` bytes."""
    return {
        **held(lease),
        "expected_chunk": number,
        "of_generation": generation,
        "more_chunks": chunks,
        "more_rows": rows,
        "more_bytes": size,
        "new_cursor": cursor,
        "lease_seconds": lease_seconds,
    }


def _values(lease: Lease, chunk: Chunk) -> dict[str, object]:
    return {
        "report": lease.report,
        "generation": chunk.generation,
        "number": chunk.number,
        "first_row": chunk.first_row,
        "rows": chunk.rows,
        "codec": CODEC,
        "payload": chunk.payload,
    }
