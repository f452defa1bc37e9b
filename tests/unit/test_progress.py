from dataclasses import replace

import pytest

from app.model import Report, Spec, Status, StoredExport
from app.progress import describe, duration, file_left, spoken

running = Report(
    id="r",
    owner="o",
    slot=1,
    dataset="noise.recordings",
    spec=Spec((0,)),
    columns=(),
    status=Status.RUNNING,
    error_code=None,
    error=None,
    lease_owner="n",
    epoch=1,
    lease_until=0,
    cancel_requested=False,
    attempts=1,
    generation=1,
    next_chunk=13,
    rows=12_000,
    bytes=1,
    total=23_453,
    total_kind="exact",
    cursor=None,
    notes=(),
    created_at=100.0,
    started_at=100.0,
    finished_at=None,
    expires_at=None,
    read_at=102.0,
)


def test_a_running_report_tells_rows_total_percent_rate_and_time_left() -> None:
    progress = describe(running)
    assert progress.text == "12,000 of 23,453 rows, 51 %, about 2 s left"
    assert progress.rate == "6,000 rows/s"
    assert progress.title == "51 %"
    assert progress.percent == 51


def test_without_a_total_there_is_no_percentage() -> None:
    progress = describe(replace(running, total=None, total_kind="uncounted"))
    assert progress.text == "12,000 rows so far"
    assert progress.percent is None
    assert progress.title == "12,000 rows"


def test_rows_past_the_count_are_not_shown_as_more_than_all() -> None:
    assert describe(replace(running, total=11_000)).text == "12,000 rows so far"


def test_a_hundred_percent_is_shown_only_when_done() -> None:
    assert describe(replace(running, rows=23_453)).percent == 99
    done = replace(running, status=Status.DONE, rows=23_453, finished_at=100.94)
    assert describe(done).percent == 100
    assert describe(done).text == "23,453 rows in 0.9 s"


def test_a_cancelled_report_says_where() -> None:
    cancelled = replace(running, status=Status.CANCELLED, finished_at=101.0)
    assert describe(cancelled).text == "Cancelled at 12,000 of 23,453 rows"
    assert describe(replace(cancelled, total=None)).text == "Cancelled at 12,000 rows"
    assert describe(replace(cancelled, status=Status.TIMED_OUT)).text == "Timed out at 12,000 of 23,453 rows"


def test_an_empty_result_says_no_data() -> None:
    assert (
        describe(replace(running, status=Status.DONE, rows=0, total=0, finished_at=100.1)).text == "No data"
    )


def test_one_row_is_not_called_rows() -> None:
    done = replace(running, status=Status.DONE, rows=1, total=1, finished_at=100.0)
    assert describe(done).text == "1 row in 0.0 s"


def test_a_report_whose_source_is_away_says_so() -> None:
    assert (
        describe(replace(running, trouble="It is away. Trying again in 2 s (2 of 3).")).label
        == "Reconnecting"
    )


def test_a_report_that_waits_says_so() -> None:
    queued = replace(running, status=Status.QUEUED, started_at=None, rows=0)
    assert describe(queued).text == "Waiting for a free runner, next in line"
    assert describe(replace(queued, ahead=1)).text == "Waiting for a free runner, 1 report before it"
    assert describe(replace(queued, ahead=12)).text == "Waiting for a free runner, 12 reports before it"
    assert duration(queued) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.7, "1 min"), (185, "3 min 5 s")]
)
def test_durations_are_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_a_file_tells_how_long_it_still_takes_once_it_has_rows() -> None:
    file = StoredExport(
        id="f",
        report="r",
        generation=1,
        format="xlsx",
        options="",
        status=Status.RUNNING,
        error=None,
        cancel_requested=False,
        rows=0,
        size=None,
        sha256=None,
        manifest=None,
        sizes=(),
        created_at=90.0,
        started_at=100.0,
        finished_at=None,
        read_at=104.0,
    )
    assert file_left(file, 1_000) == ""
    assert file_left(replace(file, rows=250), 1_000) == ", about 12 s left"
    assert file_left(replace(file, rows=250, started_at=None), 1_000) == ""
