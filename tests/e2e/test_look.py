"""The pages in light, dark and on a tablet, saved to artefacts/; and without a mouse."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from report_page import generate, until, wait_for_first_rows, wait_for_rows, wait_for_status
from serving import Server
from watching import Complaints, MakeContext

LOOKS = {"light": (1280, 800), "dark": (1280, 800), "tablet": (820, 1180)}


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(
    new_context: MakeContext, look: str, browser_name: str, request: pytest.FixtureRequest
) -> Iterator[BrowserContext]:
    if look != "dark" or browser_name != "firefox":
        yield new_context(color_scheme="dark" if look == "dark" else "light")
        return
    # Playwright cannot ask Firefox itself for another colour scheme; its settings can.
    dark = {"layout.css.prefers-color-scheme.content-override": 0}
    browser = request.getfixturevalue("launch_browser")(firefox_user_prefs=dark)
    context = browser.new_context()
    request.getfixturevalue("complaints").watch(context)
    yield context
    browser.close()


@pytest.fixture
def page(page: Page, look: str) -> Page:
    width, height = LOOKS[look]
    page.set_viewport_size({"width": width, "height": height})
    return page


def test_every_page_fits_its_window(
    page: Page,
    demo: Server,
    slow: Server,
    look: str,
    browser_name: str,
    artefacts: Path,
    complaints: Complaints,
) -> None:
    if browser_name == "firefox":  # there Playwright adds a style of its own for each screenshot
        complaints.allow("style-src-elem")

    def show(name: str) -> None:
        # caret: Playwright would hide it by an inline style, which the policy forbids.
        page.screenshot(caret="initial", path=artefacts / f"{name}-{look}-{browser_name}.png")
        wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{name} scrolls sideways"

    generate(page, demo, "noise.recordings")
    wait_for_status(page, "done")
    wait_for_rows(page, 23_453)
    until(page, "() => document.querySelectorAll('#report-summary svg').length > 0", True)
    show("done")
    page.locator("button.download").click()
    # An `expect` that has to wait takes a picture of all roles first: with so many cells that is minutes.
    page.locator("#report-downloads a", has_text="NDJSON").wait_for()
    show("download")
    page.keyboard.press("Escape")
    if look == "dark":
        assert (
            page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
            == "rgb(18, 22, 21)"
        )

    report_id = generate(page, slow, "slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    wait_for_first_rows(page)
    show("running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    show("cancel")
    page.get_by_role("button", name="Cancel report").click()
    wait_for_status(page, "cancelled")
    show("cancelled")

    page.goto(f"{demo.url}/reports")
    page.locator("#reports a", has_text="noise.recordings").first.click()
    page.wait_for_load_state()
    page.get_by_label("Find in all rows").fill("sirens")
    page.get_by_label("Find in all rows").press("Enter")
    expect(page.locator("#report-found")).to_contain_text("Next")
    until(page, "() => document.querySelector('#report-rows [aria-current]') !== null", True)
    show("find")
    page.locator("#report-scroll").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    show("row")
    page.keyboard.press("Escape")

    report_id = demo.request("noise.sensor_reading")
    demo.wait_until(report_id, "done")
    page.goto(f"{demo.url}/reports/{report_id}?row=200000")
    until(page, "() => document.querySelector('#report-rows [data-chunk=\"200\"] tr') !== null", True)
    show("far-down")

    generate(page, demo, "noise.alarm")
    wait_for_status(page, "done")
    show("empty")
    for name, path in (("index", "/"), ("dataset", "/datasets/noise.recordings"), ("history", "/reports")):
        page.goto(f"{demo.url}{path}")
        show(name)


@pytest.mark.parametrize("look", ["light"])
class TestWithoutAMouse:
    """Tab and Enter are enough."""

    def tab_to(self, page: Page, selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"40 presses of Tab do not reach {selector}")

    def test_a_report_is_generated_scrolled_and_cancelled(
        self, page: Page, slow: Server, complaints: Complaints
    ) -> None:
        complaints.allow("Error in input stream")  # Firefox tells so when a page with a stream is left
        page.goto(slow.page_of("slow.slow"))
        self.tab_to(page, "form[action^='/reports'] button")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/reports/[0-9a-f-]{36}"))
        wait_for_first_rows(page)
        self.tab_to(page, "#report-actions button")
        self.tab_to(page, "#report-scroll")
        outline = page.locator("#report-scroll").evaluate(
            "scroller => getComputedStyle(scroller).outlineStyle"
        )
        assert outline == "solid"
        page.keyboard.press("End")
        expect(page.locator("#report-table .head")).to_be_in_viewport()
        page.reload()
        self.tab_to(page, "#report-actions button")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        self.tab_to(page, "dialog button.danger")
        page.keyboard.press("Enter")
        wait_for_status(page, "cancelled", seconds=5)

    def test_the_first_tab_leads_past_the_navigation(self, page: Page, demo: Server) -> None:
        page.goto(demo.url)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()

    def test_the_header_stays_while_the_rows_scroll(self, page: Page, paced: Server) -> None:
        generate(page, paced, "short.paced")
        wait_for_rows(page, 3_000)
        header = page.get_by_role("columnheader", name="name")
        page.locator("#report-scroll").hover()
        page.mouse.wheel(0, 300)  # past the summaries, which scroll away
        until(page, "() => document.getElementById('report-scroll').scrollTop", 300)
        before = header.bounding_box()
        page.mouse.wheel(0, 7_700)
        expect(page.get_by_text("row 315", exact=True)).to_be_in_viewport()
        assert header.bounding_box() == before
        expect(page.get_by_text("row 1", exact=True)).not_to_be_in_viewport()
        assert page.evaluate("() => document.scrollingElement.scrollTop") == 0
