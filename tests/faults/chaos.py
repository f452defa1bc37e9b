"""Many reports on a few nodes, and a fault every moment; at the end all must be final, and right.

    python tests/faults/chaos.py --seconds 600 --engine both --seed 7

The seed decides what happens, the machine when: a seed gives the same faults again, not the same moments.
"""

import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

from postgresql import PostgreSQL
from random_faults import Chaos


def run(folder: Path, seed: int, seconds: float, nodes: int, postgresql: PostgreSQL | None) -> Sequence[str]:
    """The log of the events; AssertionError with the seed and the log where something went wrong."""
    chaos = Chaos(folder, seed, nodes, postgresql)
    try:
        chaos.run(seconds)
    except Exception as error:
        events = "\n".join(chaos.log)
        raise AssertionError(f"{error}\nThe events of --seed {seed}:\n{events}") from error
    finally:
        chaos.cluster.stop()
    return chaos.log


@contextmanager
def _state(engine: str, folder: Path) -> Iterator[PostgreSQL | None]:
    if engine == "sqlite":
        yield None
        return
    server = PostgreSQL(folder / "pg")
    try:
        yield server
    finally:
        server.stop("fast")


@click.command()
@click.option("--seconds", default=600, help="How long, all runs together.")
@click.option("--seed", type=int, help="Of the first run; the next one has the next number.")
@click.option("--nodes", default=3)
@click.option(
    "--engine", type=click.Choice(["sqlite", "postgresql", "both"]), default="both", help="Of the state."
)
@click.option("--run-seconds", default=60, help="How long a run goes on until it has to settle.")
def main(seconds: float, seed: int | None, nodes: int, engine: str, run_seconds: float) -> None:
    """Runs one after the other; the exit status is 1, and the files stay, if one of them finds a fault."""
    seed = random.randrange(10**6) if seed is None else seed
    engines = ["sqlite", "postgresql"] if engine == "both" else [engine]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        chosen = engines[seed % len(engines)]
        folder = Path(tempfile.mkdtemp(prefix="rowfall-chaos-"))
        folder.chmod(0o755)  # PostgreSQL runs as another user where this is root
        click.echo(f"--seed {seed} --nodes {nodes} --engine {chosen}, in {folder}")
        try:
            with _state(chosen, folder) as postgresql:
                events = run(folder, seed, min(run_seconds, until - time.monotonic()), nodes, postgresql)
        except AssertionError:
            traceback.print_exc()
            raise SystemExit(1) from None
        click.echo("\n".join(events[-2:]))
        seed += 1


if __name__ == "__main__":
    main()
