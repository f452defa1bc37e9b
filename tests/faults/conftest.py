"""Faults, on real processes: servers that are killed, stopped and woken, a PostgreSQL server that is shot.

After each test the checker replays what stands in the spool against the sources. Of the browser's tests
these share the server process (`serving`) and the making of files (`tables`).
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# The test files share a few modules that lie beside them, and two of tests/e2e.
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster, Start
from postgresql import PostgreSQL
from sources import endless, odd_texts, paced


@pytest.fixture(scope="session")
def own_postgresql() -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="rowfall-pg-") as folder:
        server = PostgreSQL(Path(folder, "data"))
        yield server
        server.stop("fast")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Of the state database."""
    return str(request.param)


@pytest.fixture
def address(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty state database."""
    if engine == "sqlite":
        return str(tmp_path / "state.db")
    server: PostgreSQL = request.getfixturevalue("own_postgresql")
    return server.new_database()


@pytest.fixture(scope="session")
def source_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """`paced`, `endless` and `odd`; nobody changes them."""
    folder = tmp_path_factory.mktemp("sources")
    return (
        paced(folder / "paced.db"),
        endless(folder / "endless.db"),
        odd_texts(folder / "odd.db"),
    )


@pytest.fixture
def start(address: str, source_files: tuple[Path, ...], tmp_path: Path) -> Iterator[Start]:
    """Starts so many nodes; those that are left at the end are killed."""
    clusters: list[Cluster] = []

    def start(nodes: int, **settings: object) -> Cluster:
        clusters.append(Cluster(tmp_path, address, *source_files, **settings))
        return clusters[-1].start(nodes)

    yield start
    for cluster in clusters:
        cluster.stop()
