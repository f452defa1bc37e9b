"""The tables of the state database. Times are seconds since 1970 by that database's clock."""

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    event,
    text,
)

from app.model import Lease

metadata = MetaData()

# The predicate of the partial indexes. Both engines use such an index only for a query that repeats it
# with constants (a bound value cannot be proved to match), so statements on active reports include this.
ACTIVE = text("status IN ('queued', 'running')")

report = Table(
    "report",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("slot", Integer),
    Column("dataset", Text, nullable=False),
    # JSON, not JSONB: a NUL in a column's name is legal in SQLite, and JSONB refuses it.
    Column("spec", JSON, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("status", Text, nullable=False, default="queued"),
    Column("error_code", Text),
    Column("error", Text),
    Column("lease_owner", Text),
    Column("epoch", Integer, nullable=False, default=0),
    # Never index lease_until: each append and heartbeat would then rewrite every index of the row.
    Column("lease_until", Double, nullable=False, default=0.0),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("generation", Integer, nullable=False, default=1),
    Column("next_chunk", Integer, nullable=False, default=1),
    Column("rows", BigInteger, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("total", BigInteger),
    Column("total_kind", Text, nullable=False, default="unknown"),
    Column("cursor", LargeBinary),
    Column("notes", JSON, nullable=False, default=[]),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("expires_at", Double),  # NULL: kept until it is deleted
    Column("continues", Text),  # the report whose chunks this one takes over before it reads on
    Column("trouble", Text),  # why no rows come now
    # The limit of running reports a person: a slot cannot be taken twice, whatever the race.
    Index("report_slot", "owner", "slot", unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE),
    Index("report_queue", "created_at", sqlite_where=ACTIVE, postgresql_where=ACTIVE),
    Index("report_history", "owner", "created_at"),
    # Room on each page for the next version of its rows: a running report is updated with every chunk.
    postgresql_with={"fillfactor": 70},
)

chunk = Table(
    "chunk",
    metadata,
    Column("report", Text, ForeignKey("report.id", ondelete="CASCADE"), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_row", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("codec", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # last, so that SQLite finds the others on its first page
)

# Payloads are compressed already; trying again costs PostgreSQL time with every append.
event.listen(
    chunk,
    "after_create",
    DDL("ALTER TABLE chunk ALTER COLUMN payload SET STORAGE EXTERNAL").execute_if(  # type: ignore[no-untyped-call]
        dialect="postgresql"
    ),
)

summary = Table(
    "summary",
    metadata,
    Column("report", Text, ForeignKey("report.id", ondelete="CASCADE"), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # of app/figures.py
)

# A file made of a report's rows. Of a format that is sent while it is made only its length and sum are kept,
# of the others the file itself, in parts.
export = Table(
    "export",
    metadata,
    Column("id", Text, primary_key=True),
    Column("report", Text, ForeignKey("report.id", ondelete="CASCADE"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("lease_owner", Text),
    Column("lease_until", Double, nullable=False, default=0.0),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("rows", BigInteger, nullable=False, default=0),
    Column("size", BigInteger),
    Column("sha256", Text),
    Column("manifest", LargeBinary),
    Column("sizes", LargeBinary),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Index("export_file", "report", "generation", "format", "options", unique=True),
)

export_part = Table(
    "export_part",
    metadata,
    Column("export", Text, ForeignKey("export.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("id_hash", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

sign_in_token = Table(
    "sign_in_token",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
)

# The guard of every statement of a lease's owner; it takes the values of `held(lease)`.
HELD = and_(
    report.c.id == bindparam("lease_report"),
    report.c.epoch == bindparam("lease_epoch"),
    report.c.status == "running",
)


def held(lease: Lease) -> dict[str, object]:
    return {"lease_report": lease.report, "lease_epoch": lease.epoch}
