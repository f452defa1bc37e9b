"""Forms that ask for a report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from app import filters
from app.model import Report


@dataclass(frozen=True, slots=True)
class Form:
    """What is posted to `action`: fields that nobody sees."""

    action: str
    fields: Sequence[tuple[str, str]] = ()


def report_form(dataset: str, fields: Iterable[tuple[str, str]]) -> Form:
    """Asks for a report on the dataset; `fields` are columns (`col`), filters, and `download`.

    Browsers send each line break of a field as CR LF. What has one goes by the address, as it is.
    """
    asked = list(fields)
    action = f"/reports?dataset={quote(dataset, safe='')}"
    if any("\n" in text or "\r" in text for field in asked for text in field):
        return Form(f"{action}&{urlencode(asked)}", (("dataset", dataset),))
    return Form(action, (("dataset", dataset), *asked))


def once_more(report: Report) -> Form:
    """Asks for the same report. Where names are repeated it is all columns: a name means the first."""
    names = [column.name for column in report.columns]
    columns = [("col", name) for name in names] if len(set(names)) == len(names) else []
    return report_form(report.dataset, [*columns, *filters.pairs(report.spec.filters)])
