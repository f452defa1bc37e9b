"""The values that travel between the floors. All are frozen; `docs/words.md` explains the words."""

from dataclasses import dataclass, field
from enum import StrEnum

CELL_LIMIT = 32_768  # characters or bytes of a text or binary cell that are kept; past it it is cut


@dataclass(frozen=True, slots=True)
class Cut:
    """The first CELL_LIMIT characters (text) or bytes (binary) of a longer cell."""

    value: str | bytes


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A text cell whose bytes are not UTF-8; `raw` holds at most CELL_LIMIT bytes of it."""

    raw: bytes


Cell = None | int | float | str | bytes | Cut | Undecodable
Row = tuple[Cell, ...]


class Status(StrEnum):
    """`queued -> running -> done | cancelled | failed | timed_out`; `queued -> cancelled`."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMED_OUT = "timed_out"

    @property
    def final(self) -> bool:
        return self not in (Status.QUEUED, Status.RUNNING)


class Kind(StrEnum):
    """What a column holds, as far as its declaration tells; in SQLite a cell may still hold anything."""

    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BINARY = "binary"
    ANY = "any"

    @property
    def numeric(self) -> bool:
        return self in (Kind.INTEGER, Kind.REAL)


@dataclass(frozen=True, slots=True)
class Column:
    """One column by position; names may be empty or repeated."""

    name: str
    kind: Kind
    declared: str = ""  # the type as the database spells it, "" if it has none
    width: int = 0  # pixels on the page, from the first chunk's content; 0 until then
    right: bool = False  # shown aligned right: the first chunk's cells were numbers
    fixed: bool = False  # a person chose the width


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table, view or saved query of one source."""

    id: str  # "source.name"
    source: str
    name: str  # as the database spells it
    kind: str  # "table", "view" or "query"
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()  # the columns a report is read by and continues from; () = one statement
    sql: str | None = None  # the text of a saved query


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in a source that cannot be offered, and why."""

    name: str
    reason: str


class Op(StrEnum):
    """How a filter compares a cell with its value."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    CONTAINS = "contains"
    STARTSWITH = "startswith"
    ENDSWITH = "endswith"
    IN = "in"
    ISNULL = "isnull"
    NOTNULL = "notnull"


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition that the rows of a report meet; docs/filters.md says when a cell does."""

    column: int  # position in the dataset
    name: str  # of that column when the report was asked for
    declared: str  # likewise
    op: Op
    values: tuple[str, ...] = ()  # any number for IN, none for ISNULL and NOTNULL, else one


@dataclass(frozen=True, slots=True)
class Spec:
    """What a report asks for. `columns` are positions in the dataset; a row meets all filters."""

    columns: tuple[int, ...]
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A report's row in the state database. Times are seconds since 1970 by that database's clock."""

    id: str  # uuid7
    owner: str
    slot: int | None  # which of the owner's places it takes while queued or running
    dataset: str
    spec: Spec
    columns: tuple[Column, ...]  # of the result, in its order
    status: Status
    error_code: str | None
    error: str | None  # a sentence
    lease_owner: str | None
    epoch: int  # goes up with each claim; an append with an older one is refused
    lease_until: float
    cancel_requested: bool
    attempts: int
    generation: int  # which ordered read of the source the chunks belong to, from 1
    next_chunk: int  # number of the chunk to be appended next, from 1
    cursor: bytes | None  # where the source goes on, opaque outside `source`
    rows: int  # rows in the spool
    bytes: int  # size of their payloads
    total: int | None  # None until the exact count is known
    total_kind: str  # "unknown" (not counted yet), "exact", or "uncounted" (counting took too long)
    notes: tuple[str, ...]  # sentences the page shows: "The table changed while it was read."
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    continues: str | None = None  # the report whose chunks this one takes over before it reads on
    trouble: str | None = None  # a sentence: why no rows come now
    read_at: float = 0.0  # when this row was read, by the same clock, so that ages are differences of it
    ahead: int = 0  # reports that are before it in the queue

    @property
    def chunks(self) -> int:
        return self.next_chunk - 1

    @property
    def continuable(self) -> bool:
        """Whether a new report can take over the chunks and read on: it ended early, at a known key."""
        return self.status.final and self.status is not Status.DONE and self.cursor is not None

    @property
    def percent(self) -> int | None:
        """Whole percent; None while the total is unknown, 100 only when the report is done."""
        if self.status is Status.DONE:
            return 100
        if self.total is None:
            return None
        return min(99, self.rows * 100 // self.total) if self.total else 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to append to a report: held by who claimed it in this epoch."""

    report: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a reader hands to the runner: up to `chunk_rows` rows, encoded by `codec`."""

    rows: int
    payload: bytes
    cursor: bytes | None  # continue after this batch from here; None for a keyless source


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a chunk lies in its report."""

    number: int
    first_row: int  # of the report, from 1
    rows: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to 1,000 rows of a report in the spool, numbered from 1 within a generation."""

    generation: int
    number: int
    first_row: int  # of the report, from 1
    rows: int
    payload: bytes = field(repr=False)

    @property
    def extent(self) -> Extent:
        return Extent(self.number, self.first_row, self.rows)


@dataclass(frozen=True, slots=True)
class StoredExport:
    """A file in the state database, or what is known of one that is made as it is sent."""

    id: str
    report: str
    generation: int
    format: str
    options: str
    status: Status
    error: str | None
    cancel_requested: bool
    rows: int  # written so far
    size: int | None  # bytes
    sha256: str | None  # hexadecimal
    manifest: bytes | None  # JSON
    sizes: tuple[int, ...]  # bytes of its beginning, of each chunk, of its end; () for a file in parts
    created_at: float
    started_at: float | None
    finished_at: float | None
    read_at: float


@dataclass(frozen=True, slots=True)
class Made:
    """How far a file is; the fields are those of the statements."""

    export_id: str
    maker: str
    so_far: int  # rows
    lease_seconds: float
