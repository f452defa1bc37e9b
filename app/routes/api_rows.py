"""The rows of a report as the JSON API gives them."""

from collections.abc import AsyncIterator

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from app.codec import decode
from app.errors import InvalidRequest
from app.exports.ndjson import plain
from app.model import Cell, Report
from app.permissions import User
from app.reports import Reports
from app.spool import Spool


@get("/reports/{report_id:str}/rows")
async def rows(
    report_id: FromPath[str],
    user: NamedDependency[User],
    reports: NamedDependency[Reports],
    spool: NamedDependency[Spool],
    after: FromQuery[int] = 0,
) -> Stream:
    """The rows that are in the spool now, from the one after row number `after`: NDJSON, one array a row."""
    if after < 0:
        raise InvalidRequest("`after` is the number of a row, 0 or more.")
    report = await reports.get(user, report_id)
    return Stream(_rows(spool, report, after), media_type="application/x-ndjson")


async def _rows(spool: Spool, report: Report, after: int) -> AsyncIterator[bytes]:
    if after >= report.rows:
        return
    chunk = await spool.chunk_of_row(report.id, report.generation, after + 1)
    while chunk is not None:
        skipped = max(0, after - chunk.first_row + 1)
        yield b"".join([_line(row) for row in decode(chunk.payload)[skipped:]])
        following = await spool.read(report.id, report.generation, chunk.number, 1)
        chunk = following[0] if following and following[0].number <= report.chunks else None


def _line(row: tuple[Cell, ...]) -> bytes:
    return _encoder.encode([plain(cell) for cell in row]) + b"\n"


_encoder = msgspec.json.Encoder()
