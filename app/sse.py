"""The form of server-sent events, as htmx's extension takes it (docs/streaming.md).

Line feeds only, one `data:` line for each block of rows, an id with each chunk; pings and the end are named.
"""

import re
from dataclasses import dataclass

PING = b"event: ping\ndata: \n\n"
END = b"event: end\ndata: \n\n"


@dataclass(slots=True)
class Position:
    """The last chunk a viewer has: `G.N` in ids and URLs."""

    generation: int
    number: int

    @classmethod
    def parse(cls, text: str | None) -> "Position":
        """From `G.N`; anything else is the beginning."""
        found = re.fullmatch(r"(\d{1,9})\.(\d{1,9})", text or "", re.ASCII)
        return cls(int(found[1]), int(found[2])) if found else cls(0, 0)

    def __str__(self) -> str:
        return f"{self.generation}.{self.number}"


def message(html: str, event_id: Position | None = None) -> bytes:
    """An unnamed message; each line of `html` becomes a `data:` line."""
    head = f"id: {event_id}\n" if event_id else ""
    # A carriage return, which a column's name may hold, would end the line too.
    html = html.replace("\r", "&#13;")
    lines = "".join([f"data: {line}\n" for line in html.split("\n") if line])
    return f"{head}{lines}\n".encode()
