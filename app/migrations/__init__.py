"""Brings a state database to the newest schema, in the transaction of the caller."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect

from app.schema import metadata

# Not Alembic's own name: a PostgreSQL database may hold the tables of another application that uses it.
VERSION_TABLE = "rowfall_version"


def upgrade(connection: Connection, revision: str = "head") -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, revision)


def tables_of_others(connection: Connection) -> set[str]:
    """Tables that Rowfall did not make and that its own would sit among; none once it has moved in.

    A SQLite file with any table is somebody's data, named as the state by mistake.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        return set()
    return tables if connection.dialect.name == "sqlite" else tables & metadata.tables.keys()
