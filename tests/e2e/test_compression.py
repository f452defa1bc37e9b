"""A browser gets the stream compressed, and reads it as it comes."""

from collections.abc import Callable
from pathlib import Path

from cutting_proxy import CuttingProxy
from playwright.sync_api import Page, Response
from report_page import all_rows, assert_same, generate, rows_shown, wait_for_first_rows, wait_for_status
from serving import Server
from tables import select, shown
from watching import BROKEN, Complaints

ROWS = 12_000  # of `long.paced`
HALF_A_STREAM = (*BROKEN, "decod")


def encodings_of_streams(page: Page) -> list[str | None]:
    """How each event stream that the page asks for from now on is encoded."""
    found: list[str | None] = []

    def note(response: Response) -> None:
        if "/events" in response.url:
            found.append(response.headers.get("content-encoding"))

    page.on("response", note)
    return found


def test_the_stream_comes_compressed_and_every_row_once(page: Page, demo: Server, demo_file: Path) -> None:
    encodings = encodings_of_streams(page)
    generate(page, demo, "noise.recordings")
    wait_for_status(page, "done")
    expected = shown(select(demo_file, "SELECT * FROM recordings"))
    found = all_rows(page, len(expected))
    assert len(found) == len(expected)
    assert_same(found, expected)
    assert encodings
    assert set(encodings) <= {"zstd", "gzip"}


def test_rows_show_while_the_compressed_stream_goes_on(page: Page, paced: Server) -> None:
    encodings = encodings_of_streams(page)
    report_id = generate(page, paced, "long.paced")
    wait_for_first_rows(page)
    assert paced.report(report_id)["status"] == "running"
    assert 0 < len(rows_shown(page)) < ROWS
    assert set(encodings) <= {"zstd", "gzip"}


def test_a_compressed_stream_that_is_cut_anywhere_goes_on_and_each_row_is_there_once(
    page: Page, paced: Server, line_to: Callable[[Server], CuttingProxy], complaints: Complaints
) -> None:
    complaints.allow(*HALF_A_STREAM)
    line = line_to(paced)
    line.compressed = True
    # In the head, in the first message and in later ones: 1,000 rows are some 5,000 bytes.
    line.budgets.extend([2_000, 10, 5_001, 700, 7_000, 6_003, 3_000])
    encodings = encodings_of_streams(page)
    generate(page, paced, "long.paced", origin=line.url)
    wait_for_status(page, "done", seconds=60)
    rows = all_rows(page, ROWS)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, ROWS + 1)])
    assert not line.budgets
    assert any(line.streams), "no reconnect told where it was"
    whole_heads = [encoding for encoding in encodings if encoding]  # where the head was cut there is none
    assert whole_heads
    assert set(whole_heads) <= {"zstd", "gzip"}
