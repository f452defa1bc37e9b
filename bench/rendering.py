"""Rows of a SQLite table to HTML, in a process of its own: python rendering.py ours|jinja|load FILE."""

import asyncio
import sqlite3
import sys

from jinja2 import Environment

from app import render
from app.codec import decode
from app.source import open_source

_LOOP = "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}"


async def ours(path: str) -> None:
    """As a report does it, without the spool: read, encode, decode, render."""
    source = open_source("bench", path)
    (dataset,), _ = await source.discover()
    reader = await source.open_reader(dataset, tuple(range(len(dataset.columns))), None, 1000)
    first = 1
    while batch := await reader.read():
        sys.stdout.writelines(render.blocks(decode(batch.payload), first))
        first += batch.rows
    await reader.close()


async def jinja(path: str) -> None:
    """The usual way, a chunk at a time."""
    template = Environment(autoescape=True).from_string(_LOOP)
    cursor = sqlite3.connect(path).execute("SELECT * FROM flights")
    while rows := cursor.fetchmany(1000):
        sys.stdout.write(template.render(rows=rows))


async def load(path: str) -> None:
    """The first story: everything into memory, then one page."""
    rows = sqlite3.connect(path).execute("SELECT * FROM flights").fetchall()
    sys.stdout.write(Environment(autoescape=True).from_string(_LOOP).render(rows=rows))


if __name__ == "__main__":
    asyncio.run({"ours": ours, "jinja": jinja, "load": load}[sys.argv[1]](sys.argv[2]))
