"""The `rowfall` command."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from app import __version__, demo
from app.errors import RowfallError
from app.settings import Settings, load
from app.source import Source, open_source

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEMO_FILE = Path("rowfall-demo.db")


class _Failure(click.ClickException):
    def show(self, file: Any = None) -> None:
        click.echo(f"rowfall: {self.message}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rowfall")
def cli() -> None:
    """Any table, view or saved query of a database as a report that streams into the page."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _server_options(command: _Command) -> _Command:
    for option in reversed(
        [
            click.option("--host", help="Address to listen on (127.0.0.1)."),
            click.option("--port", type=int, help="Port to listen on (8000); 0 picks a free one."),
            click.option("--state", help="State database: a file (rowfall-state.db) or a postgresql:// URL."),
            click.option(
                "--auth",
                type=click.Choice(["accounts", "none"]),
                help="accounts: sign in by the printed link. none: one local user, loopback only.",
            ),
            click.option(
                "--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings (rowfall.toml)."
            ),
        ]
    ):
        command = option(command)
    return command


@cli.command("demo")
@_server_options
def demo_command(config: Path | None, **flags: Any) -> None:
    """Build the demo database if it is missing, serve it, and print a link that opens signed in."""
    settings = _settings(config, flags)
    if not demo.is_current(_DEMO_FILE):
        click.echo(f"Building the demo database {_DEMO_FILE} ...", err=True)
        demo.build(_DEMO_FILE)
    _serve(settings, [open_source("noise", str(_DEMO_FILE))])


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@_server_options
def serve(sources: Sequence[str], config: Path | None, **flags: Any) -> None:
    """Serve databases. SOURCE is a file, sqlite:///file, or NAME= before either; never written to."""
    settings = _settings(config, flags)
    opened = _open(sources)
    for address in sources:
        _require_file(_named(address)[1])
    _serve(settings, opened)


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
def datasets(sources: Sequence[str]) -> None:
    """What would be offered: datasets with keys and columns, and why something is left out."""
    problems = 0
    for source in _open(sources):
        try:
            offered, skipped = asyncio.run(source.discover())
        except RowfallError as error:
            problems += 1
            click.echo(f"{source.name}: {error.sentence}", err=True)
            continue
        for dataset in offered:
            key = f"key {', '.join(dataset.key)}" if dataset.key else "no key, read by one query"
            click.echo(f"{dataset.id}  ({dataset.kind}; {key})")
            for column in dataset.columns:
                click.echo(f"    {column.name or '(no name)'}  {column.declared or column.kind}")
        for each in skipped:
            click.echo(f"{source.name}.{each.name}  left out: {each.reason}")
    if problems:
        raise SystemExit(1)


@cli.command()
@click.argument("source", metavar="SOURCE")
@click.argument("dataset", metavar="DATASET")
@click.option("--format", "name", help="csv, ndjson, xlsx or parquet (by the file's suffix; csv).")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; else standard output."
)
@click.option("--column", "columns", multiple=True, help="A column, in the wanted order; all unless given.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="COLUMN__OPERATOR=VALUE",
    help="Only rows that meet it, such as price__gt=10; again for each further one.",
)
@click.option(
    "--preset",
    type=click.Choice(["data", "excel"]),
    default="data",
    help="Of a CSV: data for programs, excel for a double click.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings (rowfall.toml).")
def export(
    source: str,
    dataset: str,
    name: str | None,
    output: Path | None,
    columns: Sequence[str],
    filters: Sequence[str],
    preset: str,
    quiet: bool,
    config: Path | None,
) -> None:
    """Write DATASET, a name or SOURCE.NAME, to a file. Exits with 1, and leaves none, if it is not whole."""
    from babel import default_locale

    from app import asking, export_command
    from app.exports.writing import Options, for_excel

    logging.getLogger().setLevel(logging.WARNING)
    (opened,) = _open([source])
    _require_file(_named(source)[1])
    if not dataset.startswith(f"{opened.name}."):
        dataset = f"{opened.name}.{dataset}"
    try:
        made = export_command.format_of(name, output)
        asked = asking.of_texts(filters)
        options = for_excel(default_locale("LC_NUMERIC") or "en") if preset == "excel" else Options()
        wanted = export_command.Wanted(dataset, columns, asked, made, options, output, quiet)
        rows = export_command.export(_settings(config, {}), opened, wanted)
    except RowfallError as error:
        raise _Failure(error.sentence) from error
    except OSError as error:
        raise _Failure(f"{output or 'Standard output'} cannot be written: {error.strerror}.") from error
    if output is not None and not quiet:
        click.echo(f"{rows:,} rows in {output}", err=True)


def _settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    found = config or Path("rowfall.toml")
    if config is not None and not config.is_file():
        raise _Failure(f"There is no configuration {config}.")
    try:
        return load(found, **flags)
    except RowfallError as error:
        raise _Failure(error.sentence) from error


def _open(addresses: Sequence[str]) -> list[Source]:
    try:
        sources = [open_source(*_named(address)) for address in addresses]
    except RowfallError as error:
        raise _Failure(error.sentence) from error
    names = [source.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _Failure(f"Two sources are called {', '.join(twice)}. Give one another name: NAME=FILE.")
    return sources


def _named(address: str) -> tuple[str, str]:
    """`name=address`; the name defaults to the file's stem."""
    name, found, rest = address.partition("=")
    if found and name.isidentifier():
        return name, rest
    return Path(address).stem, address


def _require_file(address: str) -> None:
    """A name that was mistyped ends here; a file that is locked or damaged now may be read later."""
    path = address.removeprefix("sqlite:///")
    if "://" in path:
        return
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _Failure(f"There is no file {path}.") from error
    except OSError:
        return


def _serve(settings: Settings, sources: Sequence[Source]) -> None:
    from app.server import serve

    try:
        serve(settings, sources)
    except RowfallError as error:
        raise _Failure(error.sentence) from error


main = cli
