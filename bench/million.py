"""A finished report of a million rows in each engine: opening it, jumping in it, scrolling through it."""

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

import data
import httpx
import streaming
from engines import Engine, Gone, engine

ROWS = (250_000, 750_000, 999_999)
_PLACES = (0.25, 0.75, 1.0)  # of the height of what can be scrolled
_JUMPS = 30
_CHUNKS, _SECONDS = 50, 20  # scrolled through without a pause
_PATIENCE = 15  # seconds for one jump
_LIMIT = 400  # seconds for one browser

# Milliseconds until rows fill the viewport, the first and the last of them; null after too long a time. `row`
# has to be one of them. Without `top` the time is that since the page's navigation began.
_JUMP = """({ url, row, top, patience }) => new Promise(resolve => {
    if (url && location.href !== url) return resolve("elsewhere");
    const scroller = document.getElementById("report-scroll");
    if (!scroller) return resolve("elsewhere");
    const start = top === null ? 0 : performance.now();
    if (top !== null) scroller.scrollTop = top * (scroller.scrollHeight - scroller.clientHeight);
    const look = () => {
        const now = performance.now();
        const place = scroller.getBoundingClientRect();
        const from = document.querySelector("#report-table .head").getBoundingClientRect().bottom + 12;
        const end = document.getElementById("report-rows").getBoundingClientRect().bottom - 12;
        const to = Math.min(place.bottom - 30, end);  // above a scroll bar
        const shown = [0, 1, 2, 3, 4, 5].map(step => document
            .elementFromPoint(place.left + 30, from + (to - from) * step / 5)
            ?.closest("#report-rows tr[aria-rowindex]"));
        const numbers = shown.map(found => found ? found.getAttribute("aria-rowindex") - 1 : null);
        const [first, last] = [numbers[0], numbers.at(-1)];
        if (!numbers.includes(null) && (row === null || first - 1 <= row && row <= last + 1))
            resolve({ ms: now - start, first, last });
        else if (now - start > patience) resolve(null);
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})"""

# At an even speed: the longest time without a frame, and the share of frames whose middle shows no row.
_SCROLL = """({ distance, duration }) => new Promise(resolve => {
    const scroller = document.getElementById("report-scroll");
    const start = performance.now();
    let frames = 0, blank = 0, stall = 0, last = start;
    const frame = () => {
        const now = performance.now();
        stall = Math.max(stall, now - last);
        last = now;
        frames += 1;
        const place = scroller.getBoundingClientRect();
        const found = document.elementFromPoint(place.left + 30, (place.top + place.bottom) / 2);
        if (!found?.closest("#report-rows tr")) blank += 1;
        const done = Math.min(1, (now - start) / duration);
        scroller.scrollTop = distance * done;
        done < 1 ? requestAnimationFrame(frame) : resolve({ stall, blank: blank / frames });
    };
    scroller.scrollTop = 0;
    requestAnimationFrame(frame);
})"""

_LIVE = """() => [document.querySelectorAll("#report-rows > .chunk:not(.gap)").length,
    document.getElementsByTagName("*").length]"""

_LABELS = [
    "navigation to first rows, ms",
    *(f"to row {row:,} by its URL, ms" for row in ROWS),
    *(f"to {place:.0%} by scrolling, ms (rows)" for place in _PLACES),
    f"{_JUMPS} jumps by scrolling, ms: median, longest",
    "chunks live after them",
    "elements after them",
    "memory after them, MiB",
    f"longest stall while scrolling through {_CHUNKS} chunks in {_SECONDS} s, ms",
    "frames without rows meanwhile",
    "chunks live after that",
]


@contextmanager
def report() -> Iterator[str]:
    """The URL of a finished report of the million rows, on a server with its default settings."""
    with streaming.server(data.million()) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        path = client.post("/reports", data={"dataset": "million.mixed"}).headers["location"]
        while (status := client.get(f"/api/v1{path}").json()["status"]) in ("queued", "running"):
            time.sleep(0.5)
        if status != "done":
            raise SystemExit(f"the report of a million rows is {status}")
        yield f"{server.url}{path}"


def measure(name: str, url: str) -> dict[str, str]:
    """The figures of one engine by their labels; those after which the browser was gone are missing."""
    figures = {}
    with engine(name) as browser:
        figures["version"] = browser.version
        watchdog = Timer(_LIMIT, browser.kill)
        watchdog.start()
        try:
            values = _figures(browser, url)
            with suppress(Gone):
                for label, value in zip(_LABELS, values, strict=True):
                    figures[label] = value
                    print(f"  {name}, {label}: {value}", flush=True)
        finally:
            watchdog.cancel()
    return figures


def _figures(browser: Engine, url: str) -> Iterator[str]:
    """In the order of _LABELS."""
    time.sleep(1)
    before = browser.memory()
    yield _shown(_open(browser, url))
    for row in ROWS:
        yield _shown(_open(browser, f"{url}?row={row}", row))
    _open(browser, url)
    while browser.evaluate("() => document.readyState") != "complete":
        time.sleep(0.05)
    for place in _PLACES:
        jump = _jump(browser, place)
        yield f"{_shown(jump)} ({jump['first']:,}-{jump['last']:,})" if jump else _shown(jump)
    chance = random.Random(1)
    jumps = [_jump(browser, chance.random()) for _ in range(_JUMPS)]
    times = [jump["ms"] for jump in jumps if jump]
    missed = f", {jumps.count(None)} never" if None in jumps else ""
    yield f"{statistics.median(times):,.0f}, {max(times):,.0f}{missed}" if times else "none came"
    live, elements = browser.evaluate(_LIVE)
    yield f"{live:,}"
    yield f"{elements:,}"
    yield f"{browser.memory() - before:,.0f}"
    scrolled = browser.evaluate(_SCROLL, {"distance": _CHUNKS * 1000 * 26, "duration": _SECONDS * 1000})
    yield f"{scrolled['stall']:,.0f}"
    yield f"{scrolled['blank']:.0%}"
    yield f"{browser.evaluate(_LIVE)[0]:,}"


def _open(browser: Engine, url: str, row: int | None = None) -> Any:
    """Opens the page and waits for rows, or for `row`; the jump, or None if it never came."""
    browser.goto(url)
    question = {"url": url, "row": row, "top": None, "patience": _PATIENCE * 1000}
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            answer = browser.evaluate(_JUMP, question)
        except Gone:  # one page follows the other, or the browser is no more
            answer = "elsewhere"
            if time.monotonic() > deadline:
                raise
        if answer != "elsewhere":
            return answer
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)


def _jump(browser: Engine, place: float) -> Any:
    return browser.evaluate(_JUMP, {"url": None, "row": None, "top": place, "patience": _PATIENCE * 1000})


def _shown(jump: Any) -> str:
    return f"{jump['ms']:,.0f}" if jump else f"not within {_PATIENCE} s"


def table(measured: dict[str, dict[str, str]]) -> list[str]:
    """A column for each engine."""
    lines = [
        f"| a million rows | {' | '.join(measured)} |",
        f"|---|{'---|' * len(measured)}",
    ]
    for label in _LABELS:
        cells = " | ".join(figures.get(label, "the browser was gone") for figures in measured.values())
        lines.append(f"| {label} | {cells} |")
    return lines
