"""Names of downloaded files: the dataset's, and whether rows are missing."""

import re
from urllib.parse import quote

from app.model import Report, Status


def file_name(report: Report, suffix: str) -> str:
    """`noise.recordings.csv`; `noise.recordings-PARTIAL-12000-of-23453.csv` if it ended early."""
    # What Windows does not allow in a name, and what could hide its end.
    dataset = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]', "_", report.dataset)
    partial = ""
    if report.status.final and report.status is not Status.DONE:
        partial = f"-PARTIAL-{report.rows}" + (f"-of-{report.total}" if report.total is not None else "")
    return f"{dataset[:180]}{partial}.{suffix}"


def disposition(name: str) -> str:
    """A Content-Disposition as RFC 6266 has it: plain for old programs, whole for all others."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
