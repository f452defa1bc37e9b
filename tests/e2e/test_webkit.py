"""The main flow in WebKit: the engine of Safari, here as WebKitGTK through its own driver."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
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
_ROW_SEEN = """(() => {
    const [frame, head] = ["#report-scroll", ".head"].map(
        place => document.querySelector(place).getBoundingClientRect());
    return document.elementFromPoint(frame.left + 60, head.bottom + 8)?.closest("tr")?.cells[0].textContent;
})()"""
_MARKED = "document.querySelector('#report-rows tr[aria-current]')?.cells[0].textContent"
_CHUNKS = "document.querySelectorAll('#report-rows > .chunk').length"
_STATUS = "document.getElementById('report-status')?.dataset.status"
_BANNER_HIDDEN = "document.getElementById('report-connection').hidden"


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


def press(browser: webdriver.WebKitGTK, name: str) -> None:
    browser.find_element(By.XPATH, f"//button[normalize-space() = '{name}']").click()


def report_of(browser: webdriver.WebKitGTK, address: str) -> str:
    """Opens the page of a dataset and generates: the report's id."""
    browser.get(address)
    press(browser, "Generate")
    until(browser, "location.pathname.slice(0, 9)", "/reports/")
    return str(browser.current_url).rsplit("/", 1)[1].partition("?")[0]


def test_a_person_follows_a_report_in_webkit_and_moves_about_in_it(
    webkit: webdriver.WebKitGTK,
    paced: Server,
    slow: Server,
    line_to: Callable[[Server], CuttingProxy],
    artefacts: Path,
) -> None:
    line = line_to(paced)
    report_id = report_of(webkit, paced.page_of("long.paced").replace(paced.url, line.url))
    until(webkit, "document.querySelector('#report-rows tr') !== null", True)
    assert webkit.execute_script(f"return {_STATUS}") == "running"
    paced.wait_until(report_id, "running", "done", rows=2_000)
    line.cut()
    paced.wait_until(report_id, "running", "done", rows=5_000)
    webkit.refresh()  # in the middle
    until(webkit, _STATUS, "done", 60)
    until(webkit, _CHUNKS, 12)
    until(webkit, _BANNER_HIDDEN, True)
    assert len(line.streams) >= 2
    numbers = (
        "[...document.querySelectorAll('#report-rows > .chunk')].map(chunk => +chunk.dataset.first).join()"
    )
    assert webkit.execute_script(f"return {numbers}") == ",".join(str(n * 1_000 + 1) for n in range(12))

    field = webkit.find_element(By.CSS_SELECTOR, "#report-jump input")
    field.clear()
    field.send_keys("7777")
    press(webkit, "Go")
    until(webkit, _ROW_SEEN, "7777")
    until(webkit, "location.search", "?row=7777")
    webkit.refresh()
    until(webkit, _ROW_SEEN, "7777")

    webkit.find_element(By.ID, "find-text").send_keys("row 10101")
    press(webkit, "Find")
    until(webkit, _MARKED, "10101")
    assert webkit.execute_script("return document.activeElement.closest('.find') !== null")
    found = webkit.find_element(By.ID, "report-found").text
    assert re.match(r"Row 10,101, in column “name” Previous Next", found), found
    webkit.save_screenshot(str(artefacts / "find-light-webkit.png"))

    webkit.execute_script("document.querySelector('#report-rows tr[aria-current]').focus()")
    webkit.switch_to.active_element.send_keys(Keys.ENTER)
    until(webkit, "document.getElementById('row-dialog').open", True)
    until(webkit, "document.getElementById('row-title').textContent", "Row 10,101")
    webkit.save_screenshot(str(artefacts / "row-light-webkit.png"))
    press(webkit, "Close")

    report_id = report_of(webkit, slow.page_of("slow.slow"))
    until(webkit, "document.querySelector('#report-rows tr') !== null", True)
    press(webkit, "Cancel")
    press(webkit, "Cancel report")
    until(webkit, _STATUS, "cancelled", 10)
    assert slow.report(report_id)["status"] == "cancelled"
