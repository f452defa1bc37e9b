"""A report's progress in words and numbers, as the page shows it."""

from dataclasses import dataclass

from app.model import Report, Status, StoredExport

_LABELS = {
    Status.QUEUED: "Waiting",
    Status.RUNNING: "Running",
    Status.DONE: "Done",
    Status.CANCELLED: "Cancelled",
    Status.FAILED: "Failed",
    Status.TIMED_OUT: "Timed out",
}


@dataclass(frozen=True, slots=True)
class Progress:
    percent: int | None  # None: the total is not known
    label: str  # the status in a word or two
    text: str  # "12,000 of 23,453 rows, 51 %, about 2 s left"
    rate: str  # "48,000 rows/s", or ""
    title: str  # what the browser's tab begins with: "51 %"


def describe(report: Report) -> Progress:
    return Progress(report.percent, _label(report), _text(report), _rate(report), _title(report))


def _label(report: Report) -> str:
    return "Reconnecting" if report.trouble else _LABELS[report.status]


def duration(report: Report) -> float | None:
    """Seconds from the start of reading to the end, or until now; None before it started."""
    if report.started_at is None:
        return None
    return max(0.0, (report.finished_at or report.read_at) - report.started_at)


def spoken(seconds: float) -> str:
    """`0.8 s`, `12 s`, `3 min 5 s`, `5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes and not rest:
        return f"{minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _text(report: Report) -> str:
    if report.status is Status.QUEUED:
        return _waiting(report.ahead)
    if report.status is Status.DONE:
        took = f" in {spoken(duration(report) or 0)}"
        return rows(report.rows) + took if report.rows else "No data"
    if report.status is Status.RUNNING:
        return _running(report)
    return f"{_LABELS[report.status]} at {_rows_of_total(report)}"


def _waiting(ahead: int) -> str:
    if not ahead:
        return "Waiting for a free runner, next in line"
    return f"Waiting for a free runner, {ahead:,} {'report' if ahead == 1 else 'reports'} before it"


def _running(report: Report) -> str:
    if not report.rows:
        return "Reading the first rows"
    if not _total_holds(report):
        return f"{rows(report.rows)} so far"
    return f"{_rows_of_total(report)}, {report.percent} %{_left(report)}"


def _rows_of_total(report: Report) -> str:
    return f"{report.rows:,} of {rows(report.total or 0)}" if _total_holds(report) else rows(report.rows)


def _total_holds(report: Report) -> bool:
    # The count is a read of its own: rows that came in later may take a report past it.
    return report.total is not None and report.rows <= report.total


def _left(report: Report) -> str:
    took = duration(report)
    if not took or not report.rows or report.total is None:
        return ""
    return _about((report.total - report.rows) * took / report.rows)


def file_left(file: StoredExport, rows: int) -> str:
    """`, about 12 s left` of a file with so many rows in the end; "" while nothing is known."""
    if file.started_at is None or not file.rows:
        return ""
    return _about((rows - file.rows) * (file.read_at - file.started_at) / file.rows)


def _about(left: float) -> str:
    return f", about {spoken(max(1, round(left)) if left < 10 else left).replace('.0 s', ' s')} left"


def _rate(report: Report) -> str:
    took = duration(report)
    return f"{report.rows / took:,.0f} rows/s" if took and report.rows else ""


def _title(report: Report) -> str:
    if report.status is Status.RUNNING:
        return f"{report.rows:,} rows" if report.percent is None else f"{report.percent} %"
    return _LABELS[report.status]
