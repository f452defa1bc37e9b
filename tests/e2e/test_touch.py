"""A tablet: fingers move the rows, not the page, and hit what they aim at. And colours that can be read."""

import itertools

import pytest
from playwright.sync_api import Page, expect
from report_page import generate, until, wait_for_chunks, wait_for_first_rows, wait_for_rows, wait_for_status
from serving import Server
from watching import Complaints, MakeContext

_PLACES = """() => ["#report-table th", "#report-rows tr:nth-child(40) > td", "h1"].map(selector => {
    const box = document.querySelector(selector).getBoundingClientRect();
    return [Math.round(box.left), Math.round(box.top)];
})"""
_SCROLLED = """() => {
    const page = document.scrollingElement, rows = document.getElementById("report-scroll");
    return [page.scrollLeft, page.scrollTop, rows.scrollLeft > 100, rows.scrollTop > 100];
}"""
# WCAG 2.2, 2.5.8: 24 by 24 pixels, but for a link within a sentence.
_SMALL = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), summary, .grip")]
.flatMap(each => {
    if (!each.checkVisibility() || each.matches(".skip, p.quiet a")) return [];
    const { width, height } = each.getBoundingClientRect();
    return width < 24 || height < 24 ? [`${each.outerHTML.slice(0, 80)} ${width} x ${height}`] : [];
})"""
_CUT_OFF = """() => [...document.querySelectorAll(".tools *, .bar *, #report-progress *")].filter(each => {
    const box = each.getBoundingClientRect();
    return each.checkVisibility() && box.width && (box.left < 0 || box.right > innerWidth);
}).map(each => each.outerHTML.slice(0, 80))"""
_COLOURS = """names => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    return Object.fromEntries(names.map(name => {
        canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
        canvas.fillRect(0, 0, 1, 1);
        return [name, [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)];
    }));
}"""
# Which text stands on which ground in static/app.css.
ROWS = ("surface", "stripe", "hover", "accent-soft")
ON = {
    "text": ("ground", "sunken", *ROWS),
    "quiet": ("ground", "sunken", *ROWS),
    "faint": ("ground", *ROWS),
    "warn": ("ground", "warn-soft", *ROWS),
    "bad": ("ground", "bad-soft", *ROWS),
    "accent": ("ground", "surface"),
    "accent-strong": ("ground", "surface", "sunken"),
    "on-accent": ("accent", "accent-strong"),
}


@pytest.fixture
def tablet(new_context: MakeContext) -> Page:
    page = new_context(has_touch=True).new_page()
    page.set_viewport_size({"width": 820, "height": 1180})
    return page


@pytest.mark.only_browser("chromium")
class TestFingers:
    """Only Chromium can be told of fingers here."""

    def swipe(self, page: Page, sideways: int, down: int) -> None:
        """Draws a finger from the middle of the rows, against the way they go."""
        box = page.locator("#report-scroll").bounding_box()
        assert box
        touch = page.context.new_cdp_session(page)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 21):
            point = {"x": x - sideways * step / 20, "y": y - down * step / 20}
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        page.wait_for_timeout(200)  # held still: nothing rolls on
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def test_the_rows_are_moved_and_not_the_page(self, tablet: Page, demo: Server) -> None:
        generate(tablet, demo, "noise.recordings")
        wait_for_status(tablet, "done")
        wait_for_rows(tablet, 23_453)
        assert tablet.evaluate("() => matchMedia('(pointer: coarse)').matches")
        self.swipe(tablet, 0, 400)
        head, cell, title = tablet.evaluate(_PLACES)
        self.swipe(tablet, 300, 0)
        until(tablet, _SCROLLED, [0, 0, True, True])
        assert tablet.evaluate(_PLACES) == [head, cell, title]
        self.swipe(tablet, -250, 0)
        for _ in range(2):  # past the first row
            self.swipe(tablet, 0, -400)
        until(tablet, _SCROLLED, [0, 0, False, False])

    def test_all_is_large_enough_and_nothing_is_cut_off(
        self, tablet: Page, demo: Server, short_pages: Server, complaints: Complaints
    ) -> None:
        complaints.allow("404")
        for path in ("/", "/datasets/noise.recordings", "/reports", "/nothing"):
            tablet.goto(f"{demo.url}{path}")
            assert tablet.evaluate(_SMALL) == []
        generate(tablet, short_pages, "kinds.kinds")
        wait_for_status(tablet, "done")
        wait_for_chunks(tablet, 4)
        until(tablet, "() => document.querySelectorAll('#report-summary li').length > 0", True)
        tablet.get_by_label("Find in all rows").fill("text 3")
        tablet.get_by_role("button", name="Find", exact=True).tap()
        expect(tablet.get_by_role("link", name="Next")).to_be_visible()
        assert tablet.evaluate(_SMALL) == []
        tablet.get_by_text("Columns", exact=True).tap()
        assert tablet.evaluate(_SMALL) == []
        assert tablet.evaluate(_CUT_OFF) == []
        tablet.get_by_text("Columns", exact=True).tap()
        tablet.locator("#report-rows td.binary").first.tap()
        expect(tablet.get_by_role("dialog")).to_be_visible()
        assert tablet.evaluate(_SMALL) == []


def luminance(colour: list[int]) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[int], other: list[int]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.only_browser("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours(page: Page, demo: Server, scheme: str) -> None:
    """Also those that axe does not see: of what a stylesheet writes, and of rows under a pointer."""
    page.emulate_media(color_scheme=scheme)
    page.goto(demo.url)
    names = {*ON, *itertools.chain(*ON.values()), "focus", "line-strong"}
    colours = page.evaluate(_COLOURS, sorted(names))
    pairs = {(text, ground): contrast(colours[text], colours[ground]) for text in ON for ground in ON[text]}
    assert {pair: ratio for pair, ratio in pairs.items() if ratio < 4.5} == {}
    edges = {ground: contrast(colours["focus"], colours[ground]) for ground in ("ground", "sunken", *ROWS)}
    assert {ground: ratio for ground, ratio in edges.items() if ratio < 3} == {}


@pytest.mark.only_browser("chromium")
def test_what_a_stylesheet_writes_has_these_colours(page: Page, short_pages: Server) -> None:
    generate(page, short_pages, "kinds.kinds")
    wait_for_status(page, "done")
    wait_for_first_rows(page)
    faint = page.evaluate("""() => {
        const cell = document.querySelector("#report-rows td.empty");
        const style = getComputedStyle(cell, "::before");
        const other = getComputedStyle(document.querySelector("td.null"));
        return [style.content, style.opacity, style.color === other.color];
    }""")
    assert faint == ['"empty"', "1", True]
