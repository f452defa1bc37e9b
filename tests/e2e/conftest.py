"""Browsers, and servers for them. The same tests run on Chromium and on Firefox; WebKit has its own file.

A browser that is missing fails the run, unless it is left out by name: `--without=webkit`, or
ROWFALL_TESTS_WITHOUT=webkit,firefox.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

# The test files share a few modules that lie beside them.
sys.path.insert(0, str(Path(__file__).parent))

from cutting_proxy import CuttingProxy
from serving import Serve, Server
from tables import cells_of_each_kind, paced_table, slow_views
from watching import Complaints, MakeContext

ENGINES = ("chromium", "firefox", "webkit")
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
_SYSTEM_BROWSERS = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
_CHROMIUM = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_used = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without", action="append", default=[], choices=ENGINES, help="Leave a browser out of the tests."
    )


def pytest_configure(config: pytest.Config) -> None:
    chosen = config.option.browser or ENGINES
    left_out = {*config.option.without, *os.environ.get("ROWFALL_TESTS_WITHOUT", "").split(",")} - {""}
    if unknown := left_out - {*ENGINES}:
        raise pytest.UsageError(f"ROWFALL_TESTS_WITHOUT names {', '.join(unknown)}; known are {ENGINES}.")
    config.stash[_used] = {engine: "" for engine in ENGINES if engine in chosen and engine not in left_out}
    expect.set_options(timeout=20_000)  # a report of many rows on a busy machine
    # pytest-playwright runs each test once for each of these; its own WebKit cannot use the system's.
    config.option.browser = [engine for engine in config.stash[_used] if engine != "webkit"]


def pytest_report_header(config: pytest.Config) -> str:
    engines = [f"{engine}{'' if engine in config.stash[_used] else ' (left out)'}" for engine in ENGINES]
    return f"browsers: {', '.join(engines)}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # pytest orders tests by the browsers they share. Those without one still have to come first: Playwright
    # keeps an event loop for the rest of the run, and asynchronous tests need their own.
    items.sort(key=lambda item: Path(__file__).parent in item.path.parents)
    for item in items:
        engine = _engine_of(item)
        if engine and engine not in config.stash[_used]:
            item.add_marker(pytest.mark.skip(f"{engine} is left out by name"))


def _engine_of(item: pytest.Item) -> str | None:
    if "webkit" in getattr(item, "fixturenames", ()):
        return "webkit"
    call = getattr(item, "callspec", None)
    return call.params.get("browser_name") if call else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    ran = [f"{engine} {version}" for engine, version in config.stash[_used].items() if version]
    left_out = [engine for engine in ENGINES if engine not in config.stash[_used]]
    terminalreporter.write_line(f"browsers that ran: {', '.join(ran) or 'none'}")
    if left_out:
        terminalreporter.write_line(f"browsers left out by name: {', '.join(left_out)}")


# Browsers


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], browser_name: str) -> dict[str, Any]:
    """The system's browser where there is one, else Playwright's own (`playwright install`)."""
    found = next(filter(None, map(shutil.which, _SYSTEM_BROWSERS[browser_name])), None)
    options = dict(browser_type_launch_args)
    if found:
        options["executable_path"] = found
        if browser_name == "firefox":
            options["channel"] = "moz-firefox"
    if browser_name == "chromium":
        alone = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []
        options["args"] = [*_CHROMIUM, *alone]
    return options


@pytest.fixture(scope="session")
def base_url() -> None:
    """Each test says which server it means. (pytest-playwright's own one is of a deprecated form.)"""


@pytest.fixture(scope="session")
def browser(browser: Browser, browser_name: str, pytestconfig: pytest.Config) -> Browser:
    pytestconfig.stash[_used][browser_name] = browser.version
    return browser


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return browser_context_args | {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture
def complaints(request: pytest.FixtureRequest) -> Iterator[Complaints]:
    """No page of any test may complain, but for what the test allows."""
    found = Complaints()
    call = getattr(request.node, "callspec", None)
    if call and call.params.get("browser_name") == "firefox":
        # It tells of each request that a page had under way when it was left.
        found.allow("htmx:error: NetworkError when attempting to fetch resource")
    yield found
    assert found == []


@pytest.fixture
def new_context(new_context: MakeContext, complaints: Complaints) -> MakeContext:
    def make(**options: Any) -> BrowserContext:
        context = new_context(**options)
        context.set_default_timeout(15_000)
        complaints.watch(context)
        return context

    return make


# Servers


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`rowfall demo`, started once; it builds its database itself."""
    server = Server(tmp_path_factory.mktemp("demo"), "demo").start()
    yield server
    server.stop()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def demo_file(demo: Server) -> Path:
    return demo.folder / "rowfall-demo.db"


@contextmanager
def _serving(folders: Callable[[], Path]) -> Iterator[Serve]:
    servers: list[Server] = []

    def serve(*sources: str | Path, auth: str = "none", **settings: object) -> Server:
        server = Server(folders(), "serve", *map(str, sources), auth=auth, **settings)
        servers.append(server)
        return server.start()

    yield serve
    for server in servers:
        server.stop()
        assert "Traceback" not in server.log, server.log


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server on other files, with its state in the test's own folder."""
    with _serving(lambda: tmp_path) as serve:
        yield serve


@pytest.fixture(scope="session")
def serve_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts a server that several tests share: that takes two seconds each time."""
    with _serving(lambda: tmp_path_factory.mktemp("server")) as serve:
        yield serve


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of the servers that several tests share."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
def slow_server(serve_all: Serve, files: Path) -> Server:
    """See `slow_views`. Whoever asks for a report here leaves none running: see `slow`."""
    return serve_all(slow_views(files / "slow.db"))


@pytest.fixture
def slow(slow_server: Server) -> Iterator[Server]:
    yield slow_server
    slow_server.cancel_all()


@pytest.fixture(scope="session")
def paced(serve_all: Serve, files: Path) -> Server:
    """The tables `short.paced` and `long.paced`, which take one second and a few; see `paced_table`."""
    sizes = {"short": 3_000, "long": 12_000}
    return serve_all(*(paced_table(files / f"{name}.db", rows) for name, rows in sizes.items()))


@pytest.fixture(scope="session")
def short_pages(serve_all: Serve, files: Path) -> Server:
    """Small chunks and pages, and one report at a time: every state with few rows."""
    each_kind = cells_of_each_kind(files / "kinds.db")
    broken = files / "broken.db"
    broken.write_text("This is no database, but long enough to be taken for one." * 20)
    return serve_all(
        each_kind, broken, chunk_rows=100, page_chunks=2, page_rows=400, running_reports=1, reports_per_user=2
    )


@pytest.fixture
def line_to() -> Iterator[Callable[[Server], CuttingProxy]]:
    """A line to a server that can be cut."""
    proxies: list[CuttingProxy] = []

    def line_to(server: Server) -> CuttingProxy:
        proxies.append(CuttingProxy(server.port).__enter__())
        return proxies[-1]

    yield line_to
    for proxy in proxies:
        proxy.__exit__()


@pytest.fixture(scope="session")
def artefacts() -> Path:
    ARTEFACTS.mkdir(exist_ok=True)
    return ARTEFACTS


# WebKit: the system's, through its own driver


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """A screen that nobody sees."""
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as numbers:
        yield f":{numbers.readline().strip()}"
    screen.terminate()
    screen.wait(10)


@pytest.fixture(scope="session")
def used_engines(pytestconfig: pytest.Config) -> dict[str, str]:
    """The version of each engine that ran."""
    return pytestconfig.stash[_used]
