"""Hints between servers that share a state database: each node has a Database, Hints and Relay of its own."""

import asyncio
import itertools
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from sqlalchemy import insert

from app import hints
from app.database import Database
from app.engines import Connect, postgresql_connect
from app.hints import Hint, Hints
from app.main import running
from app.relay import Relay
from app.schema import session
from app.settings import Settings

VIEWED = hints.chunks("viewed")
PATIENCE = 60  # seconds, for what has to happen
_numbers = itertools.count(1)


class Heard(Hints):
    """Counts what the relay brings."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: Counter[str] = Counter()

    def notify_here(self, topic: str) -> None:
        self.heard[topic] += 1
        super().notify_here(topic)


class Looked(Database):
    """Counts the looks at a SQLite file."""

    looks = 0

    async def data_version(self) -> int:
        self.looks += 1
        return await super().data_version()


class Node:
    def __init__(self, database: Looked) -> None:
        self.database = database
        self.hints = Heard()
        self.relay = Relay(database, self.hints)
        self.serving = asyncio.create_task(self.relay.serve())

    async def tell(self, topic: str) -> None:
        """Writes and gives a hint, as an append does."""
        async with self.database.write() as connection:
            values = {"id_hash": f"s{next(_numbers)}", "account": "ann", "created_at": 0.0, "expires_at": 0.0}
            await connection.execute(insert(session), values)
        self.hints.notify(topic)

    async def stop(self) -> None:
        """At once, whatever the relay was about: the bound is the second it may take, on a slow machine."""
        self.relay.stop()
        async with asyncio.timeout(8):
            await self.serving


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def hears(hint: Hint) -> None:
    async with asyncio.timeout(PATIENCE):
        await hint.wait(2 * PATIENCE)
    hint.clear()


async def is_silent(hint: Hint) -> bool:
    """Whether it was not set until now."""
    try:
        async with asyncio.timeout(0.01):
            await hint.wait(PATIENCE)
    except TimeoutError:
        return True
    return False


async def has_looked(node: Node) -> None:
    """Until it knows what was written before; PostgreSQL tells its own notifications before others."""
    looks = node.database.looks
    if node.database.dialect == "sqlite":
        await until(lambda: node.database.looks >= looks + 3)


async def meet(one: Node, two: Node) -> None:
    """Until hints cross both ways."""
    for here, there in ((one, two), (two, one)):
        with there.hints.listen("chunks:meet") as hint:
            async with asyncio.timeout(PATIENCE):
                while await is_silent(hint):
                    await here.tell("chunks:meet")
                    await hint.wait(0.3)


@asynccontextmanager
async def joined(url: str) -> AsyncIterator[Node]:
    node = Node(await Looked.open(url))
    try:
        yield node
    finally:
        await node.stop()
        await node.database.close()


Join = Callable[..., Awaitable[Node]]


@pytest.fixture
async def join(state_url: str) -> AsyncIterator[Join]:
    async with AsyncExitStack() as stack:

        async def join(url: str = state_url) -> Node:
            return await stack.enter_async_context(joined(url))

        yield join


@pytest.fixture
async def nodes(join: Join) -> tuple[Node, Node]:
    one, two = await join(), await join()
    await meet(one, two)
    return one, two


Nodes = tuple[Node, Node]
on_sqlite = pytest.mark.parametrize("state_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("state_url", ["postgresql"], indirect=True)


@pytest.mark.parametrize("topic", [hints.QUEUE, VIEWED, hints.cancellation("viewed")])
async def test_a_hint_reaches_who_listens_at_another_server(nodes: Nodes, topic: str) -> None:
    one, two = nodes
    with two.hints.listen(VIEWED), two.hints.listen(topic) as hint:
        for _ in range(3):
            await one.tell(topic)
            await hears(hint)


async def test_a_hint_does_not_come_back_to_its_server(nodes: Nodes) -> None:
    one, two = nodes
    with one.hints.listen(VIEWED), two.hints.listen(VIEWED) as other:
        await has_looked(one)  # at what the other one wrote to meet it
        other.clear()
        one.hints.heard.clear()
        for _ in range(5):
            await one.tell(VIEWED)
            await hears(other)
        await has_looked(one)
        assert one.hints.heard[VIEWED] == 5  # each once, within the process


async def test_a_topic_to_which_nobody_listens_is_forgotten_at_once(nodes: Nodes) -> None:
    one, two = nodes
    with two.hints.listen(VIEWED) as hint:
        await one.tell("chunks:of nobody")
        await one.tell(VIEWED)
        await hears(hint)
        assert two.hints.topics() == {VIEWED}
    assert one.relay._topics == set()


async def test_the_last_hints_of_a_server_that_stops_arrive(nodes: Nodes) -> None:
    one, two = nodes
    with two.hints.listen(VIEWED), two.hints.listen(hints.QUEUE) as hint:
        await one.tell(VIEWED)
        # PostgreSQL: until that is on its way, so that the next one has to wait.
        while one.relay._topics:  # noqa: ASYNC110
            await asyncio.sleep(0)
        one.hints.notify(hints.QUEUE)
        await one.stop()
        await hears(hint)
    assert one.hints.forward is None


async def test_servers_carry_each_others_hints(state_url: str) -> None:
    settings = Settings(state=state_url)
    async with running(settings, []) as one, running(settings, []) as two:
        with two.wake.listen(VIEWED) as hint:
            async with asyncio.timeout(PATIENCE):
                while await is_silent(hint):
                    await one.sessions.issue_link("ann")  # writes
                    one.wake.notify(VIEWED)
                    await hint.wait(0.3)


# SQLite


@on_sqlite
async def test_a_file_is_looked_at_only_while_somebody_listens_to_a_report(join: Join) -> None:
    node = await join()
    with node.hints.listen(hints.QUEUE):  # as each worker does
        await until(lambda: node.database.looks == 1)
        await asyncio.sleep(0.5)
        assert node.database.looks == 1
        with node.hints.listen(VIEWED):
            await until(lambda: node.database.looks > 3)


@on_sqlite
async def test_servers_that_write_when_they_are_woken_do_not_wake_each_other_without_end(
    nodes: Nodes,
) -> None:
    now = asyncio.get_running_loop().time

    async def renew(node: Node) -> None:
        """As a runner does; returns after the fourth time."""
        with node.hints.listen(hints.cancellation("r")) as hint:
            for _ in range(4):
                await hears(hint)
                await node.tell("chunks:r")

    start = now()
    renewing = asyncio.gather(*(renew(node) for node in nodes))
    while not renewing.done():
        await nodes[0].tell("chunks:r")  # another report of this server is quick
        await asyncio.sleep(0.02)
    await renewing
    assert now() - start > 2.5


@on_sqlite
async def test_many_writes_of_another_server_are_one_hint_at_a_look(nodes: Nodes) -> None:
    one, two = nodes
    with two.hints.listen(VIEWED) as hint:
        two.hints.heard.clear()
        looks = two.database.looks
        for _ in range(200):
            await one.tell(VIEWED)
        await hears(hint)
        assert 1 <= two.hints.heard[VIEWED] <= two.database.looks - looks


# PostgreSQL


async def _administrator(url: str) -> asyncpg.Connection:
    """Beside the database of the state, which may take no connections."""
    return await asyncpg.connect(url.partition("&")[0].replace("/postgres?", "/template1?"))


async def _lose_lines(url: str) -> int:
    """Ends the server's processes that the relays are connected to; how many those were."""
    server = await _administrator(url)
    ended = await server.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = $1 AND (query LIKE '%pg_notify%' OR query LIKE 'LISTEN%')",
        url.rpartition("=")[2],
    )
    await server.close()
    return len(ended)


@asynccontextmanager
async def refused(url: str) -> AsyncIterator[None]:
    """The database takes no new connections, as while its server restarts."""
    server = await _administrator(url)
    try:
        await server.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        yield
    finally:
        await server.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")
        await server.close()


@asynccontextmanager
async def _passing(url: str) -> AsyncIterator[tuple[str, list[asyncio.Task[None]]]]:
    """An address that leads to the server by a proxy, and the proxy's tasks, which may be cancelled."""
    directory = parse_qs(urlsplit(url).query)["host"][0]
    pumps, writers = list[asyncio.Task[None]](), list[asyncio.StreamWriter]()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(f"{directory}/.s.PGSQL.5432")
        writers.extend((writer, far_writer))
        for source, target in ((reader, far_writer), (far_reader, writer)):
            pumps.append(asyncio.create_task(pump(source, target)))

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    address = f"postgresql://postgres@127.0.0.1:{proxy.sockets[0].getsockname()[1]}/postgres"
    try:
        yield f"{address}?{urlsplit(url).query.partition('&')[2]}&sslmode=disable", pumps
    finally:
        proxy.close()
        for each in pumps:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for writer in writers:
            writer.close()


def _counting(node: Node, connect: Connect) -> list[None]:
    """Connects the node by `connect` from now on; an element for each time."""
    tries = list[None]()

    async def counted() -> asyncpg.Connection:
        tries.append(None)
        return await connect()

    node.database._connect = counted
    return tries


@on_postgresql
async def test_after_a_lost_line_everyone_is_woken_and_hints_cross_again(
    join: Join, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.relay._TEST_SECONDS", 2 * PATIENCE)  # so it is noticed without a test
    one, two = await join(), await join()
    await meet(one, two)
    with one.hints.listen("chunks:quiet") as first, two.hints.listen("chunks:quiet") as second:
        assert await _lose_lines(state_url) == 2
        await hears(first)
        await hears(second)
        await meet(one, two)


@on_postgresql
async def test_a_line_that_falls_silent_is_noticed_and_replaced(
    nodes: Nodes, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.relay._TEST_SECONDS", 0.1)
    monkeypatch.setattr("app.notifications._ANSWER_SECONDS", 2)
    one, two = nodes
    async with _passing(state_url) as (address, passing):
        tries = _counting(one, postgresql_connect(address))
        await _lose_lines(state_url)
        await until(lambda: len(tries) >= 1)
        await meet(one, two)
        before = len(tries)
        with one.hints.listen("chunks:quiet") as hint:
            for pump in passing:  # as when a host is gone without a word: no end, no error
                pump.cancel()
            await hears(hint)
        assert len(tries) > before
        await meet(one, two)
        await one.stop()


@on_postgresql
async def test_while_the_server_is_away_hints_are_dropped_and_the_log_says_it_once(
    nodes: Nodes, state_url: str, postgresql: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one, two = nodes
    assert one.database._connect is not None
    tries = _counting(one, one.database._connect)
    async with refused(postgresql):
        assert await _lose_lines(state_url) == 2
        await until(lambda: len(tries) >= 4)
        one.hints.notify(VIEWED)
        assert one.relay._topics == set()
    await meet(one, two)
    said = Counter(record.message.partition(":")[0] for record in caplog.records)
    assert said["hints of other servers do not arrive for now"] == 2  # each node
    assert said["hints of other servers arrive again"] == 2


@on_postgresql
async def test_a_server_that_stops_does_not_wait_for_the_lost_line(nodes: Nodes, state_url: str) -> None:
    one, _ = nodes
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    tries = _counting(one, postgresql_connect(f"postgresql://ann@127.0.0.1:{port}/state"))  # nobody listens
    await _lose_lines(state_url)
    await until(lambda: len(tries) >= 2)
    await one.stop()


@on_postgresql
async def test_a_server_that_stops_does_not_wait_for_a_host_that_is_silent(
    nodes: Nodes, state_url: str
) -> None:
    one, _ = nodes
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, nobody answers
        address = f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/state?sslmode=disable"
        tries = _counting(one, postgresql_connect(address))
        await _lose_lines(state_url)
        await until(lambda: len(tries) == 1)
        await one.stop()


@on_postgresql
async def test_a_flood_of_hints_is_sent_as_one_of_each_topic(nodes: Nodes) -> None:
    one, two = nodes
    with two.hints.listen("chunks:last") as hint:
        two.hints.heard.clear()
        for number in range(10_000):
            one.hints.notify(f"chunks:{number % 10}")
        assert len(one.relay._topics) == 10
        await until(lambda: not one.relay._topics)
        one.hints.notify("chunks:last")
        await hears(hint)
    assert two.hints.heard == {f"chunks:{number}": 1 for number in range(10)} | {"chunks:last": 1}


@on_postgresql
async def test_many_topics_at_once_all_arrive(nodes: Nodes) -> None:
    one, two = nodes
    two.hints.heard.clear()
    for number in range(10_000):
        one.hints.notify(f"chunks:{number}")
    await until(lambda: len(two.hints.heard) == 10_000)
    assert set(two.hints.heard.values()) == {1}


@on_postgresql
async def test_a_state_in_another_schema_hears_nothing(nodes: Nodes, postgresql: str, join: Join) -> None:
    one, two = nodes
    server = await asyncpg.connect(postgresql)
    await server.execute("CREATE SCHEMA elsewhere")
    url = f"{postgresql}&search_path=elsewhere"
    try:
        async with joined(url) as three, joined(url) as four:
            await meet(three, four)
            four.hints.heard.clear()
            with two.hints.listen(VIEWED) as hint, four.hints.listen("chunks:there") as there:
                await one.tell(VIEWED)
                await hears(hint)
                await three.tell("chunks:there")  # notifications come in the order of their commits
                await hears(there)
            assert four.hints.heard == {"chunks:there": 1}
    finally:
        await server.execute("DROP SCHEMA elsewhere CASCADE")
        await server.close()
