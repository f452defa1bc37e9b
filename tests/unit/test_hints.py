import asyncio

from app import hints
from app.hints import Hint, Hints


async def _waits(hint: Hint, seconds: float = 0.05) -> bool:
    """Whether `hint` lets its listener wait for all of `seconds`."""
    start = asyncio.get_running_loop().time()
    await hint.wait(seconds)
    return asyncio.get_running_loop().time() - start >= seconds * 0.9


async def test_a_hint_wakes_everyone_who_listens_to_the_topic_and_nobody_else() -> None:
    wake = Hints()
    with wake.listen("a") as first, wake.listen("a") as second, wake.listen("b") as other:
        wake.notify("a")
        assert not await _waits(first, 5)
        assert not await _waits(second, 5)
        assert await _waits(other)


async def test_a_hint_between_clear_and_wait_is_not_lost() -> None:
    wake = Hints()
    with wake.listen("a") as hint:
        hint.clear()
        wake.notify("a")
        assert not await _waits(hint, 5)


async def test_a_hint_wakes_who_waits_already() -> None:
    wake = Hints()
    with wake.listen("a") as hint:
        waiting = asyncio.create_task(_waits(hint, 5))
        await asyncio.sleep(0)
        wake.notify("a")
        assert not await waiting


async def test_a_cleared_hint_waits_again() -> None:
    wake = Hints()
    with wake.listen("a") as hint:
        wake.notify("a")
        hint.clear()
        assert await _waits(hint)


async def test_a_wait_ends_by_itself_and_does_not_begin_after_the_deadline() -> None:
    wake = Hints()
    with wake.listen("a") as hint:
        assert await _waits(hint, 0.05)
        for seconds in (0, -3):
            async with asyncio.timeout(1):
                await hint.wait(seconds)


async def test_listeners_are_removed_even_after_an_error() -> None:
    wake = Hints()
    with wake.listen("a"):
        try:
            with wake.listen("a"):
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert len(wake._listeners["a"]) == 1
    wake.notify("a")
    wake.notify("never listened to")
    assert not wake._listeners


async def test_all_topics_are_woken_at_once_when_the_server_stops() -> None:
    wake = Hints()
    with wake.listen(hints.QUEUE) as queue, wake.listen(hints.chunks("r")) as viewer:
        wake.notify_all()
        assert not await _waits(queue, 5)
        assert not await _waits(viewer, 5)


def test_the_topics_of_a_report_differ() -> None:
    assert len({hints.QUEUE, hints.chunks("a"), hints.chunks("b"), hints.cancellation("a")}) == 4


def test_a_hint_is_forwarded_unless_it_is_for_this_process_only() -> None:
    wake, forwarded = Hints(), list[str]()
    wake.forward = forwarded.append
    with wake.listen("a"):
        wake.notify_here("a")
        wake.notify_all()
        assert forwarded == []
        wake.notify("a")
        wake.notify("nobody here listens")
    assert forwarded == ["a", "nobody here listens"]


def test_the_topics_are_those_that_somebody_listens_to() -> None:
    wake = Hints()
    with wake.listen("a"), wake.listen("b"):
        wake.notify("c")
        assert wake.topics() == {"a", "b"}
    assert wake.topics() == set()
