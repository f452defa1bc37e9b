"""The main flow in WebKit: the engine of Safari, here as WebKitGTK through its own driver."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service
from serving import Server
from tables import select, shown

# Selenium's own driver for it is built in a way that Selenium deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning")

_BROWSERS = "/usr/lib/*/webkit2gtk-4.*/MiniBrowser"
_LAST_CELL = '[data-chunk="24"] .block:last-child tr:last-child td'
_FIRST_ROWS = """
    const shown = cell => cell.className ? [cell.className, cell.textContent] : cell.textContent;
    const rows = [...document.querySelectorAll("#report-rows tr")].slice(0, 100);
    return JSON.stringify(rows.map(row => [...row.cells].map(shown)))"""


@pytest.fixture
def webkit(
    display: str, used_engines: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[webdriver.WebKitGTK]:
    driver = shutil.which("WebKitWebDriver")
    browsers = sorted(Path("/").glob(_BROWSERS.lstrip("/")))
    if not driver or not browsers:
        pytest.fail(
            "There is no WebKit: apt install webkit2gtk-driver xvfb, or leave it out: --without=webkit"
        )
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setenv("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1")  # it does not start as root with it
    options = Options()
    options.binary_location = str(browsers[-1])
    options.add_argument("--automation")
    browser = webdriver.WebKitGTK(options=options, service=Service(executable_path=driver))
    used_engines["webkit"] = (
        f"{browser.capabilities['browserVersion']} ({browser.capabilities['browserName']})"
    )
    browser.set_page_load_timeout(30)
    yield browser
    browser.quit()


def until(browser: webdriver.WebKitGTK, question: str, answer: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while (found := browser.execute_script(f"return {question}")) != answer:
        assert time.monotonic() < deadline, f"{question} was {found!r}, not {answer!r}"
        time.sleep(0.05)


def test_a_report_in_webkit(webkit: webdriver.WebKitGTK, demo: Server, demo_file: Path) -> None:
    webkit.get(demo.url)
    webkit.find_element(By.CSS_SELECTOR, 'a.card[href="/datasets/noise.recordings"]').click()
    until(webkit, "location.pathname", "/datasets/noise.recordings")
    webkit.find_element(By.XPATH, "//button[normalize-space() = 'Generate']").click()
    until(webkit, "location.pathname.slice(0, 9)", "/reports/")
    until(webkit, "document.getElementById('report-status')?.dataset.status", "done")
    until(webkit, "document.querySelectorAll('#report-rows > .chunk').length", 24)
    assert webkit.title == "Done · noise.recordings · Rowfall"
    progress = webkit.find_element(By.ID, "report-progress")
    assert progress.get_attribute("aria-valuenow") == "100"
    rows = json.loads(webkit.execute_script(_FIRST_ROWS))
    assert rows == shown(select(demo_file, "SELECT * FROM recordings LIMIT 100"))
    webkit.execute_script("const s = document.getElementById('report-scroll'); s.scrollTop = s.scrollHeight")
    until(webkit, f"document.querySelector('{_LAST_CELL}')?.textContent", "23453")
