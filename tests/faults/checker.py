"""Replays every spool against its source: *every saved report is a gap-free, duplicate-free prefix of one
ordered read*, and its row in the state database says the same as its chunks.

Of Rowfall's code only the codec is used. The sources are read by plain SQL, and must stand as they stood
while the reports ran.
"""

import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import state
from state import Record, State

from app.codec import CODEC, decode
from app.model import CELL_LIMIT, Cut, Undecodable

ACTIVE = ("queued", "running")
FINAL = ("done", "cancelled", "failed", "timed_out")
_WITH_ERROR = ("failed", "timed_out")

Row = tuple[Any, ...]


def check(address: str, sources: Mapping[str, Path]) -> State:
    """The state at `address`; AssertionError, with every complaint, unless all of its reports are right."""
    found = state.read(address)
    complaints = complaints_on(found, sources)
    assert not complaints, "\n".join(complaints)
    return found


def settle(address: str, sources: Mapping[str, Path], seconds: float = 120) -> State:
    """Waits until every report is final, then checks."""
    deadline = time.monotonic() + seconds
    while waiting := [report for report in state.reports(address) if report["status"] in ACTIVE]:
        assert time.monotonic() < deadline, f"not final after {seconds} s: {waiting}"
        time.sleep(0.2)
    return check(address, sources)


def complaints_on(found: State, sources: Mapping[str, Path]) -> list[str]:
    orphans = set(found.chunks) - {report["id"] for report in found.reports}
    complaints = [f"chunks of no report: {each}" for each in orphans]
    most: Counter[str] = Counter()
    for report in found.reports:
        name = report["dataset"]
        # One more shows that a done report lacks it; of an endless view nobody may ask for it.
        most[name] = max(most[name], report["rows"] + (report["status"] == "done"))
    originals = {}
    for name, rows in most.items():
        source, _, table = name.partition(".")
        originals[name] = Original(sources[source], table, rows)
    for report in found.reports:
        name = report["dataset"]
        said = [*_of_row(report), *_of_chunks(report, found.chunks.get(report["id"], []), originals[name])]
        complaints += [f"{report['id']} on {name}, {report['status']}: {each}" for each in said]
    return complaints


class Original:
    """The first `limit` rows of a table or view as it stands in its file, in the order of a report."""

    def __init__(self, path: Path, name: str, limit: int) -> None:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        ) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            self._order = _order(connection, name)
            query = f"SELECT * FROM {_quoted(name)}{self._order} LIMIT ?"
            self.rows = connection.execute(query, (limit,)).fetchall()

    @property
    def keyed(self) -> bool:
        return self._order != ""


def _order(connection: sqlite3.Connection, name: str) -> str:
    """The key's columns of a table without row ids, else the row id, nothing for a view."""
    kind, without_rowid = next(
        (row[2], row[4]) for row in connection.execute("PRAGMA main.table_list") if row[1] == name
    )
    if kind == "view":
        return ""
    if not without_rowid:
        return " ORDER BY rowid"
    columns = connection.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
    key = sorted((column[5], column[1]) for column in columns if column[5])
    return " ORDER BY " + ", ".join(_quoted(column) for _, column in key)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# The report's row


def _of_row(report: Record) -> Iterator[str]:
    rules = _FINAL_RULES if report["status"] in FINAL else _ACTIVE_RULES
    for rule, holds in {**rules, **_RULES}.items():
        if not holds(report):
            yield f"{rule}: {_brief(report)}"


def _brief(report: Record) -> Record:
    left_out = ("spec", "columns", "cursor", "id", "dataset")
    return {name: value for name, value in report.items() if name not in left_out}


_Rules = dict[str, Callable[[Record], bool]]

_RULES: _Rules = {
    "the status is a known one": lambda r: r["status"] in ACTIVE + FINAL,
    "an error is told where there is one, and only there": lambda r: (
        (r["status"] in _WITH_ERROR) == bool(r["error"]) == bool(r["error_code"])
    ),
    "a queued report was never claimed, any other was, unless it was cancelled": lambda r: (
        r["status"] == "cancelled"
        or (r["status"] == "queued") == (r["epoch"] == 0) == (r["started_at"] is None)
    ),
    "who cancelled asked for it": lambda r: r["status"] != "cancelled" or r["cancel_requested"],
    "times come in their order": lambda r: _ascending([r["created_at"], r["started_at"], r["finished_at"]]),
    "no more than four claims without a chunk": lambda r: 0 <= r["attempts"] <= 4,
}
_ACTIVE_RULES: _Rules = {
    "an active report has a slot": lambda r: r["slot"] is not None,
    "an active report has not finished": lambda r: r["finished_at"] is None,
}
_FINAL_RULES: _Rules = {
    "a final report has no slot": lambda r: r["slot"] is None,
    "a final report has finished": lambda r: r["finished_at"] is not None,
    "a final report has no lease": lambda r: r["lease_owner"] is None and r["lease_until"] == 0,
    "a final report has no trouble any more": lambda r: r["trouble"] is None,
    "a done report has its total": lambda r: (
        r["status"] != "done" or (r["total"] == r["rows"] and r["total_kind"] == "exact")
    ),
}


def _ascending(times: Sequence[float | None]) -> bool:
    known = [each for each in times if each is not None]
    # SQLite's clock counts in milliseconds, and a day's fraction loses a little of them.
    return all(later - earlier > -0.01 for earlier, later in itertools.pairwise(known))


# Its chunks


def _of_chunks(report: Record, chunks: Sequence[Record], original: Original) -> Iterator[str]:
    if generations := {chunk["generation"] for chunk in chunks} - {report["generation"]}:
        yield f"there are chunks of the generations {generations}, and it is in {report['generation']}"
    chunks = [chunk for chunk in chunks if chunk["generation"] == report["generation"]]
    if (numbers := [chunk["number"] for chunk in chunks]) != list(range(1, report["next_chunk"])):
        yield f"next_chunk is {report['next_chunk']} and the chunks are {numbers}"
    if chunks:
        yield from _of_key(report, original)
    if (size := sum(len(chunk["payload"]) for chunk in chunks)) != report["bytes"]:
        yield f"bytes is {report['bytes']}, and its payloads have {size}"
    rows: list[Row] = []
    for chunk in chunks:
        if chunk["first_row"] != len(rows) + 1:
            yield f"chunk {chunk['number']} begins with row {chunk['first_row']} after {len(rows)} rows"
        decoded = decode(chunk["payload"]) if chunk["codec"] == CODEC else []
        if not 0 < len(decoded) == chunk["rows"]:
            yield f"chunk {chunk['number']} holds {len(decoded)} rows and says {chunk['rows']}"
        rows += decoded
    yield from _of_rows(report, rows, original)


def _of_key(report: Record, original: Original) -> Iterator[str]:
    if original.keyed and report["generation"] != 1:
        yield f"a source with a key was read again: generation {report['generation']}"
    if original.keyed != (report["cursor"] is not None):
        yield "a cursor is kept for a source with a key, and only for such"


def _of_rows(report: Record, rows: Sequence[Row], original: Original) -> Iterator[str]:
    if len(rows) != report["rows"]:
        yield f"rows is {report['rows']}, and its chunks hold {len(rows)}"
    if report["status"] == "done" and len(rows) < len(original.rows):
        yield f"it is done with {len(rows)} rows, and its source has more"
    if len(rows) > len(original.rows):
        yield f"it has {len(rows)} rows, and its source {len(original.rows)}"
    for number, (row, source_row) in enumerate(zip(rows, original.rows, strict=False), 1):
        expected = tuple(source_row[position] for position in report["spec"]["columns"])
        if len(row) != len(expected) or not all(map(_same, row, expected)):
            yield f"row {number} is {row!r:.200} and not {expected!r:.200}"
            return  # after a gap all others differ too


def _same(cell: object, expected: object) -> bool:
    match cell, expected:
        case Undecodable(raw=raw), str():
            return raw == expected.encode("utf-8", "surrogateescape")[:CELL_LIMIT]
        case Cut(value=start), str() | bytes():
            return len(expected) > CELL_LIMIT and start == expected[:CELL_LIMIT]
    return type(cell) is type(expected) and cell == expected
