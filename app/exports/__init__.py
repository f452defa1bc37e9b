"""The formats a report can be downloaded in: one entry here, one file beside, one test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from app.errors import InvalidRequest
from app.exports import csv, ndjson, parquet, xlsx
from app.exports.writing import FileWriter, Options, StreamWriter
from app.model import Column

Columns = Sequence[Column]


@dataclass(frozen=True, slots=True)
class Export:
    """A format. Making a writer raises InvalidRequest where the format cannot hold such columns."""

    name: str  # in EXPORTS
    suffix: str  # of file names, without the dot
    media_type: str
    values: Callable[[Options], dict[str, str]]  # how each kind of value is written, for the manifest
    stream: Callable[[Columns, Options], StreamWriter] | None = None
    file: Callable[[Columns, Options], FileWriter] | None = None
    needs: str | None = None  # a module that may not be installed

    @property
    def streams(self) -> bool:
        """Whether it can be sent while it is made; else it is made as a file."""
        return self.stream is not None

    @property
    def available(self) -> bool:
        return self.needs is None or find_spec(self.needs) is not None


_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

EXPORTS = {
    export.name: export
    for export in (
        Export("csv", "csv", "text/csv; charset=utf-8", csv.values, stream=csv.writer),
        Export("ndjson", "ndjson", "application/x-ndjson", ndjson.values, stream=ndjson.Writer),
        Export("xlsx", "xlsx", _XLSX, xlsx.values, file=xlsx.Writer),
        Export(
            "parquet",
            "parquet",
            "application/vnd.apache.parquet",
            parquet.values,
            file=parquet.Writer,
            needs="pyarrow",
        ),
    )
}


def require_export(name: str) -> Export:
    """Raises InvalidRequest for a format that is not known, or not installed."""
    export = EXPORTS.get(name)
    if export is None or not export.available:
        known = ", ".join(each.name for each in EXPORTS.values() if each.available)
        raise InvalidRequest(f"“{name}” is no format of a file. There are {known}.")
    return export
