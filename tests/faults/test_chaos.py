"""Everything at once, by a seed that is told when something goes wrong. `just chaos` goes on for longer."""

import random
import tempfile
from pathlib import Path

import pytest
from chaos import run
from postgresql import PostgreSQL

SECONDS = 22  # on each engine, until everything has to settle


def test_whatever_happens_every_report_ends_and_is_right(engine: str, request: pytest.FixtureRequest) -> None:
    server: PostgreSQL | None = request.getfixturevalue("own_postgresql") if engine == "postgresql" else None
    with tempfile.TemporaryDirectory(prefix="rowfall-chaos-") as folder:
        run(Path(folder), random.randrange(10**6), SECONDS, 2, server)
