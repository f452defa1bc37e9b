"""Downloads as programs see them: whole or visibly broken, resumed, proved."""

import csv
import hashlib
import io
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openpyxl
import pytest
from cutting_proxy import CuttingProxy
from report_page import assert_same
from serving import Serve, Server
from tables import create, paced_table, paced_view, select

RECORDINGS = 23_453
MADE_SECONDS = 120
STREAMED = ("csv", "ndjson")


@pytest.fixture(scope="session")
def recordings(demo: Server) -> str:
    """The address of a finished report on all recordings."""
    report = demo.request("noise.recordings")
    demo.wait_until(report, "done")
    return f"/reports/{report}"


def _get(server: Server, path: str, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{server.url}{path}", headers=names, timeout=60)


def _made(server: Server, path: str) -> httpx.Response:
    """The file, once it is made; until then the answer leads to the page that tells how far it is."""
    deadline = time.monotonic() + MADE_SECONDS
    while (answer := _get(server, path)).status_code == 303:
        assert answer.headers["location"].endswith("/downloads")
        assert time.monotonic() < deadline
    assert answer.status_code == 200, answer.text
    return answer


def _as_csv(cell: object) -> str:
    return "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)


# Whole


def test_a_csv_is_the_same_while_the_report_runs_and_afterwards_and_equals_the_source(
    demo: Server, demo_file: Path
) -> None:
    for _ in range(5):  # until a download is faster than the report
        report = demo.request("noise.recordings")
        early = demo.get(f"/reports/{report}/export.csv")
        assert early.status_code == 200
        if "content-length" not in early.headers:
            break
    else:
        pytest.fail("each report was over before its download began")
    assert early.headers["transfer-encoding"] == "chunked"
    later = demo.get(f"/reports/{report}/export.csv")
    assert later.headers["content-length"] == str(len(later.content))
    assert later.content == early.content
    assert later.headers["content-type"] == early.headers["content-type"] == "text/csv; charset=utf-8"
    assert later.headers["content-disposition"] == (
        "attachment; filename=\"noise.recordings.csv\"; filename*=UTF-8''noise.recordings.csv"
    )
    names, *rows = csv.reader(io.StringIO(later.content.decode(), newline=""), strict=True)
    assert names == [name for _, name, *_ in select(demo_file, "PRAGMA table_info(recordings)")]
    source = select(demo_file, "SELECT * FROM recordings")
    assert_same(rows, [[_as_csv(cell) for cell in row] for row in source])


def test_ndjson_equals_the_source(demo: Server, demo_file: Path, recordings: str) -> None:
    answer = demo.get(f"{recordings}/export.ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    names = [name for _, name, *_ in select(demo_file, "PRAGMA table_info(recordings)")]
    rows = [json.loads(line) for line in answer.content.decode().split("\n")[:-1]]
    assert list(rows[0]) == names
    source = select(demo_file, "SELECT * FROM recordings")
    assert_same([list(row.values()) for row in rows], [list(row) for row in source])


def test_a_workbook_holds_all_rows(demo: Server, demo_file: Path, recordings: str) -> None:
    answer = _made(demo, f"{recordings}/export.xlsx")
    assert answer.headers["content-type"] == (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    )
    book = openpyxl.load_workbook(io.BytesIO(answer.content), read_only=True)
    found = book.worksheets[0].iter_rows(values_only=True)
    names, rows = next(found), list(found)
    columns = [name for _, name, *_ in select(demo_file, "PRAGMA table_info(recordings)")]
    assert list(names) == columns
    assert len(rows) == RECORDINGS
    source = select(demo_file, "SELECT * FROM recordings")
    key = next(place for place, cell in enumerate(source[0]) if isinstance(cell, int))
    assert [row[key] for row in rows] == [row[key] for row in source]
    assert "About" in book.sheetnames


@pytest.mark.parametrize(
    ("file", "of"),
    [("csv", "csv"), ("csv?preset=excel", "csv&preset=excel"), ("ndjson", "ndjson"), ("xlsx", "xlsx")],
)
def test_the_proof_holds_the_size_and_the_sum_of_the_file(
    demo: Server, recordings: str, file: str, of: str
) -> None:
    answer = _made(demo, f"{recordings}/export.{file}")
    proof = demo.get(f"{recordings}/export.json?of={of}")
    assert proof.headers["content-type"] == "application/json"
    found = proof.json()
    assert found["sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert found["size"] == len(answer.content)
    assert found["rows_expected"] == found["rows_written"] == RECORDINGS
    assert (found["partial"], found["status"], found["dataset"]) == (False, "done", "noise.recordings")
    assert answer.headers["etag"] == f'"{found["sha256"]}"'


def test_the_separator_is_that_of_the_persons_country(demo: Server, recordings: str) -> None:
    path = f"{recordings}/export.csv?preset=excel"
    german, english = (_get(demo, path, accept_language=each).content for each in ("de-AT,de;q=0.9", "en"))
    assert german.startswith(b"\xef\xbb\xbf")
    assert german.splitlines()[0].count(b";") == english.splitlines()[0].count(b",") == 15


# In parts


@pytest.fixture(params=["csv", "xlsx"])
def file(request: pytest.FixtureRequest, demo: Server, recordings: str) -> tuple[str, bytes]:
    path = f"{recordings}/export.{request.param}"
    return path, _made(demo, path).content


def test_who_has_the_file_is_told_so(demo: Server, file: tuple[str, bytes]) -> None:
    path, _ = file
    etag = demo.get(path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = _get(demo, path, if_none_match=known)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag), known
    for unknown in ('"other"', etag.strip('"'), ""):
        assert _get(demo, path, if_none_match=unknown).status_code == 200, unknown


def test_head_tells_what_get_would(demo: Server, file: tuple[str, bytes]) -> None:
    path, whole = file
    head, answer = httpx.head(f"{demo.url}{path}", timeout=60), demo.get(path)
    assert (head.status_code, head.content) == (200, b"")
    told = ("content-length", "content-type", "content-disposition", "etag", "accept-ranges")
    assert [head.headers[name] for name in told] == [answer.headers[name] for name in told]
    assert head.headers["content-length"] == str(len(whole))
    assert head.headers["accept-ranges"] == "bytes"


def test_a_range_is_that_part_of_the_file(demo: Server, file: tuple[str, bytes]) -> None:
    path, whole = file
    size = len(whole)
    middle = size // 2
    for asked, first, last in (
        ("0-0", 0, 0),
        ("0-99", 0, 99),
        (f"{middle}-{middle + 70_000}", middle, middle + 70_000),
        (f"{middle}-", middle, size - 1),
        ("-5", size - 5, size - 1),
        (f"-{size * 2}", 0, size - 1),
        (f"{size - 1}-{size * 2}", size - 1, size - 1),
    ):
        answer = _get(demo, path, range=f"bytes={asked}")
        assert answer.status_code == 206, asked
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}", asked
        assert answer.headers["content-length"] == str(last - first + 1), asked
        assert answer.content == whole[first : last + 1], asked


def test_a_range_past_the_end_is_refused_with_the_size(demo: Server, file: tuple[str, bytes]) -> None:
    path, whole = file
    for asked in (f"{len(whole)}-", f"{len(whole)}-{len(whole) + 5}", "-0"):
        answer = _get(demo, path, range=f"bytes={asked}")
        assert (answer.status_code, answer.content) == (416, b""), asked
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"


def test_a_range_that_makes_no_sense_is_the_whole_file(demo: Server, file: tuple[str, bytes]) -> None:
    path, whole = file
    for asked in ("bytes=5-2", "bytes=-", "bytes=a-b", "bytes=0-1,5-6", "rows=1-2", ""):
        answer = _get(demo, path, range=asked)
        assert (answer.status_code, answer.content == whole) == (200, True), asked


def test_a_range_of_another_file_is_the_whole_file(demo: Server, file: tuple[str, bytes]) -> None:
    path, whole = file
    etag = demo.get(path).headers["etag"]
    same = _get(demo, path, range="bytes=10-19", if_range=etag)
    assert (same.status_code, same.content) == (206, whole[10:20])
    for other in ('"other"', f"W/{etag}", "Sun, 06 Nov 2033 08:49:37 GMT"):
        answer = _get(demo, path, range="bytes=10-19", if_range=other)
        assert (answer.status_code, answer.content == whole) == (200, True), other


def test_a_connection_that_is_killed_anywhere_is_resumed_to_the_whole_file(
    demo: Server, file: tuple[str, bytes], line_to: Callable[[Server], CuttingProxy]
) -> None:
    path, whole = file
    etag, found, kills = demo.get(path).headers["etag"], b"", 0
    step = len(whole) // 20
    while len(found) < len(whole):
        headers = {"Range": f"bytes={len(found)}-", "If-Range": etag}
        with httpx.stream("GET", f"{demo.url}{path}", headers=headers, timeout=60) as answer:
            assert answer.status_code == 206
            expected, goal = len(whole) - len(found), len(found) + step + kills
            assert answer.headers["content-length"] == str(expected)
            for part in answer.iter_bytes(1_000 + 977 * kills):
                found += part
                if len(found) >= goal:
                    break  # leaving the block closes the connection
        kills += 1
    assert kills >= 15
    assert found == whole


def test_a_line_that_breaks_never_gives_a_short_file_with_a_clean_end(
    demo: Server, file: tuple[str, bytes], line_to: Callable[[Server], CuttingProxy]
) -> None:
    path, whole = file
    line, broken = line_to(demo), 0
    for number in range(8):
        found = b""
        try:
            with httpx.stream("GET", f"{line.url}{path}", timeout=60) as answer:
                for part in answer.iter_raw(16_384):
                    found += part
                    if len(found) >= number * len(whole) // 16:
                        line.cut()
        except httpx.TransportError:
            broken += 1
            assert len(found) < len(whole)
            assert whole.startswith(found)
        else:  # the rest was on its way already
            assert found == whole
    assert broken


# Broken off


@pytest.fixture
def failing(serve: Serve, tmp_path: Path) -> Server:
    """`late.late` fails after 30,000 rows, which take a second or two."""
    work = "length(replace(hex(zeroblob(5000 + i % 2)), '00', 'x'))"
    return serve(
        create(
            tmp_path / "late.db",
            f"""
            CREATE TABLE number (i INTEGER PRIMARY KEY);
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
            INSERT INTO number SELECT i FROM n;
            CREATE VIEW late AS SELECT i, {work} AS work,
                abs(iif(i > 30000, -9223372036854775807 - 1, i)) AS n FROM number;
            """,
        )
    )


def _incomplete(server: Server, path: str, during: Callable[[], object] = lambda: None) -> bytes:
    """What came of a file that breaks off; `during` is done once the answer began."""
    found: list[bytes] = []
    with httpx.stream("GET", f"{server.url}{path}", timeout=60) as answer:
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        during()
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            found.extend(answer.iter_raw())
    return b"".join(found)


@pytest.mark.parametrize("suffix", STREAMED)
def test_a_report_that_is_cancelled_breaks_its_download_off(slow: Server, suffix: str) -> None:
    report = slow.request("slow.slow")
    slow.wait_until(report, "running", rows=2_000)
    found = _incomplete(
        slow,
        f"/reports/{report}/export.{suffix}",
        lambda: slow.post(f"/api/v1/reports/{report}/cancellation"),
    )
    assert found
    over = slow.wait_until(report, "cancelled")
    partial = slow.get(f"/reports/{report}/export.{suffix}")
    name = f"slow.slow-PARTIAL-{over['rows']}-of-500000.{suffix}"
    assert f'filename="{name}"' in partial.headers["content-disposition"]
    assert partial.headers["content-length"] == str(len(partial.content))
    assert partial.content.startswith(found)
    assert len(partial.content.splitlines()) == int(str(over["rows"])) + (suffix == "csv")
    assert slow.get(f"/reports/{report}/export.json?of={suffix}").json()["partial"] is True


def test_a_report_that_fails_breaks_its_download_off(failing: Server) -> None:
    report = failing.request("late.late")
    found = _incomplete(failing, f"/reports/{report}/export.csv")
    assert failing.wait_until(report, "failed")["rows"]
    partial = failing.get(f"/reports/{report}/export.csv")
    assert partial.content.startswith(found)
    assert re.search(
        r'filename="late.late-PARTIAL-\d+(-of-40000)?.csv"', partial.headers["content-disposition"]
    )


def test_a_server_that_stops_breaks_the_download_off(serve: Serve, tmp_path: Path) -> None:
    server = serve(paced_view(tmp_path / "paced.db", 60_000))
    report = server.request("paced.paced")
    server.wait_until(report, "running", rows=1_000)
    with httpx.stream("GET", f"{server.url}/reports/{report}/export.csv", timeout=60) as answer:
        parts = answer.iter_raw()
        next(parts)
        server.stop()
        with pytest.raises(httpx.TransportError):
            list(parts)


def test_over_http_1_0_no_file_of_a_running_report_is_sent(slow: Server) -> None:
    report = slow.request("slow.slow")
    slow.wait_until(report, "running", rows=1_000)
    answer = _over_http_1_0(slow, f"/reports/{report}/export.csv")
    assert b" 409 " in answer.splitlines()[0]
    assert b"HTTP/1.1" in answer
    slow.post(f"/api/v1/reports/{report}/cancellation")
    slow.wait_until(report, "cancelled")
    answer = _over_http_1_0(slow, f"/reports/{report}/export.csv")
    assert b" 200 " in answer.splitlines()[0]
    assert answer.partition(b"\r\n\r\n")[2] == slow.get(f"/reports/{report}/export.csv").content


def _over_http_1_0(server: Server, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        return b"".join(iter(lambda: line.recv(65_536), b""))


# Made beforehand


def _form(server: Server, path: str, **fields: str) -> httpx.Response:
    headers = {"Sec-Fetch-Site": "same-origin"}
    return httpx.post(f"{server.url}{path}", data=fields, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def wide(serve_all: Serve, files: Path) -> Server:
    """`wide.wide`: rows that are read at once and take seconds to put into a workbook."""
    columns = ", ".join(f"i * {n} AS c{n}, 'text ' || (i % {n}) AS t{n}" for n in range(1, 11))
    script = f"""
        CREATE TABLE number (i INTEGER PRIMARY KEY);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
        INSERT INTO number SELECT i FROM n;
        CREATE TABLE wide AS SELECT {columns} FROM number;
    """
    return serve_all(create(files / "wide.db", script))


@pytest.fixture
def wide_report(wide: Server) -> str:
    report = wide.request("wide.wide")
    wide.wait_until(report, "done")
    return f"/reports/{report}"


def _wait_for_text(server: Server, path: str, text: str) -> str:
    deadline = time.monotonic() + MADE_SECONDS
    while text not in (page := server.get(path).text):
        assert time.monotonic() < deadline, page
        time.sleep(0.02)
    return page


def test_a_workbook_that_is_not_wanted_any_more_is_not_made(wide: Server, wide_report: str) -> None:
    path = f"{wide_report}/downloads"
    assert _form(wide, path, format="xlsx").status_code == 303
    _wait_for_text(wide, path, 'role="progressbar"')
    assert _form(wide, path, format="xlsx", cancel="1").status_code == 303
    _wait_for_text(wide, path, "Cancelled.")
    assert _form(wide, path, format="csv").status_code == 422


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_workbook_that_the_server_could_not_finish_is_made_anew(
    wide: Server, wide_report: str, how: str
) -> None:
    path = f"{wide_report}/downloads"
    _form(wide, path, format="xlsx")
    _wait_for_text(wide, path, 'role="progressbar"')
    getattr(wide, how)()
    wide.start()
    _wait_for_text(wide, path, "export.xlsx")
    answer = wide.get(f"{wide_report}/export.xlsx")
    book = openpyxl.load_workbook(io.BytesIO(answer.content), read_only=True)
    assert sum(1 for _ in book.worksheets[0].iter_rows()) == 60_001


def test_a_workbook_of_a_running_report_is_made_when_that_is_over(slow: Server) -> None:
    report = slow.request("slow.slow")
    slow.wait_until(report, "running", rows=1_000)
    path = f"/reports/{report}/downloads"
    _form(slow, path, format="xlsx")
    assert "It is made when the report is over." in slow.get(path).text
    slow.post(f"/api/v1/reports/{report}/cancellation")
    rows = slow.wait_until(report, "cancelled")["rows"]
    answer = _made(slow, f"/reports/{report}/export.xlsx")
    assert f'filename="slow.slow-PARTIAL-{rows}-of-500000.xlsx"' in answer.headers["content-disposition"]
    book = openpyxl.load_workbook(io.BytesIO(answer.content), read_only=True)
    assert sum(1 for _ in book.worksheets[0].iter_rows()) == int(str(rows)) + 1


# Whose


def test_the_files_of_somebody_elses_report_are_not_there(serve: Serve, tmp_path: Path) -> None:
    server = serve(paced_table(tmp_path / "paced.db", 100), auth="accounts")
    with httpx.Client(base_url=server.url, follow_redirects=True) as owner:
        owner.get(server.link)
        report = owner.post("/api/v1/reports", json={"dataset": "paced.paced"}).json()["id"]
        paths = [
            *(f"/reports/{report}/export.{suffix}" for suffix in ("csv", "ndjson", "xlsx", "json")),
            f"/reports/{report}/downloads",
        ]
        for path in paths:
            assert owner.get(path).status_code == 200, path
            assert server.get(path).status_code == 401, path
        for path in paths:
            assert owner.get(path.replace(report, report[:-4] + "0000")).status_code == 404, path


def test_a_deleted_report_has_no_files(demo: Server) -> None:
    report = demo.request("noise.recordings")
    demo.wait_until(report, "done")
    for suffix in ("csv", "xlsx"):
        assert _made(demo, f"/reports/{report}/export.{suffix}").content
    assert demo.delete(f"/api/v1/reports/{report}").status_code == 204
    for name in ("export.csv", "export.xlsx", "export.json", "downloads"):
        assert demo.get(f"/reports/{report}/{name}").status_code == 404
