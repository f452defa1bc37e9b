"""`rowfall export`: a file appears when it is whole, and only then; the exit code says so."""

import csv
import io
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import openpyxl
import pytest
from click.testing import CliRunner, Result

from app.cli import cli

ROWS = 2_500
STEPS = "WITH RECURSIVE b (j) AS (SELECT id UNION ALL SELECT j + 1 FROM b WHERE j < id + 100000)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs; it holds `shop.db`."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL, name TEXT)")
        rows = [(number, number / 4, f"größe {number}") for number in range(1, ROWS + 1)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        connection.execute(
            f"CREATE VIEW slow AS SELECT id, ({STEPS} SELECT max(j) FROM b) AS work FROM orders"
        )
        failing = "CASE WHEN id < 2200 THEN id ELSE abs(-9223372036854775808) END"
        connection.execute(f"CREATE VIEW failing AS SELECT {failing} AS id FROM orders")
        connection.commit()
    return tmp_path


def export(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["export", "shop.db", *arguments])


@contextmanager
def process(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "app", "export", "shop.db", *arguments]
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    # A shell has what it starts in the background ignore interrupts, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=os.environ | path)
    signal.signal(signal.SIGINT, before)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "shop.db")


def failed(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "xlsx", "parquet"])
def test_a_file_is_written_and_nothing_else(folder: Path, suffix: str) -> None:
    result = export("orders", "-o", f"out.{suffix}")
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert result.stderr.endswith(f"2,500 rows in out.{suffix}\n")
    assert left(folder) == [f"out.{suffix}"]


def test_a_csv_goes_to_standard_output_unless_a_file_is_named() -> None:
    result = export("shop.orders", "--column", "name", "--column", "id", "--quiet")
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(result.stdout_bytes.decode().splitlines()))
    assert rows == [["name", "id"], *([f"größe {number}", str(number)] for number in range(1, ROWS + 1))]


def test_a_workbook_holds_all_rows(folder: Path) -> None:
    assert export("orders", "--format", "xlsx", "-o", "file").exit_code == 0
    book = openpyxl.load_workbook(io.BytesIO((folder / "file").read_bytes()), read_only=True)
    rows = list(book.worksheets[0].iter_rows(values_only=True))
    assert (len(rows), rows[0], rows[-1]) == (ROWS + 1, ("id", "price", "name"), (2500, 625, "größe 2500"))


@pytest.mark.parametrize(("locale", "line"), [("de_CH", '2,0.5,"'), ("de_DE", '2;0,5;"')])
def test_a_csv_for_excel_is_separated_as_the_persons_locale_says(
    monkeypatch: pytest.MonkeyPatch, locale: str, line: str
) -> None:
    monkeypatch.setenv("LC_ALL", f"{locale}.UTF-8")
    result = export("orders", "--preset", "excel", "--quiet")
    assert result.stdout_bytes.decode("utf-8-sig").splitlines()[2].startswith(line)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_a_report_that_fails_leaves_the_file_that_was_there(folder: Path, suffix: str) -> None:
    (folder / f"out.{suffix}").write_text("of yesterday")
    failed(export("failing", "-o", f"out.{suffix}"), "integer overflow", "No file was written.")
    assert (folder / f"out.{suffix}").read_text() == "of yesterday"
    assert left(folder) == [f"out.{suffix}"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "There is no dataset shop.nothing."),
        (("orders", "--column", "cost"), "shop.orders has no column 'cost'."),
        (("orders", "-o", "out.doc"), "“doc” is no format. There are csv, ndjson, xlsx, parquet"),
        (("orders", "--format", "xlsx"), "cannot go to standard output"),
        (("orders", "-o", "away/out.csv"), "out.csv cannot be written: No such file or directory."),
    ],
)
def test_what_cannot_be_is_a_sentence(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    failed(export(*arguments), words)
    assert left(folder) == []


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "link.csv").symlink_to("real.csv")
    assert export("orders", "-o", "link.csv").exit_code == 0
    assert (folder / "link.csv").is_symlink()
    assert len((folder / "real.csv").read_bytes().splitlines()) == ROWS + 1


def test_a_pipe_stays_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((folder / "pipe").read_bytes()))
    reader.start()
    assert export("orders", "--format", "csv", "-o", "pipe").exit_code == 0
    reader.join(30)
    assert len(read[0].splitlines()) == ROWS + 1
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="a device that is full is Linux's")
@pytest.mark.parametrize("arguments", [("-o", "/dev/full", "--format", "csv"), ()])
def test_a_disk_that_is_full_is_a_sentence(arguments: tuple[str, ...]) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        process("orders", "--quiet", *arguments, stdout=full.fileno()) as running,
    ):
        assert running.wait(60) == 1
        assert running.stderr is not None
        assert b"cannot be written: No space left on device." in running.stderr.read()
    assert Path("/dev/full").is_char_device()


def test_who_stops_reading_ends_the_command() -> None:
    with process("orders", "--quiet") as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(60) == 1


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_leaves_no_file(folder: Path, by: signal.Signals) -> None:
    with process("slow", "-o", "out.csv", "--quiet") as running:
        deadline = time.monotonic() + 60
        while not (folder / "out.csv.part").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(by)
        assert running.wait(60) != 0
    assert left(folder) == []
