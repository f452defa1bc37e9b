"""The checker finds what it is there to find: a right spool, damaged by hand in one place."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from checker import check, complaints_on
from sources import keys, odd_texts, paced
from state import read

from app.codec import ChunkEncoder, decode
from app.database import Database
from app.leases import Leases
from app.model import CELL_LIMIT, Chunk, Column, Kind, Lease, Spec, Status
from app.report_store import ReportStore
from app.source import open_source
from app.spool import Spool

ROWS, CHUNK_ROWS = 35, 10


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    return {"paced": paced(tmp_path / "paced.db", ROWS, work=1)}


@pytest.fixture
def address(tmp_path: Path, sources: dict[str, Path]) -> str:
    """Of a state with a done report on the names and the ids of `paced.pair`."""
    address = str(tmp_path / "state.db")
    asyncio.run(_fill(address, sources["paced"], "pair", (1, 0)))
    return address


async def _fill(address: str, path: Path, table: str, columns: tuple[int, ...]) -> None:
    database = await Database.open(address)
    store, leases, spool = ReportStore(database), Leases(database), Spool(database)
    source = open_source("paced", str(path))
    dataset = next(each for each in (await source.discover())[0] if each.name == table)
    await store.create("r", "ann", 5, dataset.id, Spec(columns), (Column("", Kind.ANY),) * len(columns))
    claimed = await leases.claim("node-1", 8)
    assert claimed is not None
    lease = Lease("r", claimed.epoch)
    reader = await source.open_reader(dataset, columns, None, CHUNK_ROWS)
    number, row = 1, 1
    while batch := await reader.read():
        await spool.append(lease, Chunk(1, number, row, batch.rows, batch.payload), batch.cursor, 8)
        number, row = number + 1, row + batch.rows
    await reader.close()
    await leases.finish(lease, Status.DONE)
    await database.close()


def damage(address: str, *statements: str, **values: object) -> None:
    with closing(sqlite3.connect(address)) as connection:
        for statement in statements:
            assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def changed(address: str, number: int, change: dict[int, tuple[object, ...]]) -> bytes:
    """The payload of a chunk with other rows at some places."""
    with closing(sqlite3.connect(address)) as connection:
        (payload,) = connection.execute("SELECT payload FROM chunk WHERE number = ?", (number,)).fetchone()
    encoder = ChunkEncoder()
    for place, row in enumerate(decode(payload)):
        encoder.add(change.get(place, row))  # type: ignore[arg-type]
    return encoder.finish()


def test_a_right_spool_is_right(address: str, sources: dict[str, Path]) -> None:
    found = check(address, sources)
    assert [(each["status"], each["rows"]) for each in found.reports] == [("done", ROWS)]
    assert len(found.chunks["r"]) == 4


@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (["DELETE FROM chunk WHERE number = 2"], "next_chunk is 5 and the chunks are [1, 3, 4]"),
        (["DELETE FROM chunk WHERE number = 4"], "next_chunk is 5 and the chunks are [1, 2, 3]"),
        (["UPDATE chunk SET number = 5 WHERE number = 4"], "next_chunk is 5 and the chunks are [1, 2, 3, 5]"),
        (["UPDATE chunk SET first_row = 12 WHERE number = 2"], "chunk 2 begins with row 12 after 10 rows"),
        (["UPDATE chunk SET rows = 9 WHERE number = 1"], "chunk 1 holds 10 rows and says 9"),
        (
            ["INSERT INTO chunk SELECT report, 2, number, first_row, rows, codec, payload FROM chunk"],
            "there are chunks of the generations {2}",
        ),
        (["UPDATE chunk SET codec = 'another'"], "chunk 1 holds 0 rows"),
        (["UPDATE chunk SET report = 'x'"], "chunks of no report: x"),
        (["UPDATE report SET rows = rows + 1, total = rows + 1"], "rows is 36, and its chunks hold 35"),
        (["UPDATE report SET bytes = bytes - 1"], "and its payloads have"),
        (["UPDATE report SET cursor = NULL"], "a cursor is kept"),
        (["UPDATE report SET generation = 2", "UPDATE chunk SET generation = 2"], "was read again"),
        (["UPDATE report SET total = 36"], "a done report has its total"),
        (["UPDATE report SET status = 'lost'"], "the status is a known one"),
        (["UPDATE report SET slot = 1"], "a final report has no slot"),
        (["UPDATE report SET finished_at = NULL"], "a final report has finished"),
        (["UPDATE report SET lease_owner = 'node-1'"], "a final report has no lease"),
        (["UPDATE report SET lease_until = 1"], "a final report has no lease"),
        (["UPDATE report SET trouble = 'A word.'"], "a final report has no trouble"),
        (["UPDATE report SET status = 'failed'"], "an error is told where there is one"),
        (["UPDATE report SET error = 'A word.'"], "an error is told where there is one"),
        (["UPDATE report SET status = 'cancelled'"], "who cancelled asked for it"),
        (["UPDATE report SET finished_at = started_at - 1"], "times come in their order"),
        (["UPDATE report SET status = 'running'"], "an active report has a slot"),
        (["UPDATE report SET status = 'running', slot = 1"], "an active report has not finished"),
        (["UPDATE report SET epoch = 0"], "a queued report was never claimed"),
        (["UPDATE report SET attempts = 5"], "no more than four claims"),
    ],
)
def test_a_damage_is_found(
    address: str, sources: dict[str, Path], statements: list[str], complaint: str
) -> None:
    damage(address, *statements)
    complaints = complaints_on(read(address), sources)
    assert any(complaint in each for each in complaints), complaints


def test_a_done_report_that_is_short_is_found_and_a_cancelled_one_is_right(
    address: str, sources: dict[str, Path]
) -> None:
    shorter = (
        "DELETE FROM chunk WHERE number = 4",
        "UPDATE report SET next_chunk = 4, rows = 30, total = 30,"
        " bytes = (SELECT sum(length(payload)) FROM chunk)",
    )
    damage(address, *shorter)
    assert complaints_on(read(address), sources) == [
        "r on paced.pair, done: it is done with 30 rows, and its source has more",
    ]
    damage(address, "UPDATE report SET status = 'cancelled', cancel_requested = 1, total = 35")
    assert complaints_on(read(address), sources) == []


@pytest.mark.parametrize("row", [("row 1", "p4"), ("row 1", "p3", 1), ("row 1", b"p3"), (None, "p3")])
def test_a_row_that_is_another_than_its_sources_is_found(
    address: str, sources: dict[str, Path], row: tuple[object, ...]
) -> None:
    with closing(sqlite3.connect(sources["paced"])) as connection:
        query = "SELECT name, id FROM pair ORDER BY half, id"
        first = connection.execute(query).fetchone()
    payload = changed(address, 1, {0: row})
    damage(
        address,
        "UPDATE chunk SET payload = :payload WHERE number = 1",
        "UPDATE report SET bytes = (SELECT sum(length(payload)) FROM chunk)",
        payload=payload,
    )
    assert complaints_on(read(address), sources) == [
        f"r on paced.pair, done: row 1 is {row!r} and not {first!r}"
    ]


def test_rows_that_changed_places_or_came_twice_are_found(address: str, sources: dict[str, Path]) -> None:
    expected = keys(sources["paced"], "pair")
    second = decode(changed(address, 2, {}))
    payload = changed(address, 2, {3: second[4], 4: second[4]})
    damage(
        address,
        "UPDATE chunk SET payload = :payload WHERE number = 2",
        "UPDATE report SET bytes = (SELECT sum(length(payload)) FROM chunk)",
        payload=payload,
    )
    (complaint,) = complaints_on(read(address), sources)
    assert "row 14 is" in complaint
    assert repr(expected[14]) in complaint


def test_marked_cells_are_those_of_the_source(tmp_path: Path) -> None:
    path = odd_texts(tmp_path / "paced.db")
    with closing(sqlite3.connect(path)) as connection:
        long = "x" * (CELL_LIMIT + 1)
        connection.execute("INSERT INTO odd VALUES (9000, ?, ?)", (long, long.encode()))
        connection.commit()
    address = str(tmp_path / "state.db")
    asyncio.run(_fill(address, path, "odd", (0, 1, 2)))
    check(address, {"paced": path})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE odd SET bad = CAST(x'ff' AS TEXT) WHERE id = 7")
        connection.commit()
    (complaint,) = complaints_on(read(address), {"paced": path})
    assert "row 7 is" in complaint
