"""A source that goes away and comes back, and reports that continue others."""

import asyncio
from collections.abc import Callable

import pytest
from runs import House, Numbers, numbers, within
from sqlalchemy import delete

from app import reading
from app.errors import SourceUnreachable
from app.model import Lease, Report, Status
from app.runner import Run, Stop
from app.schema import chunk as chunks

Make = Callable[..., House]

AWAY = "The database does not answer."


@pytest.fixture
def house(database: object) -> Make:
    return lambda *sources, **settings: House(database, *sources, **settings)  # type: ignore[arg-type]


def leaving(after: int, times: int, last: int = 5000, *, keyed: bool = True) -> Numbers:
    """A source that is away `times` times, from the first read past row `after` on."""
    source = Numbers(last, keyed=keyed)
    source.fails_after, source.failures, source.error = after, times, SourceUnreachable(AWAY)
    return source


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BACK_OFF", (0.01, 0.01, 0.01))


@pytest.mark.usefixtures("impatient")
async def test_a_source_that_comes_back_is_read_on_after_the_last_row_and_a_note_says_since_when(
    house: Make,
) -> None:
    source = leaving(2000, times=3)
    home = house(source)
    report = await home.run()
    assert (report.status, report.generation, report.trouble) == (Status.DONE, 1, None)
    assert await home.rows(report) == numbers(1, 5000)
    assert source.opened == [None, b"2000", b"2000", b"2000"]
    (note,) = report.notes
    assert note.startswith(
        "The database could not be read for a while. The rows after row 2,000 were read from 20"
    )
    assert all(reader.closed for reader in source.readers)


@pytest.mark.usefixtures("impatient")
async def test_a_source_that_stays_away_fails_the_report_after_three_more_tries_with_the_rows_so_far(
    house: Make,
) -> None:
    source = leaving(2000, times=4)
    home = house(source)
    report = await home.run()
    assert (report.status, report.error_code, report.error) == (Status.FAILED, "source-unreachable", AWAY)
    assert report.trouble is None
    assert await home.rows(report) == numbers(1, 2000)
    assert len(source.opened) == 4


@pytest.mark.usefixtures("impatient")
async def test_without_a_key_the_report_starts_again_as_a_new_generation_and_says_so(house: Make) -> None:
    source = leaving(2000, times=1, keyed=False)
    home = house(source)
    report = await home.run()
    assert (report.status, report.generation) == (Status.DONE, 2)
    assert await home.rows(report) == numbers(1, 5000)
    (note,) = report.notes
    assert "this table has no key to go on by, so it was read again from the start at 20" in note


async def test_the_wait_is_told_and_ends_at_once_when_the_report_is_cancelled(
    house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BACK_OFF", (600, 600, 600))
    home = house(leaving(2000, times=1))
    report = await home.claimed()
    run = Run(report, home.context)
    task = asyncio.create_task(run.execute())
    async with asyncio.timeout(20):
        while not (now := await home.now(report)).trouble:  # noqa: ASYNC110 - as a viewer would
            await asyncio.sleep(0.005)
    assert now.trouble == f"{AWAY} Trying again in 600 s (1 of 3)."
    run.stop(Stop.CANCELLED)
    await within(task)
    after = await home.now(report)
    assert (after.status, after.rows, after.trouble) == (Status.CANCELLED, 2000, None)


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_came_back_as_another_one_ends_the_report(house: Make) -> None:
    source = leaving(2000, times=1)
    source.identities = [b"one", b"another"]
    home = house(source)
    report = await home.run()
    assert (report.status, report.error_code) == (Status.FAILED, "source-changed")
    assert "replaced by another" in (report.error or "")
    assert await home.rows(report) == numbers(1, 2000)
    assert all(reader.closed for reader in source.readers)


async def test_a_source_that_takes_long_to_open_does_not_hold_up_a_cancellation(house: Make) -> None:
    source = Numbers()
    source.may_open.clear()
    home = house(source)
    report = await home.claimed()
    run = Run(report, home.context)
    task = asyncio.create_task(run.execute())
    await source.opening.wait()
    run.stop(Stop.CANCELLED)
    await within(task)
    assert (await home.now(report)).status is Status.CANCELLED


@pytest.mark.usefixtures("impatient")
async def test_a_reader_is_closed_only_when_the_next_one_is_open_so_that_their_files_can_be_told_apart(
    house: Make,
) -> None:
    source = leaving(2000, times=1)
    source.holds_after = 3000
    home = house(source)
    async with home.held(rows=3000) as (run, _):
        assert source.former_was_open == [True]
        run.stop(Stop.CANCELLED)
    assert all(reader.closed for reader in source.readers)


# Continuing


async def stopped_at(home: House, source: Numbers, rows: int) -> Report:
    """A cancelled report with so many rows."""
    source.holds_after = rows
    async with home.held(rows) as (run, report):
        run.stop(Stop.CANCELLED)
    source.holds_after = 10**9
    return await home.now(report)


async def continuing(home: House, earlier: Report) -> Report:
    """A claimed report that continues another one."""
    report = await home.store.create(
        f"{earlier.id}+", "ann", 5, earlier.dataset, earlier.spec, earlier.columns, continues=earlier.id
    )
    assert report is not None
    return await home.claim("node-1")


async def test_a_report_that_continues_another_has_all_rows_once_and_both_times(house: Make) -> None:
    source = Numbers(60_500)
    home = house(source)
    earlier = await stopped_at(home, source, 60_000)
    report = await continuing(home, earlier)
    await within(Run(report, home.context).execute())
    report = await home.now(report)
    assert (report.status, report.generation, report.chunks, report.total) == (Status.DONE, 1, 61, 60_500)
    assert await home.rows(report) == numbers(1, 60_500)
    assert source.opened == [None, b"60000"]
    assert report.bytes > earlier.bytes
    (note,) = report.notes
    assert note.startswith("This report continues an earlier one: the rows up to row 60,000 were read by 20")
    assert "the rows after it from 20" in note
    before = await home.now(earlier)  # keeps its own
    assert (before.status, before.rows) == (Status.CANCELLED, 60_000)
    assert await home.rows(before) == numbers(1, 60_000)


async def test_a_continued_report_can_be_continued(house: Make) -> None:
    source = Numbers(9000)
    home = house(source)
    earlier = await stopped_at(home, source, 2000)
    source.holds_after = 5000
    report = await continuing(home, earlier)
    run = Run(report, home.context)
    task = asyncio.create_task(run.execute())
    await home.until(report, 5000)
    run.stop(Stop.CANCELLED)
    await within(task)
    source.holds_after = 10**9
    last = await continuing(home, await home.now(report))
    await within(Run(last, home.context).execute())
    last = await home.now(last)
    assert (last.status, len(last.notes)) == (Status.DONE, 1)
    assert await home.rows(last) == numbers(1, 9000)


async def test_who_takes_over_in_the_middle_of_taking_over_goes_on_there(house: Make) -> None:
    source = Numbers(71_000)
    home = house(source)
    earlier = await stopped_at(home, source, 70_000)
    report = await continuing(home, earlier)
    taken = await home.takeover.step(Lease(report.id, report.epoch), earlier, 1, "note", 8)
    assert 0 < taken.chunks < 70
    assert taken.cursor is None
    await home.leases.release(Lease(report.id, report.epoch))
    await within(Run(await home.claim("node-2"), home.context).execute())
    report = await home.now(report)
    assert (report.status, report.generation, len(report.notes)) == (Status.DONE, 1, 1)
    assert await home.rows(report) == numbers(1, 71_000)


async def test_a_report_whose_predecessor_was_deleted_meanwhile_says_so(house: Make) -> None:
    source = Numbers(9000)
    home = house(source)
    earlier = await stopped_at(home, source, 5000)
    report = await continuing(home, earlier)
    async with home.database.write() as connection:
        await connection.execute(delete(chunks).where(chunks.c.report == earlier.id))
    await within(Run(report, home.context).execute())
    report = await home.now(report)
    assert (report.status, report.error_code, report.rows) == (Status.FAILED, "source-changed", 0)
    assert "was deleted. Run it again" in (report.error or "")
