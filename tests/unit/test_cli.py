import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from app import __version__
from app.cli import cli

NEVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs; it holds `shop.db`."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "shop.db")
    return tmp_path


def make(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE orders (id INTEGER PRIMARY KEY, price DECIMAL(9), "" TEXT)')
        connection.execute("CREATE TABLE pairs (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID")
        connection.execute("CREATE VIEW late AS SELECT id FROM orders")
        connection.execute("CREATE VIEW broken AS SELECT * FROM missing")
        connection.execute(f"CREATE VIEW never AS {NEVER}")
        connection.commit()


def rowfall(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def refused(result: Result, *words: str, status: int = 1) -> None:
    """The command ended with a sentence for a person and nothing else."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output
    if status == 1:
        assert re.fullmatch(r"rowfall: .+\.\n", result.stderr)


# What would be offered


@pytest.mark.usefixtures("folder")
def test_datasets_lists_columns_keys_and_what_is_left_out() -> None:
    result = rowfall("datasets", "shop.db")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "shop.late  (view; no key, read by one query)",
        "    id  INTEGER",
        "shop.never  (view; no key, read by one query)",
        "    n  any",
        "shop.orders  (table; key id)",
        "    id  INTEGER",
        "    price  DECIMAL(9)",
        "    (no name)  TEXT",
        "shop.pairs  (table; key a, b)",
        "    a  TEXT",
        "    b  INT",
        "shop.broken  left out: SQLite cannot prepare it: no such table: main.missing.",
    ]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("shop.db", "shop"),
        ("sqlite:///shop.db", "shop"),
        ("store=shop.db", "store"),
        ("store=sqlite:///shop.db", "store"),
        ("./shop.db", "shop"),
    ],
)
def test_a_source_is_named_by_its_file_or_by_the_person(address: str, name: str) -> None:
    assert f"\n{name}.orders  (" in rowfall("datasets", address).stdout


def test_a_file_whose_name_holds_an_equals_sign_is_found_with_a_name_before_it(folder: Path) -> None:
    make(folder / "a=b.db")
    assert "\nx.orders  (" in rowfall("datasets", "x=a=b.db").stdout
    make(folder / "not a name=b.db")
    assert "\nnot a name=b.orders  (" in rowfall("datasets", "not a name=b.db").stdout


def test_datasets_says_which_source_cannot_be_read_and_lists_the_others(folder: Path) -> None:
    (folder / "junk.db").write_text("junk " * 500)
    result = rowfall("datasets", "junk.db", "shop.db", "missing.db")
    assert result.exit_code == 1
    assert "shop.orders" in result.stdout
    assert "junk: junk.db is not a SQLite database" in result.stderr
    assert "missing: There is no file missing.db." in result.stderr


@pytest.mark.usefixtures("folder")
def test_datasets_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())
    rowfall("datasets", "shop.db")
    assert sorted(folder.iterdir()) == before


# What is refused before anything is served


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "address", ["missing.db", "sqlite:///missing.db", "x=missing.db", "shop.db/inside.db"]
)
def test_a_file_that_is_missing_is_refused(address: str) -> None:
    path = address.removeprefix("sqlite:///").removeprefix("x=")
    # Without a state database, a server that did start would end at once too, with other words.
    result = rowfall("serve", "shop.db", address, "--state", "no/such/folder/state.db")
    refused(result, f"There is no file {path}.")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "addresses", [("shop.db", "shop.db"), ("shop.db", "shop=other.db"), ("a=shop.db", "a=b.db")]
)
def test_two_sources_of_one_name_are_refused(addresses: tuple[str, str]) -> None:
    for command in ("serve", "datasets"):
        refused(rowfall(command, *addresses), "Two sources are called", "NAME=FILE")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("address", ["mysql://host/db", "", "x=", "sqlite://shop.db", "sqlite:///"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    for command in ("serve", "datasets"):
        result = rowfall(command, address)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert result.stderr.startswith("rowfall: ")


@pytest.mark.usefixtures("folder")
def test_a_configuration_that_was_named_has_to_be_there() -> None:
    refused(rowfall("serve", "shop.db", "--config", "mine.toml"), "There is no configuration mine.toml")


def test_a_configuration_that_does_not_fit_is_a_sentence(folder: Path) -> None:
    (folder / "rowfall.toml").write_text("chunk_rws = 5\n")
    refused(rowfall("serve", "shop.db"), "chunk_rws")
    (folder / "rowfall.toml").write_text("chunk_rows = \n")
    refused(rowfall("serve", "shop.db"), "rowfall.toml cannot be read")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("host", ["0.0.0.0", "example.org"])
def test_without_sign_in_other_computers_are_refused(host: str) -> None:
    refused(rowfall("serve", "shop.db", "--auth", "none", "--host", host), "--auth none", host)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments",
    [
        ("serve",),
        ("datasets",),
        ("serve", "shop.db", "--port", "many"),
        ("serve", "shop.db", "--auth", "proxy"),
        ("serve", "shop.db", "--unknown"),
        ("unknown",),
        ("serve", "shop.db", "--config", "."),
    ],
)
def test_a_wrong_use_is_explained_and_ends_with_2(arguments: tuple[str, ...]) -> None:
    refused(rowfall(*arguments), "Usage:", status=2)


@pytest.mark.usefixtures("folder")
def test_a_port_that_does_not_exist_is_a_sentence() -> None:
    refused(rowfall("serve", "shop.db", "--port", "70000"), "port", "65535")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("state", ["no/such/folder/state.db", "sqlite://x", "shop.db"])
def test_a_state_database_that_cannot_be_used_is_a_sentence(state: str) -> None:
    refused(rowfall("serve", "shop.db", "--state", state), "state database")


def test_the_version_is_told() -> None:
    assert rowfall("--version").stdout == f"rowfall, version {__version__}\n"


@pytest.mark.parametrize("arguments", [("-h",), ("serve", "--help"), ("demo", "-h"), ("datasets", "-h")])
def test_every_command_explains_itself(arguments: tuple[str, ...]) -> None:
    result = rowfall(*arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


# A server


Serve = Callable[..., "Served"]


class Served:
    """A server in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with (folder / "stderr.txt").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve", *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r"http://[^/]+", self.line)
        self.url = found[0] if found else ""

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float, str]:
        """The exit code, how many seconds it took, and what else was printed."""
        started = time.monotonic()
        self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - started, rest


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    made: list[Served] = []

    def serve(*arguments: str) -> Served:
        made.append(Served(folder, *arguments))
        return made[-1]

    yield serve
    for each in made:
        each.process.kill()
        each.process.communicate()


def test_a_server_says_when_it_is_ready_and_ends_at_once_with_an_open_stream(
    serve: Serve, folder: Path
) -> None:
    server = serve("shop.db", "--port", "0", "--auth", "none")
    assert re.fullmatch(r"Rowfall is ready: http://127\.0\.0\.1:[1-9]\d*/\n", server.line)
    with httpx.Client(base_url=server.url, timeout=20) as browser:
        address = browser.post("/reports", data={"dataset": "shop.never"}).headers["location"]
        with browser.stream("GET", f"{address}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data: ")
            code, seconds, rest = server.end()
            assert "event: end" not in list(lines)
    assert (code, rest) == (0, "")
    assert seconds < 5
    # The report was handed back, so that it goes on with the next start and not after its lease ran out.
    with closing(sqlite3.connect(folder / "rowfall-state.db")) as state:
        assert state.execute("SELECT status, lease_until FROM report").fetchall() == [("running", 0)]
    assert "Traceback" not in (folder / "stderr.txt").read_text()


def test_a_server_with_sign_in_prints_a_link_that_works(serve: Serve) -> None:
    server = serve("shop.db", "--port", "0")
    found = re.fullmatch(r"Rowfall is ready: (http://127\.0\.0\.1:\d+/\?token=[\w-]{20,})\n", server.line)
    assert found
    with httpx.Client(timeout=20) as browser:
        assert browser.get(server.url).status_code == 401
        assert "shop.db" not in browser.get(server.url).text
        page = browser.get(found[1], follow_redirects=True)
        assert (page.status_code, str(page.url)) == (200, f"{server.url}/")
    assert server.end(signal.SIGINT)[0] == 0


def test_a_file_that_is_no_database_is_served_with_a_sentence_on_the_page(serve: Serve, folder: Path) -> None:
    (folder / "junk.db").write_text("junk " * 500)
    server = serve("junk.db", "shop.db", "--port", "0", "--auth", "none")
    page = httpx.get(server.url, timeout=20).text
    assert "junk.db is not a SQLite database" in page
    assert "/datasets/shop.orders" in page
    assert server.end()[0] == 0


@pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system cannot bound what is unsent"
)
def test_a_viewer_on_a_slow_line_is_not_told_of_long_ago(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWFALL_PAGE_CHUNKS", "1000")  # all rows come: about 8 MB
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executemany("INSERT INTO orders (price) VALUES (?)", [(n,) for n in range(100_000)])
        connection.commit()
    server = serve("shop.db", "--port", "0", "--auth", "none")
    host, port = "127.0.0.1", int(server.url.rpartition(":")[2])
    with socket.socket() as line, httpx.Client(base_url=server.url, timeout=20) as browser:
        address = browser.post("/reports", data={"dataset": "shop.orders"}).headers["location"]
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        line.settimeout(20)
        line.connect((host, port))
        line.sendall(f"GET {address}/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert line.recv(15) == b"HTTP/1.1 200 OK"
        while browser.get(f"/api/v1{address}").json()["status"] != "done":
            time.sleep(0.02)
        time.sleep(0.5)  # the stream sends what it can
        old = b""
        while b'data-status="done"' not in old:
            old += line.recv(65_536)
    assert len(old) < 1_000_000
    assert server.end()[0] == 0


def test_a_server_listens_on_ipv6_too(serve: Serve) -> None:
    server = serve("shop.db", "--host", "::1", "--port", "0", "--auth", "none")
    assert re.fullmatch(r"Rowfall is ready: http://\[::1\]:[1-9]\d*/\n", server.line)
    assert httpx.get(f"{server.url}/healthz", timeout=20).text == "ok\n"
    assert server.end()[0] == 0


def test_a_port_that_is_taken_ends_the_command(serve: Serve, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serve("shop.db", "--port", str(taken.getsockname()[1]), "--auth", "none")
        assert server.line == ""
        assert server.process.wait(20) == 3
    assert "address already in use" in (folder / "stderr.txt").read_text()


# A file of a dataset


@pytest.fixture
def orders(folder: Path) -> list[tuple[int, float, str]]:
    """What `shop.orders` holds."""
    rows = [(number, number / 4, f"a=b {number % 3}") for number in range(1, 101)]
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        connection.commit()
    return rows


def test_an_export_holds_the_rows_that_meet_all_filters(
    folder: Path, orders: list[tuple[int, float, str]]
) -> None:
    filters = ("--filter", "price__gt=10", "--filter", "__contains=A=B", "--filter", "id__in=50", "--filter")
    target = folder / "out.ndjson"
    result = rowfall(
        "export", "shop.db", "orders", "-o", str(target), *filters, "id__in=3", "--filter", "id__notnull"
    )
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["id"] for line in target.read_text().splitlines()] == [50]
    result = rowfall("export", "shop.db", "orders", "--quiet", "--column", "id", "--filter", "price__lte=2")
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == b'"id"\r\n' + b"".join(
        b"%d\r\n" % row for row, price, _ in orders if price <= 2
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("prize__gt=1", "no column 'prize'"),
        ("price__above=1", "“above”"),
        ("price__gt", "“price__gt” is no filter: write column__operator=value"),
        ("price=1", "price__eq=10"),
    ],
)
def test_a_filter_that_does_not_fit_is_a_sentence_and_leaves_no_file(
    folder: Path, text: str, word: str
) -> None:
    refused(rowfall("export", "shop.db", "orders", "-o", "out.csv", "--filter", text), word)
    assert not (folder / "out.csv").exists()
