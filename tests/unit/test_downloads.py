"""Files of reports that are over, while their length is still being found."""

import asyncio
import hashlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app import downloads as module
from app.downloads import Download
from app.exports import EXPORTS
from app.exports.writing import Options
from app.main import Parts, running
from app.model import Report, Status, StoredExport
from app.permissions import LOCAL_USER
from app.settings import Settings
from app.source.sqlite import SqliteSource

ROWS = 5_500
CSV = EXPORTS["csv"]
WHOLE = '"id","name"\r\n' + "".join(f'{number},"ñandú {number}"\r\n' for number in range(1, ROWS + 1))


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        rows = [(number, f"ñandú {number}") for number in range(1, ROWS + 1)]
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        connection.commit()
    values: dict[str, Any] = {"state": str(tmp_path / "state.db"), "auth": "none"}
    async with running(Settings(**values), [SqliteSource("s", path, timeout=0.1)]) as parts:
        yield parts


async def _done(parts: Parts) -> Report:
    report = await parts.reports.request(LOCAL_USER, "s.t")
    async with asyncio.timeout(20):
        while not (report := await parts.reports.get(LOCAL_USER, report.id)).status.final:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (report.status, report.rows) == (Status.DONE, ROWS)
    return report


async def _all(found: Download) -> bytes:
    return b"".join([part async for part in found.body(0, found.size or 0)])


async def _measured(parts: Parts, report: Report) -> None:
    async with asyncio.timeout(20):
        while await parts.downloads.file(report, CSV, Options()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_file_has_a_length_where_it_is_found_soon(parts: Parts) -> None:
    found = await parts.downloads.open(await _done(parts), CSV, Options())
    assert (found.size, found.etag) == (len(WHOLE.encode()), hashlib.sha256(WHOLE.encode()).hexdigest())
    assert await _all(found) == WHOLE.encode()


async def test_a_file_whose_length_takes_long_to_find_is_sent_meanwhile(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0)
    report = await _done(parts)
    found = await parts.downloads.open(report, CSV, Options())
    assert (found.size, found.etag) == (None, None)
    assert await _all(found) == WHOLE.encode()
    await _measured(parts, report)
    later = await parts.downloads.open(report, CSV, Options())
    assert later.size == len(WHOLE.encode())


async def test_the_length_is_found_also_if_nobody_takes_the_file(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0)
    report = await _done(parts)
    assert b"are being found: ask again in a minute" in await parts.downloads.manifest(report, CSV, Options())
    await _measured(parts, report)
    proof = await parts.downloads.manifest(report, CSV, Options())
    assert hashlib.sha256(WHOLE.encode()).hexdigest().encode() in proof
    assert b"ask again" not in proof


async def test_who_needs_a_length_waits_for_it(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0)
    found = await parts.downloads.open(await _done(parts), CSV, Options(), needs_length=True)
    assert found.size == len(WHOLE.encode())


async def test_a_long_file_does_not_keep_one_whose_length_is_known_waiting(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await _done(parts)
    assert (await parts.downloads.open(report, CSV, Options())).size
    async with parts.downloads._measuring:
        async with asyncio.timeout(20):
            assert (await parts.downloads.open(report, CSV, Options())).size
        monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.05)
        found = await parts.downloads.open(report, EXPORTS["ndjson"], Options())
        assert found.size is None
        assert (await _all(found)).count(b"\n") == ROWS


async def test_a_workbook_that_finds_no_room_while_it_is_made_says_so_and_is_made_again(
    parts: Parts, small_disk: Path, fill: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await _done(parts)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    filler = fill(small_disk)
    failed = await _file(parts, report)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.startswith("The server could not write this file: No space left on device (in /")
    filler.unlink()
    made = await _file(parts, report)
    assert (made.status, made.rows) == (Status.DONE, ROWS)


async def _file(parts: Parts, report: Report) -> StoredExport:
    """The workbook, made or failed."""
    found = await parts.exports.request(report.id, report.generation, "xlsx", "")
    async with asyncio.timeout(20):
        while not found.status.final:
            await asyncio.sleep(0.02)
            found = await parts.downloads.file(report, EXPORTS["xlsx"], Options()) or found
    return found


async def test_a_part_of_a_report_is_sent_whole_although_it_ended_early(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0)
    report = await _done(parts)
    async with parts.store._database.write() as connection:
        await connection.execute(text("UPDATE report SET status = 'cancelled', total = 9000"))
    found = await parts.downloads.open(await parts.reports.get(LOCAL_USER, report.id), CSV, Options())
    assert found.name == "s.t-PARTIAL-5500-of-9000.csv"
    assert found.size is None
    assert await _all(found) == WHOLE.encode()
