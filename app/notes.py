"""What a report says about how it was read: sentences that stay with it."""

from datetime import UTC, datetime

from app.model import Dataset, Report


def time(seconds: float) -> str:
    """Seconds since 1970 as `2026-11-22 12:03:05 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def went_on(why: str, row: int, now: float) -> str:
    return f"{why}. The rows after row {row:,} were read from {time(now)} on."


def read_again(why: str, dataset: Dataset, now: float) -> str:
    return (
        f"{why}, and this {dataset.kind} has no key to go on by, so it was read again from the start "
        f"at {time(now)}."
    )


def continues(earlier: Report, now: float) -> str:
    return (
        f"This report continues an earlier one: the rows up to row {earlier.rows:,} were read by "
        f"{time(earlier.finished_at or earlier.read_at)}, the rows after it from {time(now)} on."
    )


def changed(dataset: Dataset) -> str:
    happened = f"The data changed while this {dataset.kind} was read: "
    if dataset.key:
        return happened + "rows were read at slightly different times, each key once."
    return happened + "the rows are as they stood at the start."
