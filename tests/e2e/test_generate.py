"""A person generates a report and finds in it exactly what is in the file."""

import re
from pathlib import Path

from conftest import Complaints, MakeContext, Serve
from playwright.sync_api import Page, expect
from report_page import (
    all_rows,
    assert_same,
    generate,
    rows_of,
    wait_for,
    wait_for_chunks,
    wait_for_status,
)
from serving import Server
from tables import paced_table, select, shown

RECORDINGS = 23_453
CHUNKS = 24


def test_every_cell_on_the_page_is_the_cell_in_the_file(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.recordings")
    found = all_rows(page, CHUNKS)
    assert len(found) == RECORDINGS
    assert_same(found, shown(select(demo_file, "SELECT * FROM recordings")))
    assert page.locator("#report-table").get_attribute("aria-rowcount") == str(RECORDINGS + 1)
    assert page.locator("#report-table").get_attribute("aria-colcount") == "16"
    wait_for(page, '#report-progress[aria-valuenow="100"][aria-valuetext^="23,453 rows in "]')
    assert page.title() == "Done · noise.recordings · Rowfall"


def test_the_rows_are_there_again_after_a_reload_in_a_second_tab_and_later(
    page: Page, demo: Server, new_context: MakeContext
) -> None:
    generate(page, demo, "noise.recordings")
    first = all_rows(page, CHUNKS)
    address = page.url

    page.reload()
    assert_same(all_rows(page, CHUNKS), first)

    tab = page.context.new_page()
    tab.goto(address)
    assert_same(all_rows(tab, CHUNKS), first)

    later = new_context().new_page()  # a browser that knows nothing of the first one
    later.goto(f"{demo.url}/reports")
    later.locator(f'a[href$="{address.rsplit("/", 1)[1]}"]').click()
    assert_same(all_rows(later, CHUNKS), first)


def test_rows_stream_in_while_the_percentage_goes_up_in_the_tab(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    server = serve(paced_table(tmp_path / "paced.db", rows=6_000))
    page.add_init_script(_DIARY)
    generate(page, server, "paced.paced")
    wait_for_status(page, "done")
    wait_for_chunks(page, 6)
    assert page.locator(".gap").count() == 0
    diary = page.evaluate("() => diary")
    assert diary["firstRows"] == "running"
    percents = [int(found[1]) for title in diary["titles"] if (found := re.match(r"(\d+) % · ", title))]
    assert percents == sorted(percents)
    assert len(set(percents) - {0, 100}) >= 2, diary
    assert diary["titles"][-1] == "Done · paced.paced · Rowfall"
    assert diary["values"][-1] == "100"
    assert "100" not in diary["values"][:-1]
    expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("aria-valuenow", "100")
    expect(page.get_by_role("status")).to_have_text("Done")
    assert_same(
        [row[:2] for row in rows_of(page.locator("#report-rows"))],
        [[str(number), f"row {number}"] for number in range(1, 6_001)],
    )


# What the page showed at any moment: each title and value of the progress once, and the status when the first
# row was there.
_DIARY = """
const diary = { titles: [], values: [], firstRows: null };
const note = () => {
    const add = (list, item) => item && list.at(-1) !== item && list.push(item);
    add(diary.titles, document.title);
    add(diary.values, document.getElementById("report-progress")?.getAttribute("aria-valuenow"));
    if (!diary.firstRows && document.querySelector("#report-rows td")) {
        diary.firstRows = document.getElementById("report-status").dataset.status;
    }
};
new MutationObserver(note).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
"""


def test_text_of_every_script_is_kept_to_the_code_point(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.unicode_character")
    wait_for_chunks(page, len(select(demo_file, "SELECT 1 FROM unicode_character")) // 1000 + 1)
    expected = shown(select(demo_file, "SELECT * FROM unicode_character ORDER BY codepoint LIMIT 20000"))
    # Wait for what did not come with the page itself, and is loaded when it is scrolled to.
    for number in range(1, 21):
        chunk = page.locator(f'[data-chunk="{number}"]')
        if chunk.evaluate("chunk => chunk.classList.contains('gap')"):
            chunk.evaluate("chunk => chunk.scrollIntoView()")
            wait_for(page, f'[data-chunk="{number}"]:not(.gap)')
        assert_same(rows_of(chunk), expected[(number - 1) * 1000 : number * 1000])


def test_no_page_complains(page: Page, demo: Server, complaints: Complaints) -> None:
    complaints.allow("404")
    for path in ("/", "/reports", "/datasets/noise.about", "/session", "/nowhere"):
        page.goto(f"{demo.url}{path}")
    generate(page, demo, "noise.about")
    wait_for_status(page, "done")
    page.reload()
    wait_for_status(page, "done")
    assert complaints == []


def test_a_complaint_would_be_noticed(page: Page, demo: Server, complaints: Complaints) -> None:
    page.goto(demo.url)
    page.evaluate("() => { document.body.setAttribute('style', 'color: red') }")
    page.evaluate("() => { setTimeout(() => { throw new Error('broken script') }) }")
    page.evaluate("() => { const s = document.createElement('script'); s.text = '1'; document.body.append(s) }")
    while len(complaints) < 3:
        page.wait_for_timeout(20)
    texts = " ".join(complaints)
    complaints.clear()
    assert "script: " in texts
    assert "broken script" in texts
    assert "policy: style-src" in texts
    assert "policy: script-src" in texts
