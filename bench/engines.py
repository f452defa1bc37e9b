"""The three engines behind one interface: Playwright drives Chromium and Firefox, Selenium WebKitGTK.

One browser at a time, because memory and time are those of the whole machine.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

ENGINES = ("chromium", "firefox", "webkit")
_FOUND = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
_CHROMIUM = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_MINI_BROWSERS = "usr/lib/*/webkit2gtk-4.*/MiniBrowser"
_SIZE = {"width": 1280, "height": 800}
# Selenium gives no value of a promise back, so the function's is handed over when it is there.
_CALL = "const give = arguments[1]; Promise.resolve(({function})(arguments[0])).then(give)"


class Gone(Exception):
    """The browser does not answer any more."""


class Engine(Protocol):
    name: str
    version: str

    def goto(self, url: str) -> None:
        """Begins to open a page; returns before it is complete."""

    def evaluate(self, function: str, argument: object = None) -> Any:
        """What a function in the page gives, waiting for a promise. Raises Gone."""

    def memory(self) -> float:
        """MiB of all processes of the browser; what several share is counted once."""

    def kill(self) -> None:
        """Ends all processes at once; may be called from another thread."""


class _Processes:
    """A browser's processes: those that began while it started, and all that came from them."""

    def __init__(self, before: set[int]) -> None:
        self._first = _descendants({os.getpid()}) - before

    def memory(self) -> float:
        return sum(map(_share, self._all())) / 1024

    def kill(self) -> None:
        for process in self._all():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _all(self) -> set[int]:
        return self._first | _descendants(self._first)


def _descendants(roots: set[int]) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in roots | found} - found:
        found |= more
    return found


def _share(process: int) -> int:
    """KiB of a process, each page divided by the number of its users."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


class _Playwright:
    def __init__(self, name: str, browser: Any, processes: _Processes) -> None:
        self.name, self.version = name, browser.version
        self._page = browser.new_page(viewport=_SIZE)
        self._page.set_default_timeout(0)
        self._processes = processes
        self.memory, self.kill = processes.memory, processes.kill

    def goto(self, url: str) -> None:
        self._page.goto(url, wait_until="commit", timeout=60_000)

    def evaluate(self, function: str, argument: object = None) -> Any:
        from playwright.sync_api import Error

        try:
            return self._page.evaluate(function, argument)
        except Error as error:
            raise Gone(str(error)) from error


class _Selenium:
    name = "webkit"

    def __init__(self, driver: Any, processes: _Processes) -> None:
        self.version = f"{driver.capabilities['browserVersion']} (WebKitGTK)"
        self._driver = driver
        self.memory, self.kill = processes.memory, processes.kill
        driver.set_script_timeout(600)
        driver.set_window_size(_SIZE["width"], _SIZE["height"] + 100)

    def goto(self, url: str) -> None:
        self._driver.get(url)

    def evaluate(self, function: str, argument: object = None) -> Any:
        from selenium.common.exceptions import WebDriverException
        from urllib3.exceptions import HTTPError

        try:
            return self._driver.execute_async_script(_CALL.replace("{function}", function), argument)
        except (WebDriverException, HTTPError, OSError) as error:
            raise Gone(str(error)) from error


@contextmanager
def engine(name: str) -> Iterator[Engine]:
    """A fresh browser with one empty page; all its processes are ended afterwards."""
    with _webkit() if name == "webkit" else _playwright(name) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def _playwright(name: str) -> Iterator[Engine]:
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        options: dict[str, Any] = {}
        if found := next(filter(None, map(shutil.which, _FOUND[name])), None):
            options["executable_path"] = found
            if name == "firefox":
                options["channel"] = "moz-firefox"
        if name == "chromium":
            alone = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []
            options["args"] = [*_CHROMIUM, *alone]
        before = _descendants({os.getpid()})
        browser = getattr(playwright, name).launch(**options)
        try:
            yield _Playwright(name, browser, _Processes(before))
        finally:
            with suppress(Error):
                browser.close()


@contextmanager
def _webkit() -> Iterator[Engine]:
    from selenium import webdriver
    from selenium.webdriver.webkitgtk.options import Options
    from selenium.webdriver.webkitgtk.service import Service

    browsers = sorted(Path("/").glob(_MINI_BROWSERS))
    if not browsers:
        raise SystemExit("There is no WebKit: apt install webkit2gtk-driver xvfb, or leave it out: --engines")
    options = Options()
    options.binary_location = str(browsers[-1])
    options.add_argument("--automation")
    options.page_load_strategy = "none"
    with _display() as display:
        # It does not start as root with its sandbox.
        environment = os.environ | {"DISPLAY": display, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
        service = Service(executable_path=shutil.which("WebKitWebDriver"), env=environment)
        before = _descendants({os.getpid()})
        driver = webdriver.WebKitGTK(options=options, service=service)
        try:
            yield _Selenium(driver, _Processes(before))
        finally:
            with suppress(Exception):  # it was killed
                driver.quit()


@contextmanager
def _display() -> Iterator[str]:
    """A screen that nobody sees."""
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with os.fdopen(reader) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        screen.terminate()
        screen.wait(10)
