"""What stands in a state database, read without Rowfall: SQLite or PostgreSQL, in one snapshot."""

import asyncio
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

Record = dict[str, Any]  # a row by its columns' names

_REPORTS = "SELECT * FROM report ORDER BY created_at, id"
_CHUNKS = "SELECT * FROM chunk ORDER BY report, generation, number"
_HOLDERS = """
    SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'
    AND backend_xid IS NOT NULL
"""
_JSON = ("spec", "columns", "notes")


@dataclass
class State:
    reports: list[Record]
    chunks: dict[str, list[Record]] = field(default_factory=dict)  # of a report, in order


def read(address: str) -> State:
    """`address` is a file's path or a `postgresql://` address."""
    reports, chunks = _select(address, _REPORTS, _CHUNKS)
    by_report = defaultdict(list)
    for each in chunks:
        by_report[each["report"]].append(each)
    return State([_parsed(report) for report in reports], by_report)


def reports(address: str) -> list[Record]:
    """The reports alone, without their chunks."""
    return [_parsed(report) for report in _select(address, _REPORTS)[0]]


def named(address: str, application: str) -> str:
    """The address for a program that PostgreSQL is to know by this name."""
    return f"{address}&application_name={application}" if _is_postgresql(address) else address


def is_held(address: str, application: str) -> bool:
    """Whether a transaction that has written something is open: on PostgreSQL of this program, on SQLite
    of anybody for longer than a write takes.
    """
    if _is_postgresql(address):
        time.sleep(0.05)  # what it asked for before it was paused is answered by then
        return bool(asyncio.run(_rows(address, [_HOLDERS], application))[0])
    with closing(sqlite3.connect(address, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def _is_postgresql(address: str) -> bool:
    return address.startswith("postgresql:")


def _select(address: str, *queries: str) -> list[list[Record]]:
    if _is_postgresql(address):
        return asyncio.run(_rows(address, queries))
    return _from_sqlite(Path(address), queries)


def _from_sqlite(path: Path, queries: Sequence[str]) -> list[list[Record]]:
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=30, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        return [[dict(row) for row in connection.execute(query).fetchall()] for query in queries]


async def _rows(address: str, queries: Sequence[str], *values: object) -> list[list[Record]]:
    connection = await asyncpg.connect(address)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [[dict(row) for row in await connection.fetch(query, *values)] for query in queries]
    finally:
        await connection.close()


def _parsed(report: Record) -> Record:
    """SQLite gives a truth value as a number, both give JSON as text."""
    parsed = {name: json.loads(report[name]) for name in _JSON}
    return report | parsed | {"cancel_requested": bool(report["cancel_requested"])}
