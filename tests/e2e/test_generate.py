"""A person generates a report and finds in it exactly what is in the file."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page
from report_page import (
    all_rows,
    assert_same,
    attribute,
    generate,
    load_chunk,
    rows_by_chunk,
    rows_shown,
    wait_for_rows,
    wait_for_status,
)
from serving import Serve, Server
from tables import paced_table, select, shown
from watching import Complaints, MakeContext

RECORDINGS = 23_453


def test_every_cell_on_the_page_is_the_cell_in_the_file(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.recordings")
    found = all_rows(page, RECORDINGS)
    assert len(found) == RECORDINGS
    assert_same(found, shown(select(demo_file, "SELECT * FROM recordings")))
    assert attribute(page, "#report-table", "role") == "table"
    assert attribute(page, "#report-table", "aria-rowcount") == str(RECORDINGS + 1)
    assert attribute(page, "#report-table", "aria-colcount") == "16"
    assert attribute(page, "#report-progress", "role") == "progressbar"
    assert attribute(page, "#report-progress", "aria-valuenow") == "100"
    assert re.fullmatch(r"23,453 rows in [\d.]+ s", attribute(page, "#report-progress", "aria-valuetext"))
    assert page.title() == "Done · noise.recordings · Rowfall"


def test_the_rows_are_there_again_after_a_reload_in_a_second_tab_and_later(
    page: Page, serve: Serve, tmp_path: Path, new_context: MakeContext
) -> None:
    rows = 4_321
    server = serve(paced_table(tmp_path / "paced.db", rows, work=10))
    report_id = generate(page, server, "paced.paced")
    first = all_rows(page, rows)
    assert len(first) == rows
    page.reload()
    assert_same(all_rows(page, rows), first)

    tab = page.context.new_page()
    tab.goto(page.url)
    assert_same(all_rows(tab, rows), first)

    server.stop()
    server.start()
    later = new_context().new_page()  # a browser that knows nothing of the first one
    later.goto(f"{server.url}/reports")
    later.locator(f'a[href$="{report_id}"]').click()
    assert_same(all_rows(later, rows), first)


def test_rows_stream_in_while_the_percentage_goes_up_in_the_tab(page: Page, paced: Server) -> None:
    page.add_init_script(_DIARY)
    generate(page, paced, "long.paced")
    wait_for_status(page, "done")
    wait_for_rows(page, 12_000)
    diary = page.evaluate("() => diary")
    assert diary["firstRows"] == "running"
    percents = [int(found[1]) for title in diary["titles"] if (found := re.match(r"(\d+) % · ", title))]
    assert percents == sorted(percents)
    assert len(set(percents) - {0, 100}) >= 2, diary
    assert diary["titles"][-1] == "Done · long.paced · Rowfall"
    assert diary["values"][-1] == "100"
    assert "100" not in diary["values"][:-1]
    assert attribute(page, "#report-status", "role") == "status"
    assert page.evaluate("() => document.getElementById('report-status').textContent") == "Done"
    assert_same(
        [row[:2] for row in rows_shown(page)],
        [[str(number), f"row {number}"] for number in range(1, 12_001)],
    )


# What the page showed at any moment: each title and value of the progress once, and the status when the first
# row was there.
_DIARY = """
window.diary = { titles: [], values: [], firstRows: null };
const note = () => {
    const add = (list, item) => item && list.at(-1) !== item && list.push(item);
    add(diary.titles, document.title);
    add(diary.values, document.getElementById("report-progress")?.getAttribute("aria-valuenow"));
    if (!diary.firstRows && document.querySelector("#report-rows td")) {
        diary.firstRows = document.getElementById("report-status").dataset.status;
    }
};
new MutationObserver(note).observe(
    document, { subtree: true, childList: true, attributes: true, characterData: true });
"""


def test_text_of_every_script_is_kept_to_the_code_point(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.unicode_character")
    expected = shown(select(demo_file, "SELECT * FROM unicode_character ORDER BY codepoint"))
    wait_for_rows(page, len(expected))
    for number in (1, 2, 3, 20, 77, len(expected) // 1000 + 1):
        load_chunk(page, number)
        first = (number - 1) * 1000
        assert_same(rows_by_chunk(page)[number], expected[first : first + 1000])


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
    page.evaluate(
        "() => { const s = document.createElement('script'); s.text = '1'; document.body.append(s) }"
    )
    expected = ("policy: style-src", "policy: script-src", "broken script")
    for _ in range(200):
        if all(part in " ".join(complaints) for part in expected):
            break
        page.wait_for_timeout(20)
    else:
        pytest.fail(f"only noticed {complaints}")
    complaints.clear()


@pytest.mark.parametrize("script", ["htmx.min.js", "hx-sse.min.js", "app.js"])
def test_rows_come_even_if_a_script_of_the_page_is_slow_to_load(
    page: Page, paced: Server, script: str
) -> None:
    page.route(f"**/{script}*", lambda route: (time.sleep(0.3), route.continue_()))
    generate(page, paced, "short.paced")
    wait_for_status(page, "done", seconds=10)
    wait_for_rows(page, 3_000)
