"""`rowfall export`: a file of a dataset, made by the parts of a server, with a state that is thrown away.

The file appears under its name when it is whole, and only then.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.asking import Asked
from app.bodies import BrokenOff
from app.errors import InvalidRequest, RowfallError, SourceQueryFailed
from app.exports import EXPORTS, Export
from app.exports.writing import Options
from app.main import Parts, running
from app.model import Report, Status
from app.permissions import LOCAL_USER
from app.settings import Settings
from app.source import Source

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 7 * 86_400.0  # whoever waits at a terminal can stop it


@dataclass(frozen=True, slots=True)
class Wanted:
    """`target` is None for standard output."""

    dataset: str
    columns: Sequence[str]
    filters: Sequence[Asked]
    export: Export
    options: Options
    target: Path | None
    quiet: bool = False


def export(settings: Settings, source: Source, wanted: Wanted) -> int:
    """Rows written. Raises RowfallError, and KeyboardInterrupt if it is stopped; then there is no file."""
    with tempfile.TemporaryDirectory(prefix="rowfall-") as folder:
        own = {"state": str(Path(folder, "state.db")), "report_timeout": _PATIENCE_SECONDS}
        try:
            return asyncio.run(_export(settings.model_copy(update=own), source, wanted))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def format_of(name: str | None, target: Path | None) -> Export:
    """By its name, or by the suffix of the file. Raises InvalidRequest."""
    name = name or (target.suffix.removeprefix(".") if target else "csv")
    found = EXPORTS.get(name)
    if found is None:
        raise InvalidRequest(f"“{name}” is no format. There are {', '.join(EXPORTS)}: say --format.")
    if not found.available:
        raise InvalidRequest(f"For {name} install {found.needs}: pip install 'rowfall[{name}]'.")
    if target is None and not found.streams:
        raise InvalidRequest(f"A {name} file cannot go to standard output: name a file, -o FILE.{name}.")
    return found


async def _export(settings: Settings, source: Source, wanted: Wanted) -> int:
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    console = Console(file=sys.stderr, quiet=wanted.quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with running(settings, [source]) as parts:
        report = await parts.reports.request(LOCAL_USER, wanted.dataset, wanted.columns, wanted.filters)
        with Progress(*columns, console=console, transient=True) as progress:
            showing = asyncio.create_task(_show(parts, report.id, wanted.export, progress))
            try:
                with _file(wanted.target) as file:
                    async for part in _body(parts, report, wanted):
                        file.write(part)
            except BrokenOff as error:
                raise await _reason(parts, report) from error
            finally:
                showing.cancel()
        return (await _now(parts, report)).rows


async def _body(parts: Parts, report: Report, wanted: Wanted) -> AsyncIterator[bytes]:
    if not wanted.export.streams:
        await _made(parts, report, wanted)
        report = await _now(parts, report)
    found = await parts.downloads.open(report, wanted.export, wanted.options)
    async for part in found.body(0, found.size or 0):
        yield part


async def _made(parts: Parts, report: Report, wanted: Wanted) -> None:
    """Until the file is there. Raises BrokenOff if the report did not come to its end."""
    while not (report := await _now(parts, report)).status.final:  # noqa: ASYNC110 - as a viewer would
        await asyncio.sleep(_LOOK_SECONDS)
    if report.status is not Status.DONE:
        raise BrokenOff
    await parts.exports.request(report.id, report.generation, wanted.export.name, "")
    while True:
        file = await parts.downloads.file(report, wanted.export, wanted.options)
        if file is not None and file.status is Status.DONE:
            return
        if file is not None and file.status.final:
            raise SourceQueryFailed(file.error or "The file could not be made.")
        await asyncio.sleep(_LOOK_SECONDS)


async def _show(parts: Parts, report_id: str, export: Export, progress: Progress) -> None:
    reading, writing = progress.add_task("Reading", total=None), None
    while (report := await parts.store.get(report_id)) is not None:
        progress.update(reading, completed=report.rows, total=report.total)
        if not export.streams and report.status is Status.DONE:
            file = await parts.exports.find(report.id, report.generation, export.name, "")
            writing = writing or progress.add_task("Writing", total=report.rows)
            progress.update(writing, completed=file.rows if file else 0)
        await asyncio.sleep(_LOOK_SECONDS)


async def _reason(parts: Parts, report: Report) -> RowfallError:
    found = await _now(parts, report)
    rows = f" Rows read before that: {found.rows:,}. No file was written."
    return SourceQueryFailed((found.error or f"The report is {found.status}.") + rows)


async def _now(parts: Parts, report: Report) -> Report:
    return await parts.reports.get(LOCAL_USER, report.id)


@contextmanager
def _file(target: Path | None) -> Iterator[BinaryIO]:
    """A file beside the target, which takes its name at the end and goes at an error."""
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()  # here it may still fail
        return
    target = target.resolve()  # a link stays one
    if target.exists() and not target.is_file():  # a device or a pipe, whose name nothing else may take
        with target.open("wb") as file:
            yield file
        return
    draft = target.with_name(f"{target.name}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
