"""PostgreSQL's notifications: a connection that hears those of other processes and sends this one's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress

import asyncpg

from app.engines import Connect

Send = Callable[[Collection[str]], Awaitable[None]]

_ANSWER_SECONDS = 5
_CLOSE_SECONDS = 0.5
# A channel belongs to the whole database, in which several schemas may hold a state each.
_CHANNEL = "SELECT 'rowfall_' || oid, pg_backend_pid() FROM pg_namespace WHERE nspname = current_schema()"
_NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"


@asynccontextmanager
async def line(
    connect: Connect, heard: Callable[[str], None], lost: Callable[[], None]
) -> AsyncIterator[Send]:
    """A connection of its own; yields what sends payloads over it, in one round trip, or none to test it.

    `heard` gets each payload of other connections, `lost` is called when the connection ends. Raises the
    driver's errors.
    """
    connection = await connect()
    try:
        channel = await _listen(connection, heard)
        connection.add_termination_listener(lambda _: lost())

        async def send(payloads: Collection[str]) -> None:
            await connection.execute(_NOTIFY, channel, list(payloads), timeout=_ANSWER_SECONDS)

        yield send
    finally:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.close(timeout=_CLOSE_SECONDS)


async def _listen(connection: asyncpg.Connection, heard: Callable[[str], None]) -> str:
    # A notification is a commit, and would wait for the disk; it may be lost.
    await connection.execute("SET synchronous_commit = off")
    channel, own = await connection.fetchrow(_CHANNEL)

    def receive(_: object, pid: int, channel: str, payload: str) -> None:
        if pid != own:
            heard(payload)

    await connection.add_listener(channel, receive)
    return str(channel)
