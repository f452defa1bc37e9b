"""A report's row in the state database, as the statements select it and as the value it stands for."""

from typing import Any

import msgspec
from sqlalchemy import Row, and_, case, func, or_, select, text

from app.database import now
from app.model import Column, Report, Spec, Status
from app.schema import ACTIVE, report

_before = report.alias("before")
_ahead = (
    select(func.count())
    .select_from(_before)
    .where(
        ACTIVE,
        _before.c.status == Status.QUEUED,
        or_(
            _before.c.created_at < report.c.created_at,
            and_(_before.c.created_at == report.c.created_at, _before.c.id < report.c.id),
        ),
    )
    .scalar_subquery()
)

# What a change returns, and what a look selects: a look also tells how long the queue is.
CHANGED = (*report.c, now().label("read_at"))
READ = (*CHANGED, case((report.c.status == Status.QUEUED, _ahead), else_=0).label("ahead"))

# What a report gives back when it becomes final, and when that was.
OVER: dict[str, Any] = {
    "slot": None,
    "lease_owner": None,
    "lease_until": 0,
    "trouble": None,
    "finished_at": now(),
}

FINAL = text("status NOT IN ('queued', 'running')")
# A report past its time is gone for everybody, even if its rows are still being removed.
THERE = or_(ACTIVE, report.c.expires_at.is_(None), report.c.expires_at > now())


def report_of(row: Row[*tuple[Any, ...]]) -> Report:
    values = row._asdict()
    values["status"] = Status(values["status"])
    values["spec"] = msgspec.convert(values["spec"], Spec)
    values["columns"] = msgspec.convert(values["columns"], tuple[Column, ...])
    values["notes"] = tuple(values["notes"])
    return Report(**values)
