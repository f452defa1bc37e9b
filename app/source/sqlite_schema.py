"""What a file's schema tells: whether it is still the same database, and its rows are numbered as before."""

import sqlite3
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema at one moment."""

    version: int  # goes up with every change of a definition, and with VACUUM
    size: int  # of the file, in pages
    shrinks: bool  # the file gives back pages that are no longer needed: auto_vacuum
    starts: dict[tuple[str, bytes], int] = field(default_factory=dict)  # first pages, by type and name

    def is_other_than(self, before: "Schema") -> bool:
        """Whether surely another database was copied over the file, without replacing or locking it.

        SQLite never lowers the version, and makes a file smaller by VACUUM alone, which raises the version.
        One that was copied over it and is as large with the same version looks like a change by the owner.
        """
        if self.version == before.version:
            return self.size < before.size and not self.shrinks
        return self.version < before.version

    def has_numbers_of(self, before: "Schema") -> bool:
        """Whether rows without a declared key are surely numbered as they were: there was no VACUUM.

        VACUUM raises the version by one, and so does at least each definition and each DROP; but VACUUM
        itself neither defines nor drops. So there was none if the version is no higher than what was defined
        or dropped explains. That all else begins at its old page tells a backup restored into the file.
        """
        created = self.starts.keys() - before.starts.keys()
        stayed = self.starts.keys() & before.starts.keys()
        explained = len(created) or int(len(stayed) < len(before.starts))
        return 0 < self.version - before.version <= explained and all(
            self.starts[entry] == before.starts[entry] for entry in stayed
        )


def schema(connection: sqlite3.Connection, starts: bool) -> Schema:
    """As the current snapshot has it; where things begin only if asked for."""
    return Schema(
        _pragma(connection, "schema_version"),
        _pragma(connection, "page_count"),
        bool(_pragma(connection, "auto_vacuum")),
        _starts(connection) if starts else {},
    )


def _starts(connection: sqlite3.Connection) -> dict[tuple[str, bytes], int]:
    # Names as bytes, for they need not be UTF-8. Without what SQLite adds to a definition by itself.
    rows = connection.execute(
        "SELECT type, CAST(name AS BLOB), rootpage FROM main.sqlite_schema"
        r" WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'"
    )
    return {(kind, name): page for kind, name, page in rows}


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
