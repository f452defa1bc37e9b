"""What a file says of itself: where its rows come from, whether they are all, and how values are written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from app.filters import said
from app.model import Column, Filter, Op, Report, Status

ZONE = "UTC"  # of all times here


@dataclass(frozen=True, slots=True)
class ManifestColumn:
    name: str
    kind: str
    declared: str  # the type as the database spells it, "" if it has none


@dataclass(frozen=True, slots=True)
class ManifestFilter:
    """As the API takes it."""

    column: str
    op: str
    value: str | tuple[str, ...] | None  # several for `in`, None for `isnull` and `notnull`

    @property
    def sentence(self) -> str:
        values = () if self.value is None else self.value if isinstance(self.value, tuple) else (self.value,)
        return said(self.column, Op(self.op), values)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The proof that a file is whole, or how far it goes. Times are ISO 8601 in UTC, None if not known."""

    report: str  # its id
    dataset: str
    status: str  # of the report
    rows_expected: int | None  # None while the exact count is not known
    rows_written: int
    started: str | None
    finished: str | None
    zone: str
    columns: tuple[ManifestColumn, ...]
    filters: tuple[ManifestFilter, ...]  # a row meets all of them
    sort: tuple[str, ...]
    key: tuple[str, ...]  # the columns that order the rows; () if the source has none
    format: str  # a name in EXPORTS
    preset: str | None  # of a CSV
    values: dict[str, str]  # how each kind of value is written
    notes: tuple[str, ...]  # sentences: how the source was read, and what is special in this file
    cut: int = 0  # cells that hold only the start of a longer one
    undecodable: int = 0  # cells whose text is not UTF-8
    sha256: str | None = None  # of the file, hexadecimal; None while not known
    size: int | None = None  # of the file, in bytes

    @property
    def partial(self) -> bool:
        """Whether rows are missing: the report did not come to its end, or not all its rows are written."""
        missing = self.rows_expected is not None and self.rows_written < self.rows_expected
        return missing or self.status != Status.DONE

    def written(self, rows: int, cut: int, undecodable: int, notes: Sequence[str] = ()) -> "Manifest":
        """With what a writer knows at its end."""
        return replace(self, rows_written=rows, cut=cut, undecodable=undecodable, notes=(*self.notes, *notes))

    def to_json(self) -> bytes:
        """Indented, for people too; `partial` comes after the fields above."""
        fields = {**msgspec.to_builtins(self), "partial": self.partial}
        return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"

    def about(self) -> list[tuple[str, str | int | None]]:
        """Label and value of each line of the sheet "About"."""
        expected = "not counted" if self.rows_expected is None else self.rows_expected
        return [
            ("Report", self.report),
            ("Dataset", self.dataset),
            ("Complete", "no, rows are missing" if self.partial else "yes"),
            ("Status", self.status),
            ("Rows expected", expected),
            ("Rows written", self.rows_written),
            ("Started", self.started),
            ("Finished", self.finished),
            ("Time zone", self.zone),
            *([("Filter", each.sentence) for each in self.filters] or [("Filters", "none")]),
            ("Sort", "; ".join(self.sort) or "none"),
            ("Key", ", ".join(self.key) or "none"),
            ("Cells cut", self.cut),
            ("Cells not UTF-8", self.undecodable),
            *(("Note", note) for note in self.notes),
            *((f"Value: {kind}", how) for kind, how in self.values.items()),
            *(
                (f"Column {number}", f"{column.name} ({column.declared or column.kind})")
                for number, column in enumerate(self.columns, 1)
            ),
        ]


def manifest(
    report: Report, key: Sequence[str], name: str, values: dict[str, str], preset: str | None = None
) -> Manifest:
    """Of a file in the format `name`, with the rows that the report has now."""
    return Manifest(
        report=report.id,
        dataset=report.dataset,
        status=report.status,
        rows_expected=report.total,
        rows_written=report.rows,
        started=_time(report.started_at),
        finished=_time(report.finished_at),
        zone=ZONE,
        columns=tuple(_column(column) for column in report.columns),
        filters=tuple(_filter(each) for each in report.spec.filters),
        sort=(),
        key=tuple(key),
        format=name,
        preset=preset,
        values=values,
        notes=report.notes,
    )


def _column(column: Column) -> ManifestColumn:
    return ManifestColumn(column.name, column.kind, column.declared)


def _filter(given: Filter) -> ManifestFilter:
    value = given.values if given.op is Op.IN else next(iter(given.values), None)
    return ManifestFilter(given.name, given.op, value)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
