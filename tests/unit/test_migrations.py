from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from app.database import Database
from app.migrations import VERSION_TABLE
from app.schema import metadata

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
