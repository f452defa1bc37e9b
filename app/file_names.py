"""Names of downloaded files: the dataset's, and whether rows are missing."""

import re
from urllib.parse import quote

from app.model import Report, Status

# What Windows does not allow in a name, what ends a line, and what could hide the name's end.
_UNFIT = re.compile(
    r'[\\/:*?"<>|\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)
_DATASET_BYTES = 180  # of the 255 that a name may have; the rest is for what follows


def file_name(report: Report, suffix: str) -> str:
    """`noise.recordings.csv`; `noise.recordings-PARTIAL-12000-of-23453.csv` if it ended early."""
    dataset = _UNFIT.sub("_", report.dataset).lstrip().encode()[:_DATASET_BYTES].decode(errors="ignore")
    partial = ""
    if report.status.final and report.status is not Status.DONE:
        partial = f"-PARTIAL-{report.rows}" + (f"-of-{report.total}" if report.total is not None else "")
    return f"{dataset}{partial}.{suffix}"


def disposition(name: str) -> str:
    """A Content-Disposition as RFC 6266 has it: plain for old programs, whole for all others."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
