import re
import unicodedata
from email.message import Message
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.file_names import disposition, file_name
from app.model import Report, Spec, Status

_DIRECTION = {"RLE", "LRE", "RLO", "LRO", "PDF", "RLI", "LRI", "FSI", "PDI"}
_MARKS = "\u061c\u200e\u200f"


def _report(dataset: str, status: Status = Status.DONE, rows: int = 0, total: int | None = None) -> Report:
    return Report(
        id="id", owner="ann", slot=None, dataset=dataset, spec=Spec((0,)), columns=(), status=status,
        error_code=None, error=None, lease_owner=None, epoch=1, lease_until=0, cancel_requested=False,
        attempts=0, generation=1, next_chunk=1, cursor=None, rows=rows, bytes=0, total=total,
        total_kind="exact", notes=(), created_at=0, started_at=0, finished_at=0, expires_at=None, read_at=0,
    )  # fmt: skip


@given(st.text())
@example("a/b\\c..\\..\\d")
@example("\N{RIGHT-TO-LEFT OVERRIDE}vsc.exe")
@example("a\x85b\u2028c\u061c")
@example("😀" * 3000)
def test_a_name_is_one_that_every_file_system_takes_and_that_hides_nothing(dataset: str) -> None:
    name = file_name(_report(dataset, Status.FAILED, 10**9, 10**9), "parquet")
    assert name.endswith("-PARTIAL-1000000000-of-1000000000.parquet")
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert not set(name) & set('\\/:*?"<>|')
    for char in name:
        assert unicodedata.category(char) not in ("Cc", "Zl", "Zp"), name
        assert unicodedata.bidirectional(char) not in _DIRECTION, name
        assert char not in _MARKS, name
    assert len(name.encode()) <= 255


@given(st.text())
@example('a"b\\c%20d;e')
@example(" a")
@example("é 😀 \r\nSet-Cookie: a=b")
def test_the_header_gives_the_name_back(dataset: str) -> None:
    name = file_name(_report(dataset), "csv")
    header = disposition(name)
    assert re.fullmatch(r"[\x20-\x7e]+", header)
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
    extended = re.fullmatch(r"attachment; filename=\"([^\"\\]*)\"; filename\*=(UTF-8''[\w.~%-]*)", header)
    assert extended
    assert "%" not in extended[1]
    message = Message()  # the reader of the standard library takes only one of the two
    message["Content-Disposition"] = f"attachment; filename*={extended[2]}"
    assert message.get_filename() == name


def test_a_plain_name_stays_as_it_is() -> None:
    assert file_name(_report("noise.recordings"), "csv") == "noise.recordings.csv"
    assert disposition("noise.recordings.csv") == (
        "attachment; filename=\"noise.recordings.csv\"; filename*=UTF-8''noise.recordings.csv"
    )
    assert file_name(_report("größe.東京 😀"), "xlsx") == "größe.東京 😀.xlsx"


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED, Status.TIMED_OUT])
def test_the_name_says_that_rows_are_missing(status: Status) -> None:
    name = file_name(_report("noise.recordings", status, 12_000, 23_453), "csv")
    assert name == "noise.recordings-PARTIAL-12000-of-23453.csv"
    assert file_name(_report("a.b", status, 12_000), "xlsx") == "a.b-PARTIAL-12000.xlsx"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.DONE])
def test_the_name_says_nothing_of_a_report_that_is_whole_or_may_become_so(status: Status) -> None:
    assert file_name(_report("a.b", status, 12_000, 23_453), "csv") == "a.b.csv"
