"""The report is one table to assistive technology: the roles that each engine itself computes.

In a <table> with another role only Chromium takes rows for rows and cells for cells by itself. What Firefox
makes of them only WebDriver BiDi tells.
"""

import itertools
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from report_page import attribute, generate, until, wait_for_chunks, wait_for_status
from selenium import webdriver
from selenium.webdriver.common.by import By
from serving import Server
from test_webkit import until as until_webkit
from test_webkit import webkit  # noqa: F401 - a fixture
from websocket import create_connection

ROLES = ("table", "rowgroup", "row", "columnheader", "cell", "gridcell")
# Of `short.paced`, reloaded: its header, and its first 1,000 rows in 10 blocks of 3 columns.
LOADED = {"table": 1, "rowgroup": 11, "row": 1_001, "columnheader": 3, "cell": 3_000}
# Chromium tells only of the blocks that it has laid out: the one on the screen.
ON_SCREEN = {"table": 1, "rowgroup": 2, "row": 101, "columnheader": 3, "cell": 300}

_GO = """row => {
    const form = document.getElementById("report-jump");
    form.elements.row.value = row;
    form.requestSubmit();
}"""

pytestmark = pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning")
Send = Callable[..., dict]


@pytest.fixture
def report(paced: Server) -> str:
    """The address of a finished report of 3,000 rows."""
    report_id = paced.request("short.paced")
    paced.wait_until(report_id, "done")
    return f"{paced.url}/reports/{report_id}"


@pytest.mark.only_browser("chromium")
def test_one_table_in_chromium(page: Page, report: str) -> None:
    page.goto(report)
    wait_for_chunks(page, 3)
    page.evaluate("() => document.getElementById('report-summary').remove()")
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = Counter(node["role"]["value"] for node in tree if not node["ignored"])
    assert {role: roles[role] for role in ROLES if roles[role]} == ON_SCREEN
    parents = {child: node["nodeId"] for node in tree for child in node.get("childIds", ())}
    roles_by_id = {node["nodeId"]: node["role"]["value"] for node in tree if not node["ignored"]}

    def chain(node: str) -> list[str]:
        found = []
        while node:
            found.append(roles_by_id.get(node))
            node = parents.get(node, "")
        return [role for role in found if role in ROLES]

    cells = [node["nodeId"] for node in tree if roles_by_id.get(node["nodeId"]) == "cell"]
    assert {tuple(chain(cell)) for cell in cells} == {("cell", "row", "rowgroup", "table")}


def test_rows_have_their_place_wherever_a_person_is(page: Page, paced: Server) -> None:
    generate(page, paced, "short.paced")
    wait_for_status(page, "done")
    assert attribute(page, "#report-table", "aria-rowcount") == "3001"
    assert attribute(page, "#report-table", "aria-colcount") == "3"
    page.goto(page.url)
    for row in (2_900, 1_500, 1):
        page.evaluate(_GO, row)
        until(page, "() => document.activeElement.getAttribute('aria-rowindex')", str(row + 1))
        assert page.evaluate("() => document.activeElement.cells[0].textContent") == str(row)
    assert attribute(page, "#report-table", "aria-rowcount") == "3001"


@pytest.fixture
def firefox(used_engines: dict[str, str], tmp_path: Path) -> Iterator[Send]:
    if "firefox" not in used_engines:
        pytest.skip("firefox is left out by name")
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if not program:
        pytest.fail("There is no Firefox: apt install firefox-esr, or leave it out: --without=firefox")
    command = [program, "--headless", "--remote-debugging-port=0", "--profile", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    address = next(line.split()[-1] for line in process.stderr if "WebDriver BiDi listening" in line)
    socket = create_connection(f"{address}/session", suppress_origin=True, timeout=30)
    numbers = itertools.count(1)

    def send(method: str, **params: object) -> dict:
        number = next(numbers)
        socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(socket.recv())).get("id") != number:
            pass
        return dict(answer["result"])

    yield send
    socket.close()
    process.terminate()
    process.wait(20)
    process.stderr.close()


def test_one_table_in_firefox(firefox: Send, report: str) -> None:
    firefox("session.new", capabilities={})
    tab = firefox("browsingContext.getTree")["contexts"][0]["context"]
    firefox("browsingContext.navigate", context=tab, url=report, wait="complete")

    def count(role: str) -> int:
        locator = {"type": "accessibility", "value": {"role": role}}
        return len(firefox("browsingContext.locateNodes", context=tab, locator=locator)["nodes"])

    assert {role: found for role in ROLES if (found := count(role))} == LOADED


def test_one_table_in_webkit(webkit: webdriver.WebKitGTK, report: str) -> None:  # noqa: F811
    webkit.get(report)
    until_webkit(webkit, "document.querySelectorAll('#report-rows tr').length", 1_000)

    def role(selector: str) -> str:
        return webkit.find_element(By.CSS_SELECTOR, selector).aria_role

    def cell_of(row: int) -> str:
        place = f"tr[aria-rowindex='{row + 1}'] > td:last-child"
        until_webkit(webkit, f"document.querySelector(\"{place}\").hasAttribute('role')", True)
        return role(place)

    assert role("#report-table") == "table"
    assert role("#report-table .head tr") == role("#report-rows tr") == "row"
    assert role("#report-table .head thead") == role(".block > table") == "rowgroup"
    assert role("#report-table th") == "columnheader"
    assert cell_of(1) == "cell"
    for row in (950, 2_500):  # in other blocks, and a chunk that comes when it is near
        webkit.get(f"{report}?row={row}")
        assert cell_of(row) == "cell"
