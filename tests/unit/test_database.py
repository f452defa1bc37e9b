import asyncio
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from sqlalchemy import func, insert, select, text

from app.database import Database, now
from app.errors import StateUnavailable
from app.migrations import VERSION_TABLE
from app.schema import session


def _session(id_hash: str) -> dict[str, object]:
    return {"id_hash": id_hash, "account": "ann", "created_at": 0.0, "expires_at": 0.0}


async def _sessions(database: Database) -> int:
    async with database.read() as connection:
        count: int = (await connection.execute(select(func.count()).select_from(session))).scalar_one()
    return count


async def test_now_is_the_clock_of_the_database_in_seconds(database: Database) -> None:
    async with database.read() as connection:
        first = (await connection.execute(select(now()))).scalar_one()
        await asyncio.sleep(0.02)
        second = (await connection.execute(select(now()))).scalar_one()
    assert abs(first - time.time()) < 5
    assert 0.01 < second - first < 5


async def test_a_write_is_committed_at_its_end(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(session), _session("1"))
        assert await _sessions(database) == 0
    assert await _sessions(database) == 1


async def test_a_write_that_fails_is_rolled_back_and_the_next_one_works(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as connection:
            await connection.execute(insert(session), _session("1"))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.write() as connection:
        await connection.execute(insert(session), _session("2"))
    assert await _sessions(database) == 1


async def test_a_cancelled_write_is_rolled_back_and_the_next_one_works(database: Database) -> None:
    async def write(id_hash: str) -> None:
        async with database.write() as connection:
            for number in range(1_000):
                await connection.execute(insert(session), _session(f"{id_hash}-{number}"))

    for turn in range(20):
        task = asyncio.create_task(write(str(turn)))
        await asyncio.sleep(turn / 1_000)  # each time at another point of the transaction
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(5), database.write() as connection:
        await connection.execute(insert(session), _session("last"))
    assert await _sessions(database) == 1


async def test_many_writers_queue_and_none_fails(database: Database, node_2: Database) -> None:
    async def write(database: Database, id_hash: str) -> None:
        async with database.write() as connection:
            await connection.execute(insert(session), _session(id_hash))

    nodes = (database, node_2)
    await asyncio.gather(*(write(nodes[number % 2], str(number)) for number in range(200)))
    assert await _sessions(database) == 200


async def test_nodes_that_start_together_migrate_once(state_url: str) -> None:
    databases = await asyncio.gather(*(Database.open(state_url) for _ in range(4)))
    for database in databases:
        assert await _sessions(database) == 0
        await database.close()


async def test_opening_again_keeps_what_is_there(database: Database, state_url: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(session), _session("1"))
    again = await Database.open(state_url)
    assert await _sessions(again) == 1
    await again.close()


async def test_a_table_of_another_application_is_not_touched(database: Database, state_url: str) -> None:
    async with database.write() as connection:
        await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    with pytest.raises(StateUnavailable, match="chunk, which Rowfall did not make"):
        await Database.open(state_url)


async def test_a_database_of_a_newer_version_is_refused(database: Database, state_url: str) -> None:
    async with database.write() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StateUnavailable, match="A newer version"):
        await Database.open(state_url)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
async def test_sqlite_files_are_for_their_owner_only(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path}/state.db")
    async with database.write() as connection:
        await connection.execute(insert(session), _session("1"))
    files = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    await database.close()
    assert {"state.db", "state.db-wal", "state.db-shm"} <= files.keys()
    assert set(files.values()) == {0o600}


async def test_sqlite_connections_are_set_up_to_read_while_one_writes(tmp_path: Path) -> None:
    database = await Database.open(str(tmp_path / "state.db"))
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "auto_vacuum")
    for connecting in (database.read, database.write):
        async with connecting() as connection:
            pragmas = [(await connection.execute(text(f"PRAGMA {name}"))).scalar_one() for name in names]
        assert pragmas == ["wal", 1, 1, 10_000, 2]
    await database.close()


async def test_a_sqlite_write_waits_for_another_process(tmp_path: Path) -> None:
    database = await Database.open(str(tmp_path / "state.db"))
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, other.execute, ["COMMIT"])
    timer.start()
    async with database.write() as connection:
        await connection.execute(insert(session), _session("1"))
    timer.join()
    other.close()
    assert await _sessions(database) == 1
    await database.close()


async def test_sqlite_tells_what_other_processes_wrote_and_leaves_out_its_own_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    one, two = await Database.open(path), await Database.open(path)

    async def write(database: Database, id_hash: str | None) -> None:
        async with database.write() as connection:
            if id_hash:
                await connection.execute(insert(session), _session(id_hash))

    before = await one.data_version()
    await write(one, "1")
    await write(two, None)  # a transaction that writes nothing, as a worker's that finds no report
    assert await one.data_version() == before
    await write(two, "2")
    after = await one.data_version()
    assert after != before
    await write(two, "3")
    await write(one, "4")
    assert await one.data_version() != after
    await one.close()
    await two.close()


async def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match=r"directory of the state database .* does not exist"):
        await Database.open(str(tmp_path / "missing" / "state.db"))


async def test_a_directory_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="Is a directory"):
        await Database.open(str(tmp_path))


async def test_a_missing_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.database.os.open", refuse)
    with pytest.raises(StateUnavailable, match="cannot be opened: Permission denied"):
        await Database.open(str(tmp_path / "state.db"))


async def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("name,price\n" * 1_000)
    with pytest.raises(StateUnavailable, match="file is not a database"):
        await Database.open(str(path))
    assert path.read_text() == "name,price\n" * 1_000


async def test_a_database_with_peoples_data_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    data = sqlite3.connect(path)
    data.execute("CREATE TABLE recordings (id INTEGER PRIMARY KEY)")
    data.close()
    before = path.read_bytes()
    with pytest.raises(StateUnavailable, match="recordings, which Rowfall did not make"):
        await Database.open(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", ["", "sqlite:///", ":memory:", "sqlite:///:memory:", "mysql://host/db"])
async def test_a_place_that_cannot_hold_the_state_is_told(place: str) -> None:
    with pytest.raises(StateUnavailable, match="must be a file's path"):
        await Database.open(place)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:secret@127.0.0.1:1/rowfall",  # nobody listens
        "postgresql://ann:secret@127.0.0.1:port/rowfall",
        "postgresql://ann:secret@127.0.0.1:1/rowfall?sslmode=sometimes",
    ],
)
async def test_an_unreachable_server_is_told_without_the_password(url: str) -> None:
    with pytest.raises(StateUnavailable) as raised:
        await Database.open(url)
    assert raised.value.status == 503
    assert "secret" not in raised.value.sentence
    assert "\n" not in raised.value.sentence


async def test_a_database_missing_on_the_server_is_told(postgresql: str) -> None:
    with pytest.raises(StateUnavailable, match='"missing" does not exist'):
        await Database.open(postgresql.replace("/postgres?", "/missing?"))


async def test_a_missing_permission_on_the_server_is_told(postgresql_url: str) -> None:
    server = await asyncpg.connect(postgresql_url)
    await server.execute(
        "CREATE ROLE nobody LOGIN; GRANT USAGE ON SCHEMA " + _schema(postgresql_url) + " TO nobody"
    )
    with pytest.raises(StateUnavailable, match="permission denied for schema"):
        await Database.open(f"{postgresql_url}&user=nobody".replace("postgres:@", ""))
    await server.execute("DROP OWNED BY nobody; DROP ROLE nobody")
    await server.close()


def _schema(postgresql_url: str) -> str:
    return parse_qs(urlsplit(postgresql_url).query)["search_path"][0]


async def test_a_lost_server_is_told_and_found_again(postgresql_url: str) -> None:
    database = await Database.open(postgresql_url)
    other = await Database.open(f"{postgresql_url}-other")
    assert await _sessions(database) == 0
    async with other.write() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name || '-other' = current_setting('application_name')"
            )
        )
    with pytest.raises(StateUnavailable, match="cannot be used"):
        await _sessions(database)
    assert await _sessions(database) == 0
    await database.close()
    await other.close()
