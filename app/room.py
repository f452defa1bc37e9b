"""Whether there is room for more rows and files: within the quota, and on the disk of a state file.

The disk is never filled to its end, for deleting needs room, too. Looked up once a second at most; what this
process writes in between is added, so that only other processes can pass the limit, by a second's rows.
"""

import math
import shutil
from pathlib import Path
from time import monotonic

from sqlalchemy import func, select

from app.database import Database
from app.errors import SpoolFull
from app.report_row import THERE
from app.schema import export, report

_FRESH_SECONDS = 1.0

_ROWS = select(func.coalesce(func.sum(report.c.bytes), 0)).where(THERE).scalar_subquery()
# A file that is made as it is sent has sizes, and takes no room.
_FILES = (
    select(func.coalesce(func.sum(export.c.size), 0))
    .where(export.c.report.in_(select(report.c.id).where(THERE)), export.c.sizes.is_(None))
    .scalar_subquery()
)
_USED = select(_ROWS + _FILES)
_WHAT_TO_DO = "Delete reports that nobody needs"


class Room:
    """`quota` and `reserve` in bytes; 0 is none."""

    def __init__(self, database: Database, quota: int = 0, reserve: int = 0) -> None:
        self._database = database
        self._quota, self._reserve = quota, reserve
        self._quota_left = self._disk_left = math.inf  # bytes
        self.look_again()

    def look_again(self) -> None:
        """Something was deleted: the next question is answered from a new look."""
        self._looked_at = -math.inf

    async def take(self, size: int) -> None:
        """Counts `size` bytes that are about to be written. Raises SpoolFull, StateUnavailable."""
        await self.require(size)
        self._quota_left -= size
        self._disk_left -= size

    async def require(self, size: int = 1) -> None:
        """Raises SpoolFull unless so many bytes would fit; and StateUnavailable."""
        if monotonic() - self._looked_at >= _FRESH_SECONDS:
            await self._look()
        if size > self._quota_left:
            raise SpoolFull(
                f"The rows and files of all reports may take {_size(self._quota)}, and those that are here "
                f"leave no room for more. {_WHAT_TO_DO}, or have the setting spool_max_bytes raised."
            )
        if size > self._disk_left:
            raise SpoolFull(
                f"The disk that reports are kept on is nearly full: {_size(self._reserve)} of it stay free. "
                f"{_WHAT_TO_DO}, or make room on that disk."
            )

    async def _look(self) -> None:
        self._looked_at = monotonic()  # first, so that who asks meanwhile does not look, too
        if self._quota:
            async with self._database.read() as connection:
                used = int((await connection.execute(_USED)).scalar_one())
            self._quota_left = self._quota - used
        if self._reserve and self._database.dialect == "sqlite":
            self._disk_left = _free_bytes(self._database.place) - self._reserve


def _free_bytes(path: str) -> int:
    return shutil.disk_usage(Path(path).absolute().parent).free


def _size(count: int) -> str:
    """`256 MiB`."""
    unit = min(3, max(0, (count.bit_length() - 1) // 10))
    return f"{count / 1024**unit:.3g} {('bytes', 'KiB', 'MiB', 'GiB')[unit]}"
