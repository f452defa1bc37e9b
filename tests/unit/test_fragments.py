import re
from dataclasses import replace

import pytest
from markupsafe import Markup

from app import fragments as module
from app.codec import ChunkEncoder
from app.fragments import Fragments
from app.layout import ROW_HEIGHT
from app.model import Chunk, Column, Extent, Kind, Report, Row, Spec, Status
from app.templating import environment

HOSTILE = '<script>alert("1")</script>\'&'
REPORT = Report(
    id="0190-id",
    owner="ann",
    slot=None,
    dataset="s.t",
    spec=Spec((0, 1)),
    columns=(Column("id", Kind.INTEGER, "INTEGER", 80, True), Column("name", Kind.TEXT, "TEXT", 200)),
    status=Status.RUNNING,
    error_code=None,
    error=None,
    lease_owner="node-1",
    epoch=1,
    lease_until=0,
    cancel_requested=False,
    attempts=0,
    generation=1,
    next_chunk=3,
    cursor=None,
    rows=2000,
    bytes=0,
    total=4000,
    total_kind="exact",
    notes=(),
    created_at=1_700_000_000,
    started_at=1_700_000_000,
    finished_at=None,
    expires_at=None,
    read_at=1_700_000_002,
)


def chunk(number: int = 1, rows: list[Row] | None = None, generation: int = 1) -> Chunk:
    encoder = ChunkEncoder()
    for row in rows or [(number, f"name {number}")]:
        encoder.add(row)
    return Chunk(generation, number, 1, encoder.rows, encoder.finish())


@pytest.fixture
def fragments() -> Fragments:
    return Fragments(environment())


def test_a_chunk_is_one_element_with_its_number_and_a_line_for_each_block(fragments: Fragments) -> None:
    html = fragments.chunk(REPORT, chunk(7, [(number, "x") for number in range(250)]))
    assert isinstance(html, Markup)
    assert html.startswith('<div class="chunk" data-chunk="7" data-first="1">')
    assert html.rstrip().endswith("</div>")
    assert [line.count("<tr") for line in html.splitlines() if "<tr" in line] == [100, 100, 50]


def test_rows_carry_no_instructions_for_htmx(fragments: Fragments) -> None:
    html = fragments.chunk(REPORT, chunk(1, [(1, HOSTILE), (None, 'hx-get="/x"')]))
    assert re.search(r"<[^>]*\shx-", html.partition("</template>")[2]) is None
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_rendered_chunk_is_kept_and_is_the_same_for_every_viewer(
    fragments: Fragments, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fragments.chunk(REPORT, chunk(1))
    monkeypatch.setattr(module, "decode", None)  # whoever renders again fails
    assert fragments.chunk(REPORT, chunk(1)) == first
    assert fragments.chunk(replace(REPORT, status=Status.DONE), chunk(1)) == first


def test_chunks_of_other_reports_generations_and_numbers_are_told_apart(fragments: Fragments) -> None:
    found = {
        fragments.chunk(report, chunk(number, [(n, number)], generation))
        for n, (report, number, generation) in enumerate(
            [(REPORT, 1, 1), (REPORT, 2, 1), (REPORT, 1, 2), (replace(REPORT, id="other"), 1, 1)]
        )
    }
    assert len(found) == 4


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHE_BYTES", 50_000)
    fragments = Fragments(environment())
    rows: list[Row] = [(number, "x" * 50) for number in range(100)]
    for number in range(1, 50):
        fragments.chunk(REPORT, chunk(number, rows))
        assert fragments._rendered.currsize <= 50_000
    assert 1 < len(fragments._rendered) < 49
    huge = fragments.chunk(REPORT, chunk(99, [(1, "y" * 30_000), (2, "y" * 30_000)]))
    assert len(huge) > 50_000
    assert fragments._rendered.currsize <= 50_000


def test_a_placeholder_has_the_height_of_its_rows_and_loads_its_own_generation(fragments: Fragments) -> None:
    html = fragments.placeholder(replace(REPORT, generation=3), Extent(9, 8_001, 345))
    assert 'data-chunk="9" data-first="8001"' in html
    assert f'height="{345 * ROW_HEIGHT}"' in html
    assert 'hx-get="/reports/0190-id/chunks/9?generation=3"' in html


def test_a_chunk_holds_the_placeholder_that_may_replace_it(fragments: Fragments) -> None:
    html = fragments.chunk(REPORT, chunk(7, [(number, "x") for number in range(250)]))
    spare = html.partition("<template>")[2].partition("</template>")[0]
    assert spare == fragments.placeholder(REPORT, Extent(7, 1, 250), spare=True)
    assert f'height="{250 * ROW_HEIGHT}"' in spare
    assert html.count("data-chunk=") == 1


def test_a_short_block_says_how_many_rows_it_has(fragments: Fragments) -> None:
    html = fragments.chunk(REPORT, chunk(1, [(number, "x") for number in range(201)]))
    assert re.findall(r'class="(block[^"]*)"', html) == ["block", "block", "block b1"]


def test_a_page_holds_one_chunk_and_a_place_for_each_of_the_others(fragments: Fragments) -> None:
    html = fragments.page(REPORT, [Extent(1, 1, 1), Extent(2, 2, 1000), Extent(3, 1002, 345)], chunk(1))
    assert re.findall(r'data-chunk="(\d)"', html) == ["1", "2", "3"]
    assert html.count("<tr") == 1
    assert html.count('class="chunk gap" data-chunk') == 2


def test_a_page_of_nothing_is_empty(fragments: Fragments) -> None:
    assert fragments.page(REPORT, [], None) == ""


STATUSES = {
    Status.QUEUED: "Waiting",
    Status.RUNNING: "Running",
    Status.DONE: "Done",
    Status.CANCELLED: "Cancelled",
    Status.FAILED: "Failed",
    Status.TIMED_OUT: "Timed out",
}


@pytest.mark.parametrize("status", list(Status))
def test_an_event_shows_the_status_by_word_and_by_attribute(fragments: Fragments, status: Status) -> None:
    html = fragments.event(replace(REPORT, status=status, finished_at=1_700_000_002))
    assert re.search(rf'<p id="report-status"[^>]*data-status="{status}">{STATUSES[status]}', html)
    assert f'data-status="{status}"' in _element(html, "report-progress")


@pytest.mark.parametrize("status", [status for status in Status if status.final])
def test_the_last_event_offers_to_run_again_and_no_longer_to_cancel(
    fragments: Fragments, status: Status
) -> None:
    html = fragments.event(replace(REPORT, status=status, finished_at=1_700_000_002))
    actions = html.partition('<hx-partial hx-target="#report-actions"')[2].partition("</hx-partial>")[0]
    assert ">Run again</button>" in actions
    assert 'name="dataset" value="s.t"' in actions
    assert re.findall(r'name="col" value="(\w+)"', actions) == ["id", "name"]
    assert "cancellation" not in html


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_an_event_before_the_end_leaves_the_buttons_alone(fragments: Fragments, status: Status) -> None:
    assert "report-actions" not in fragments.event(
        replace(REPORT, status=status), fragments.chunk(REPORT, chunk(1))
    )


def test_columns_of_one_name_are_not_asked_for_by_name(fragments: Fragments) -> None:
    twice = (Column("id", Kind.ANY), Column("id", Kind.ANY))
    html = fragments.event(replace(REPORT, status=Status.DONE, columns=twice, finished_at=1_700_000_002))
    assert 'name="col"' not in html
    other_case = (Column("id", Kind.ANY), Column("ID", Kind.ANY))
    html = fragments.event(replace(REPORT, status=Status.DONE, columns=other_case, finished_at=1_700_000_002))
    assert html.count('name="col"') == 2


def test_the_progress_says_how_far_a_report_is(fragments: Fragments) -> None:
    progress = _element(fragments.event(REPORT), "report-progress")
    assert 'role="progressbar"' in progress
    assert 'aria-valuemin="0"' in progress
    assert 'aria-valuemax="100"' in progress
    assert 'aria-valuenow="50"' in progress
    assert 'data-rowcount="4001"' in progress
    assert "2,000 of 4,000 rows, 50 %" in progress


def test_without_a_total_the_progress_has_no_number(fragments: Fragments) -> None:
    html = fragments.event(replace(REPORT, total=None, total_kind="uncounted"))
    progress = _element(html, "report-progress")
    assert "aria-valuenow" not in progress
    assert 'data-rowcount="-1"' in progress
    assert "2,000 rows so far" in progress


def test_a_percentage_of_100_is_only_for_a_report_that_is_done(fragments: Fragments) -> None:
    for status, percent in ((Status.RUNNING, "99"), (Status.CANCELLED, "99"), (Status.DONE, "100")):
        html = fragments.event(replace(REPORT, status=status, rows=4000, finished_at=1_700_000_002))
        assert f'aria-valuenow="{percent}"' in html


def test_notes_and_errors_are_shown_escaped(fragments: Fragments) -> None:
    html = fragments.event(
        replace(REPORT, status=Status.FAILED, error=HOSTILE, notes=(HOSTILE, "Second."), finished_at=1)
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 2
    assert '<p class="note">Second.</p>' in html


def test_no_data_is_said_only_of_a_report_that_is_over_and_empty(fragments: Fragments) -> None:
    empty = replace(REPORT, rows=0, next_chunk=1, total=0, finished_at=1_700_000_002)
    done = fragments.event(replace(empty, status=Status.DONE))
    assert '<p id="report-empty">No data</p>' in done
    full = fragments.event(replace(REPORT, status=Status.DONE, finished_at=1_700_000_002))
    assert '<p id="report-empty" hidden>No data</p>' in full
    assert "report-empty" not in fragments.event(empty)


def test_a_reset_comes_before_anything_else_changes_the_rows(fragments: Fragments) -> None:
    html = fragments.event(REPORT, reset=True)
    assert html.index('hx-swap="innerHTML"></hx-partial>') < html.index("report-progress")
    assert 'hx-target="#report-rows" hx-swap="beforeend"' not in html


def test_the_stylesheet_holds_widths_and_alignment_by_position(fragments: Fragments) -> None:
    css = fragments.style(REPORT)
    assert ".c1 { width: 80px }" in css
    assert ".c2 { width: 200px }" in css
    assert re.findall(r"nth-child\((\d)\) { text-align: right }", css) == ["1"]
    assert css.count("{") == css.count("}")


def test_the_stylesheet_of_a_report_without_rows_has_widths_too(fragments: Fragments) -> None:
    css = fragments.style(replace(REPORT, columns=(Column("a", Kind.ANY),)))
    assert re.search(r"\.c1 { width: [1-9]\d*px }", css)


def test_names_never_reach_the_stylesheet(fragments: Fragments) -> None:
    css = fragments.style(replace(REPORT, columns=(Column("} * { display: none", Kind.TEXT, "}{", 99),)))
    assert "display" not in css


def test_a_report_that_was_deleted_is_said_to_be(fragments: Fragments) -> None:
    assert "This report was deleted" in fragments.gone()


def _element(html: str, name: str) -> str:
    return html.partition(f'id="{name}"')[2].partition("</hx-partial>")[0]
