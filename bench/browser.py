"""Measures the browser's side in each engine and writes BROWSER.md.

`browser.py` alone takes all of it. `--rows 20000 --only markup` is quick; `--variants all` compares other
ways to mark the rows up. Keep partial measures elsewhere: `--output FILE`.
"""

import argparse
import datetime
import os
import signal
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import million
import variants
from engines import ENGINES
from markup import VARIANTS
from variants import Result

_DEFAULT = ("plain", "ours", "bounded")
_FASTER = {"chromium": 20.0, "firefox": 8.0}  # plain / ours, at the least
_LOAD = os.getloadavg()[0]  # figures taken beside other work are rough
_STALL, _FIRST = 200, 200  # milliseconds at the most


def main() -> None:
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the browsers and the servers end with it
    results: list[Result] = []
    opened: dict[str, dict[str, str]] = {}
    if chosen.only != "million":
        for name in chosen.engines:
            for rows in chosen.rows:
                results += variants.measure(name, rows, chosen.variants, chosen.turns)
                _write(chosen.output, results, opened)
    if chosen.only != "markup":
        with million.report() as url:
            for name in chosen.engines:
                opened[name] = million.measure(name, url)
                _write(chosen.output, results, opened)
    print(chosen.output.read_text())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=_list, default=list(ENGINES), help="chromium,firefox,webkit")
    parser.add_argument("--rows", type=lambda text: [*map(int, _list(text))], default=[20_000, 100_000])
    parser.add_argument(
        "--variants", type=_list, default=list(_DEFAULT), help=f"all, or {','.join(VARIANTS)}"
    )
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    parser.add_argument("--only", choices=("markup", "million"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("BROWSER.md"))
    chosen = parser.parse_args()
    if chosen.variants == ["all"]:
        chosen.variants = list(VARIANTS)
    for names, known in ((chosen.engines, ENGINES), (chosen.variants, VARIANTS)):
        if unknown := sorted({*names} - {*known}):
            parser.error(f"{', '.join(unknown)}: known are {', '.join(known)}")
    return chosen


def _list(text: str) -> list[str]:
    return text.split(",")


def _write(output: Path, results: Sequence[Result], opened: dict[str, dict[str, str]]) -> None:
    versions = {result.engine: result.version for result in results}
    versions |= {name: figures["version"] for name, figures in opened.items()}
    engines = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [
        [
            "# In the browser",
            "",
            f"`bench/browser.py` on {datetime.date.today()}: {os.cpu_count()} cores, {engines}. "
            f"Load of the machine before: {_LOAD:.1f}.",
        ]
    ]
    if results:
        parts += [_aims(results), _explanation(results)]
    for (name, rows), group in groupby(results, lambda result: (result.engine, result.rows)):
        parts.append([f"## {name.capitalize()}, {rows:,} rows", "", *variants.table(list(group))])
    if opened:
        parts.append(["## A million rows", "", *_MILLION, "", *million.table(opened)])
    output.write_text("\n\n".join("\n".join(part) for part in parts) + "\n")


_MILLION = [
    "A finished report of 1,000,000 x 10, default settings. A jump ends when rows fill the viewport and the",
    "row that was asked for is among them. Memory is what the browser grew by since its empty page.",
]


def _aims(results: Sequence[Result]) -> list[str]:
    columns = ("engine", "rows", "plain / ours", "plain / bounded", "first row, ms", "longest stall, ms")
    lines = [f"| {' | '.join(columns)} | missed by `ours` |", "|---" * 7 + "|"]
    for (name, rows), group in groupby(results, lambda result: (result.engine, result.rows)):
        found = {result.variant: result for result in group}
        if "ours" in found and not found["ours"].cut:
            lines.append(_aim(name, rows, found))
    return lines


def _aim(name: str, rows: int, found: dict[str, Result]) -> str:
    ours, plain, bounded = (found.get(variant) for variant in ("ours", "plain", "bounded"))
    assert ours
    first, stall = ours.middle(lambda run: run.first), ours.middle(lambda run: run.stall)
    missed = []
    if plain and plain.done / ours.done < _FASTER.get(name, 0):
        missed.append(f"{_FASTER[name]:.0f} times as fast")
    if first > _FIRST:
        missed.append(f"first row in {_FIRST} ms")
    if stall > _STALL:
        missed.append(f"no stall over {_STALL} ms")
    ratios = f"{variants.ratio(plain, ours)} | {variants.ratio(plain, bounded)}"
    return f"| {name} | {rows:,} | {ratios} | {first:,.0f} | {stall:,.0f} | {', '.join(missed) or '-'} |"


def _explanation(results: Sequence[Result]) -> list[str]:
    names = list(dict.fromkeys(result.variant for result in results))
    return [
        "Flights of 10 columns stream into the report's page, with its own scripts and styles. Runs of each:",
        f"{max(len(result.runs) for result in results)}, a plain table of many rows once; medians. The time",
        "runs from the request for the stream; `ours` and `bounded` run a report for it, the others",
        "send one that was recorded. A stall is a time without a frame, memory what all processes of the",
        "browser grew by.",
        "",
        *variants.meanings(names),
    ]


if __name__ == "__main__":
    main()
