"""The variants of markup: recorded messages of the product's stream, changed, with their styles and scripts.

Only the markup between the cells changes; the cells are the product's.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PARTIAL = re.compile(r'<hx-partial hx-target="#report-rows" hx-swap="beforeend">(.*?)</hx-partial>', re.S)
_BODY = re.compile(r"<tbody>(.*?)</tbody>", re.S)
_COLUMN = re.compile(r'<col class="c\d+">')
_CHUNK = re.compile(r'<div class="chunk"[^>]*>')

_NO_SKIPPING = ".block, .chunk { content-visibility: visible !important }"
_YIELD = "waitUntil(frame())"


@dataclass(frozen=True)
class Variant:
    name: str
    meaning: str
    live: bool = False  # whether a report runs for it; else the recorded messages are sent again
    style: str = ""
    yields: bool = True
    rows: Callable[[str], str] = str  # the HTML that a chunk's partial holds -> the variant's
    target: str = "#report-rows"
    start: Callable[[str], str] | None = None  # a chunk's HTML -> what the page holds before the first one


def _lines(chunk: str) -> Iterator[str]:
    """The rows of each block."""
    return (found[1] for found in _BODY.finditer(chunk))


def _bare(chunk: str) -> str:
    return "\n".join(_lines(chunk))


def _table(chunk: str) -> str:
    return f'<table role="rowgroup">{_columns(chunk)}<tbody id="plain-rows"></tbody></table>'


def _columns(chunk: str) -> str:
    return "".join(_COLUMN.findall(chunk.partition("<tbody>")[0]))


def _blocks_of(size: int) -> Callable[[str], str]:
    def blocks(chunk: str) -> str:
        opening = _CHUNK.search(chunk)
        assert opening, "a chunk has no element of its own"
        columns = _columns(chunk)
        rows = [f"{row}</tr>" for row in "".join(_lines(chunk)).split("</tr>")[:-1]]
        parts = ("".join(rows[start : start + size]) for start in range(0, len(rows), size))
        tables = [
            f'<div class="block"><table role="rowgroup">{columns}<tbody>{part}</tbody></table></div>'
            for part in parts
        ]
        return "\n".join([opening[0], *tables, "</div>"])

    return blocks


def _sized(size: int) -> Variant:
    return Variant(
        f"block-{size}",
        f"`ours`, {size} rows a table",
        style=f".block {{ contain-intrinsic-block-size: auto calc({size} * var(--row)) }}",
        rows=_blocks_of(size),
    )


_ALL = [
    Variant(
        "plain",
        "one `<table>` with one `<tbody>` that grows; no content-visibility, no yield",
        yields=False,
        rows=_bare,
        target="#plain-rows",
        start=_table,
    ),
    Variant(
        "plain-auto",
        "`plain`, its columns as wide as their content",
        style="#report-table table { table-layout: auto !important }",
        yields=False,
        rows=_bare,
        target="#plain-rows",
        start=_table,
    ),
    Variant("ours", "the product, all rows kept in the document", live=True),
    Variant("bounded", "the product as it is: rows of 20 chunks, then placeholders", live=True),
    Variant("blocks", "`ours` without content-visibility", style=_NO_SKIPPING),
    Variant("no-yield", "`ours` without the frame between messages", yields=False),
    *map(_sized, (50, 100, 200, 1000)),
]
VARIANTS = {variant.name: variant for variant in _ALL}


def changed(variant: Variant, message: str) -> str:
    """A recorded message with the variant's markup; each line stays a `data:` line."""
    lines = message.rstrip("\n").split("\n")
    head = [line for line in lines if not line.startswith("data:")]
    html = "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data:"))
    html = _PARTIAL.sub(lambda found: _partial(variant, found[1]), html)
    return "\n".join([*head, *(f"data: {line}" for line in html.split("\n") if line)]) + "\n\n"


def _partial(variant: Variant, chunk: str) -> str:
    return f'<hx-partial hx-target="{variant.target}" hx-swap="beforeend">{variant.rows(chunk)}</hx-partial>'


def first_chunk(messages: list[str]) -> str:
    """The HTML of the first chunk that the stream brought."""
    for message in messages:
        html = "\n".join(line.removeprefix("data: ") for line in message.split("\n"))
        if found := _PARTIAL.search(html):
            return found[1]
    raise ValueError("no message holds rows")


def script(variant: Variant, source: str) -> str:
    """app.js, without the yield where the variant has none."""
    if variant.yields:
        return source
    assert _YIELD in source, "app.js yields in another way now"
    return source.replace(_YIELD, "void 0")
