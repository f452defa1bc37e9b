"""One report that streams into a page of each variant of markup: first row, all rows, stalls, memory."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import data
import httpx
import streaming
from engines import Engine, Gone, engine
from markup import VARIANTS

LIMIT = 180  # seconds that a page may take
_PAGES = (str(Path(__file__).with_name("pages.py")),)
_MANY = 50_000  # from so many rows on, a plain table is measured once
_SETTLED = 1.0  # seconds until a browser that just started, or just finished, is quiet

_PROBE = "() => window.probe?.done ? window.probe : null"
_SIZE = """() => [document.querySelectorAll("#report-rows tr").length,
    document.getElementsByTagName("*").length]"""


@dataclass(frozen=True)
class Run:
    """Milliseconds since the page asked for the stream; all are 0 if the browser was `cut` off."""

    first: float = 0  # a row in the document
    done: float = 0  # all of them, and painted
    stall: float = 0  # the longest time without a frame
    memory: float = 0  # MiB that the browser grew by
    elements: int = 0
    cut: bool = False


@dataclass(frozen=True)
class Result:
    """The runs of one variant with so many rows in one engine."""

    engine: str
    version: str
    rows: int
    variant: str
    runs: list[Run]

    def middle(self, figure: Callable[[Run], float]) -> float:
        return statistics.median(figure(run) for run in self.runs if not run.cut)

    @property
    def cut(self) -> bool:
        return all(run.cut for run in self.runs)

    @property
    def done(self) -> float:
        """Milliseconds; of a page that was cut off those it had."""
        return LIMIT * 1000 if self.cut else self.middle(lambda run: run.done)


def measure(name: str, rows: int, variants: Sequence[str], turns: int) -> list[Result]:
    """All variants in turn, each time in a fresh browser."""
    part = data.part(rows)
    dataset = f"{part.stem}.flights"
    taken: dict[str, list[Run]] = {variant: [] for variant in variants}
    version = ""
    with (
        streaming.server(part, _PAGES, page_chunks="100000") as whole,
        streaming.server(part, _PAGES) as bounded,
    ):
        for turn in range(turns):
            for variant in variants:
                if turn and ((rows >= _MANY and variant in ("plain", "plain-auto")) or taken[variant][0].cut):
                    continue
                url = (bounded if variant == "bounded" else whole).url
                address = f"{url}/bench/{variant}/page?dataset={dataset}"
                httpx.get(address, timeout=120).raise_for_status()  # the first request prepares the stream
                with engine(name) as browser:
                    version = browser.version
                    run = _run(browser, address, rows if variant != "bounded" else 0)
                print(f"  {name}, {rows:,} rows, {variant}: {run}", flush=True)
                taken[variant].append(run)
    return [Result(name, version, rows, variant, runs) for variant, runs in taken.items() if runs]


def _run(browser: Engine, address: str, rows: int) -> Run:
    time.sleep(_SETTLED)
    before = browser.memory()
    deadline = time.monotonic() + LIMIT
    # A page that does not answer does not answer whoever asks for its state either.
    watchdog = Timer(LIMIT + 5, browser.kill)
    watchdog.start()
    try:
        browser.goto(address)
        probe = None
        while probe is None and time.monotonic() < deadline:
            time.sleep(0.2)
            with suppress(Gone):  # also while one page follows the other
                probe = browser.evaluate(_PROBE)
        if probe is None:
            return Run(cut=True)
        time.sleep(_SETTLED)
        memory = browser.memory() - before
        found, elements = browser.evaluate(_SIZE)
    finally:
        watchdog.cancel()
    if rows and found != rows:
        raise SystemExit(f"{address} shows {found} rows instead of {rows}")
    asked = probe["asked"]
    first, done = round(probe["first"] - asked), round(probe["done"] - asked)
    return Run(first, done, round(probe["stall"]), round(memory), elements)


def table(results: Sequence[Result]) -> list[str]:
    """The results of one engine with so many rows."""
    plain = next((result for result in results if result.variant == "plain"), None)
    columns = ("markup", "first row, ms", "all rows, s", "longest stall, ms", "memory, MiB", "elements")
    lines = [f"| {' | '.join(columns)} | plain / this |", "|---" * 7 + "|"]
    return lines + [f"| `{each.variant}` | {_figures(each)} | {ratio(plain, each)} |" for each in results]


def ratio(slow: Result | None, fast: Result | None) -> str:
    """Of the times to all rows; "over" if the slow one was cut off."""
    if not slow or not fast or fast.cut:
        return ""
    return f"{'over ' if slow.cut else ''}{slow.done / fast.done:.1f}"


def _figures(result: Result) -> str:
    if result.cut:
        return f"| over {LIMIT} | | |"
    return (
        f"{result.middle(lambda run: run.first):,.0f} | {result.done / 1000:.2f} | "
        f"{result.middle(lambda run: run.stall):,.0f} | {result.middle(lambda run: run.memory):,.0f} | "
        f"{result.middle(lambda run: run.elements):,.0f}"
    )


def meanings(variants: Sequence[str]) -> list[str]:
    return [f"- `{name}`: {VARIANTS[name].meaning}" for name in variants]
