"""Files that are empty, odd, broken or in use; and a person who asks for too much at once."""

import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from report_page import (
    all_rows,
    assert_same,
    generate,
    press_generate,
    rows_shown,
    wait_for_rows,
    wait_for_status,
)
from serving import Serve, Server
from tables import create, select, shown
from watching import Complaints

ODD_TABLES = (
    "with space",
    " space around ",
    'double " quote',
    "single ' quote",
    "back ` tick [and] brackets",
    "a/b",
    "../up/../..",
    ".",
    "dots.in.the.name",
    "back\\slash",
    "select",
    "100%",
    "%2F%00%41",
    "what?col=x&sort=y",
    "hash#tag",
    "a&amp;b <b>bold</b>",
    "{{ 7 * 7 }}",
    "semi;colon=1+1",
    "naïve ☃ 表 🚑",
    "שם עברי",
    "",
)
ODD_COLUMNS = (
    "id", "", " ", "with space", 'double " quote', "single ' quote", "a/b", "select", "rowid", "100%",
    "?", "#",
    "<script>alert(1)</script>", "&amp;", "{{ 7 * 7 }}", "表", "e\u0301", "tab\there", "col",
    "dataset",
)  # fmt: skip
SPECIAL = (
    "<script>alert(1)</script>",
    "</td></tr></table><h1>out</h1>",
    "<hx-partial hx-target='#report-status'>hacked</hx-partial>",
    "&amp; &lt; &#10; &nbsp;",
    "'single' \"double\" `back`",
    "مرحبا بالعالم",
    "שלום abc 123",
    "\u202eright to left override",
    "👩\u200d👩\u200d👧\u200d👦 🇪🇸 👍🏽",
    "e\u0301 is not é",
    "tab\there",
    "line\nfeed",
    "carriage\r\nreturn\r",
    "\n",
    " leading and trailing ",
    "no\u00a0break\u2028line\u2029paragraph",
    "control \x01\x02\x0b\x0c\x1a\x1b\x1c\x1d\x1e\x1f\x7f\x85",
    "data: x\n\nevent: end\n\n",
    "\ufeffmark",
    "\ufffe\uffff",
    "{{ 7 * 7 }} {% raw %}",
    "NULL",
    "",
    None,
)


NUMBERS = (0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, 1e300, -1.5e-300, 3.0, 1 / 3, math.inf, -math.inf)
ODD_ROW = [f"cell {number}" for number in range(len(ODD_COLUMNS))]
LINE_BREAKS = ("line\nfeed", "carriage\rreturn")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_an_empty_table_says_so(page: Page, demo: Server) -> None:
    generate(page, demo, "noise.alarm")
    wait_for_status(page, "done")
    expect(page.locator("#report-empty")).to_be_visible()
    expect(page.locator("#report-empty")).to_have_text("No data")
    expect(page.locator("#report-progress .text")).to_have_text("No data")
    expect(page.locator("#report-table")).to_have_attribute("aria-rowcount", "1")
    expect(page.get_by_role("columnheader")).to_have_count(6)
    page.reload()
    expect(page.locator("#report-empty")).to_be_visible()


def test_one_row(page: Page, demo: Server, demo_file: Path) -> None:
    generate(page, demo, "noise.about")
    wait_for_status(page, "done")
    wait_for_rows(page, 1)
    assert rows_shown(page) == shown(select(demo_file, "SELECT * FROM about"))
    expect(page.locator("#report-empty")).to_be_hidden()
    expect(page.locator("#report-progress .text")).to_contain_text("1 row in")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/datasets/noise.nothing", "There is no dataset noise.nothing."),
        ("/datasets/nowhere", "There is no dataset nowhere."),
        ("/datasets/noise.%3Cb%3E", "There is no dataset noise.<b>."),
        ("/reports/01890000-0000-7000-8000-000000000000", "report"),
        ("/reports/x%00y", "report"),
        ("/reports/01890000-0000-7000-8000-000000000000/chunks/1", "report"),
        ("/nowhere", "There is no such page."),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(
    page: Page, demo: Server, complaints: Complaints, path: str, sentence: str
) -> None:
    complaints.allow("404")
    answer = page.goto(f"{demo.url}{path}")
    assert answer
    assert answer.status == 404
    expect(page.locator("main")).to_contain_text(sentence)
    expect(page.get_by_role("link", name="Back to the datasets")).to_be_visible()


def test_a_program_is_told_too(demo: Server) -> None:
    for answer in (
        demo.get("/api/v1/reports/01890000-0000-7000-8000-000000000000"),
        demo.post("/api/v1/reports", {"dataset": "noise.nothing"}),
        demo.get("/api/v1/nowhere"),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].endswith(".")
    unknown = demo.post("/api/v1/reports", {"dataset": "noise.about", "columns": ["title", "nothing"]})
    assert unknown.status_code == 422
    assert "'nothing'" in unknown.json()["detail"]


def odd_tables(path: Path, names: Sequence[str]) -> Path:
    """Each table holds its own name."""
    with closing(sqlite3.connect(path)) as connection:
        for number, name in enumerate(names):
            connection.execute(f"CREATE TABLE {quoted(name)} (id INTEGER PRIMARY KEY, name TEXT)")
            connection.execute(f"INSERT INTO {quoted(name)} VALUES (?, ?)", (number, name))
        connection.commit()
    return path


def odd_columns(path: Path) -> Path:
    columns = ", ".join(f"{quoted(name)} TEXT" for name in ODD_COLUMNS)
    script = f"""
        CREATE TABLE odd ({columns});
        CREATE VIEW twice AS SELECT 1 AS id, 2 AS id, 3 AS ID, 4 AS id;
        CREATE TABLE broken ("line\nfeed");
        INSERT INTO broken VALUES (1);
    """
    return create(path, script, {"odd": [ODD_ROW]})


def odd_cells(path: Path) -> Path:
    script = """
        CREATE TABLE special (id INTEGER PRIMARY KEY, text TEXT);
        CREATE TABLE number (id INTEGER PRIMARY KEY, value);
        CREATE TABLE marked (id INTEGER PRIMARY KEY, value);
        INSERT INTO marked VALUES (1, CAST(x'610062' AS TEXT)), (2, CAST(x'c3286f6bff' AS TEXT)),
            (3, x'00ff10'), (4, zeroblob(100)), (5, x''), (6, replace(hex(zeroblob(5000000)), '0', 'x')),
            (7, zeroblob(10000000));
    """
    return create(path, script, {"special": enumerate(SPECIAL), "number": enumerate(NUMBERS)})


@pytest.fixture(scope="session")
def odd(serve_all: Serve, files: Path) -> Server:
    tables = odd_tables(files / "tables.db", (*ODD_TABLES, *LINE_BREAKS))
    return serve_all(tables, odd_columns(files / "columns.db"), odd_cells(files / "cells.db"))


def test_tables_with_odd_names_open_from_the_list_and_generate(page: Page, odd: Server) -> None:
    for name in ODD_TABLES:
        page.goto(odd.url)
        page.locator(f'a.card[href="/datasets/tables.{quote(name, safe="")}"]').click()
        press_generate(page)
        wait_for_status(page, "done")
        assert all_rows(page, 1) == shown([(ODD_TABLES.index(name), name)])


@pytest.mark.parametrize("name", LINE_BREAKS)
def test_a_table_with_a_line_break_in_its_name_generates(page: Page, odd: Server, name: str) -> None:
    page.goto(odd.page_of(f"tables.{name}"))
    page.get_by_role("button", name="Generate", exact=True).click()
    wait_for_status(page, "done")


def test_a_column_with_a_line_break_in_its_name_runs_again(page: Page, odd: Server) -> None:
    generate(page, odd, "columns.broken")
    wait_for_status(page, "done")
    with page.expect_response(re.compile(r"/reports\?dataset=")) as answer:
        page.get_by_role("button", name="Run again").click()
    assert answer.value.status == 303


def test_columns_with_odd_names_are_all_shown_under_their_names(page: Page, odd: Server) -> None:
    first = generate(page, odd, "columns.odd")
    wait_for_status(page, "done")
    headers = page.locator("#report-table th").evaluate_all("cells => cells.map(cell => cell.textContent)")
    assert headers == [name or "(no name)" for name in ODD_COLUMNS]
    assert all_rows(page, 1) == [ODD_ROW]
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: not url.endswith(first))
    wait_for_status(page, "done")
    assert all_rows(page, 1) == [ODD_ROW]


def test_a_view_with_repeated_column_names_shows_each(page: Page, odd: Server) -> None:
    generate(page, odd, "columns.twice")
    wait_for_status(page, "done")
    assert all_rows(page, 1) == [["1", "2", "3", "4"]]


def test_special_characters_are_shown_exactly_as_stored(page: Page, odd: Server) -> None:
    generate(page, odd, "cells.special")
    wait_for_status(page, "done")
    assert_same(all_rows(page, len(SPECIAL)), shown(enumerate(SPECIAL)))
    assert page.locator("#report-table script, #report-table h1").count() == 0
    page.reload()
    assert_same(all_rows(page, len(SPECIAL)), shown(enumerate(SPECIAL)))


def test_numbers_are_shown_in_full(page: Page, odd: Server) -> None:
    generate(page, odd, "cells.number")
    wait_for_status(page, "done")
    assert_same(all_rows(page, len(NUMBERS)), shown(enumerate(NUMBERS)))


def test_cells_that_no_page_can_show_are_marked(page: Page, odd: Server) -> None:
    generate(page, odd, "cells.marked")
    wait_for_status(page, "done")
    assert [row[1] for row in all_rows(page, 7)] == [
        "a␀b",
        ["undecodable", "\ufffd(ok\ufffd (not UTF-8)"],
        ["binary", "0x00ff10 (3 bytes)"],
        ["binary", f"0x{'00' * 16}… (100 bytes)"],
        ["binary", "0x (0 bytes)"],
        ["cut", "x" * 32_768 + "… (cut at 32,768 characters)"],
        ["cut", f"0x{'00' * 16}… (cut at 32,768 bytes)"],
    ]


def corrupt(path: Path) -> None:
    create(
        path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);",
        {"t": [(n, "x" * 900) for n in range(5000)]},
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : -4096] = b"\xa5" * (len(data) - 4096 - len(data) // 2)
    path.write_bytes(data)


def test_a_file_that_is_damaged_in_the_middle_fails_with_a_sentence_and_keeps_the_rows_before(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    corrupt(tmp_path / "broken.db")
    server = serve(tmp_path / "broken.db")
    report_id = generate(page, server, "broken.t")
    wait_for_status(page, "failed")
    expect(page.locator("#report-notes .problem")).to_contain_text("is damaged")
    assert "Traceback" not in page.content()
    kept = int(str(server.report(report_id)["rows"]))
    assert 1_000 <= kept < 5_000
    assert [row[0] for row in all_rows(page, kept)] == [str(number) for number in range(kept)]
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


def not_a_database(path: Path) -> None:
    path.write_text("This is a shopping list, not a database.\n" * 100)


def cut_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_080)


@pytest.mark.parametrize("spoil", [not_a_database, cut_header])
def test_a_file_that_is_no_database_is_told_in_a_sentence(
    page: Page, serve: Serve, tmp_path: Path, complaints: Complaints, spoil: Callable[[Path], None]
) -> None:
    complaints.allow("404", "503")
    spoil(tmp_path / "list.db")
    server = serve(tmp_path / "list.db")
    page.goto(server.url)
    expect(page.get_by_role("alert")).to_contain_text("is not a SQLite database")
    assert "Traceback" not in page.content()
    answer = page.goto(server.page_of("list.t"))
    assert answer
    assert answer.status == 503
    expect(page.locator("main")).to_contain_text("is not a SQLite database")
    assert "Traceback" not in page.content()


def test_the_list_tells_that_a_file_is_locked(serve: Serve, tmp_path: Path) -> None:
    path = create(tmp_path / "busy.db", "CREATE TABLE t (id INTEGER PRIMARY KEY);")
    server = serve(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        page = server.get("/")
    assert page.status_code == 200
    assert "is locked by another program" in page.text
    assert "Traceback" not in page.text


def test_reports_in_several_tabs_each_get_their_own_rows(page: Page, demo: Server, demo_file: Path) -> None:
    names = {"category": 12, "recordings": 23_453, "audio_feature": 23_453, "about": 1}
    tabs = {name: page.context.new_page() for name in names}
    for name, tab in tabs.items():
        tab.bring_to_front()
        generate(tab, demo, f"noise.{name}")
    for name, tab in tabs.items():
        tab.bring_to_front()  # a hidden tab takes its stream up again when it is shown
        wait_for_status(tab, "done")
        wait_for_rows(tab, names[name])
        first = rows_shown(tab)[:1_000]
        assert_same(first, shown(select(demo_file, f"SELECT * FROM {name} LIMIT 1000")))


def test_the_sixth_report_at_once_is_refused_with_the_list_of_the_five(
    page: Page, slow: Server, complaints: Complaints
) -> None:
    complaints.allow("429")
    running = [slow.request("slow.slow") for _ in range(5)]
    page.goto(slow.page_of("slow.slow"))
    with page.expect_response(re.compile(r"/reports\?dataset=")) as caught:
        page.get_by_role("button", name="Generate", exact=True).click()
    assert caught.value.status == 429
    assert int(caught.value.headers["retry-after"]) > 0
    expect(page.get_by_role("heading", name="Too many reports at once")).to_be_visible()
    for report_id in running:
        expect(page.locator(f'#reports a[href="/reports/{report_id}"]')).to_be_visible()
    answer = slow.post("/api/v1/reports", {"dataset": "slow.slow"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert sorted(answer.json()["running"]) == sorted(running)

    slow.post(f"/api/v1/reports/{running[0]}/cancellation")
    slow.wait_until(running[0], "cancelled", seconds=5)
    assert slow.post("/api/v1/reports", {"dataset": "slow.slow"}).status_code == 201
