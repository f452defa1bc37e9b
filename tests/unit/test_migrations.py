from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, text

from app import migrations
from app.codec import CODEC, ChunkEncoder, decode
from app.database import Database
from app.migrations import VERSION_TABLE
from app.model import Spec, Status
from app.report_store import ReportStore
from app.schema import chunk, metadata
from app.spool import Spool

# What compare_metadata does not look at: predicates of indexes, storage, fill factor, cascades.
_DETAILS = {
    "sqlite": f"SELECT name, sql FROM sqlite_master WHERE name <> '{VERSION_TABLE}' AND sql IS NOT NULL",
    "postgresql": """
        SELECT indexname, replace(indexdef, schemaname || '.', '') FROM pg_indexes
        WHERE schemaname = current_schema()
        UNION ALL
        SELECT relname, array_to_string(reloptions, ',') FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
        UNION ALL
        SELECT relname || '.' || attname, concat_ws(' ', format_type(atttypid, NULL), attstorage, attnotnull)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0
        UNION ALL
        SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace
    """,
}


def _differences(connection: Connection) -> list[Any]:
    options = {"version_table": VERSION_TABLE, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _details(connection: Connection) -> set[tuple[str, str]]:
    rows = connection.execute(text(_DETAILS[connection.dialect.name]))
    return {(name, _in_any_order(str(detail))) for name, detail in rows if VERSION_TABLE not in name}


def _in_any_order(detail: str) -> str:
    """SQLite writes a column that was added later after the constraints of its table."""
    parts = " ".join(detail.split()).removesuffix(")").split(",")
    return ", ".join(sorted(part.strip() for part in parts))


async def test_migrating_an_empty_database_gives_the_schema(database: Database) -> None:
    async with database.read() as connection:
        assert await connection.run_sync(_differences) == []


async def test_migrating_gives_the_same_indexes_storage_and_constraints_as_the_schema(
    database: Database,
) -> None:
    async with database.write() as connection:
        migrated = await connection.run_sync(_details)
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        assert await connection.run_sync(_details) == migrated


async def test_what_the_indexes_and_the_storage_are_for_is_there(database: Database) -> None:
    async with database.read() as connection:
        details = dict(await connection.run_sync(_details))
    assert "UNIQUE" in details["report_slot"]
    assert "WHERE" in details["report_slot"]
    assert "WHERE" in details["report_queue"]
    if database.dialect == "postgresql":
        assert details["report"] == "fillfactor=70"
        assert details["chunk.payload"] == "bytea e t"  # e: EXTERNAL
        assert "ON DELETE CASCADE" in details["chunk_report_fkey"]


_OF_0001 = """
INSERT INTO report (id, owner, dataset, spec, columns, status, epoch, lease_until, cancel_requested, attempts,
    generation, next_chunk, rows, bytes, total_kind, notes, created_at)
VALUES ('old', 'ann', 'shop.orders', '{"columns": [0]}', '[{"name": "id", "kind": "integer"}]', 'done', 1, 0,
    false, 0, 1, 2, 2, 9, 'exact', '[]', 1000)
"""


async def test_a_state_database_of_the_first_version_is_brought_up_to_date_with_its_reports(
    state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = migrations.upgrade
    monkeypatch.setattr(migrations, "upgrade", lambda connection: newest(connection, "0001"))
    database = await Database.open(state_url)
    rows = ChunkEncoder()
    rows.add((1,))
    rows.add((2,))
    old = {"report": "old", "generation": 1, "number": 1, "first_row": 1, "rows": 2, "codec": CODEC}
    async with database.write() as connection:
        await connection.execute(text(_OF_0001.replace("{", r"{").replace(":", r"\:")))
        await connection.execute(insert(chunk).values({**old, "payload": rows.finish()}))
    await database.close()
    monkeypatch.undo()
    database = await Database.open(state_url)
    try:
        report = await ReportStore(database).get("old")
        assert report is not None
        assert (report.status, report.rows, report.continues, report.trouble) == (Status.DONE, 2, None, None)
        assert report.expires_at is not None
        assert 29.9 < (report.expires_at - report.read_at) / 86_400 < 30.1  # all the time that was promised
        (found,) = await Spool(database).read("old", 1, 0, 10)
        assert decode(found.payload) == [(1,), (2,)]
        asked = await ReportStore(database).create("new", "ann", 5, "shop.orders", Spec((0,)), report.columns)
        assert asked is not None
    finally:
        await database.close()
