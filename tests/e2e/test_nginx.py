"""Rowfall behind a real nginx with its own time-outs, buffering and gzip: no 504, and every row comes."""

import csv
import gzip
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import nginx
import pytest
from nginx import SHIPPED, Nginx
from playwright.sync_api import Page, expect
from report_page import (
    all_rows,
    assert_same,
    generate,
    until,
    wait_for_first_rows,
    wait_for_status,
)
from serving import Serve, Server
from tables import late_view, pausing_view, select, shown
from watching import BROKEN, Complaints, MakeContext

# nginx does the same whoever asks.
pytestmark = [
    pytest.mark.only_browser("chromium"),
    pytest.mark.skipif(nginx.found() is None, reason="there is no nginx here: `apt-get install nginx`"),
]

ROWS = 12_000  # of `long.paced`
Front = Callable[..., Nginx]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """An nginx in front of a server: as shipped, unless asked for a bare one."""
    with ExitStack() as started:
        count = 0

        def front(server: Server, *, shipped: bool = True, tls: bool = False) -> Nginx:
            nonlocal count
            count += 1
            return started.enter_context(
                Nginx(tmp_path / f"nginx-{count}", server.port, shipped=shipped, tls=tls)
            )

        yield front


def assert_each_row_once(page: Page, count: int) -> None:
    rows = all_rows(page, count)
    assert_same([row[:2] for row in rows], [[str(number), f"row {number}"] for number in range(1, count + 1)])


class Requests:
    """What a page asked for, and how it was answered."""

    def __init__(self, page: Page) -> None:
        self.streams = 0
        self.failed: list[str] = []
        page.on("request", self._asked)
        page.on("response", lambda answer: answer.status >= 400 and self.failed.append(answer.url))

    def _asked(self, request: object) -> None:
        self.streams += "/events" in request.url  # type: ignore[attr-defined]


# Time


def test_a_report_whose_first_row_takes_longer_than_nginx_waits_comes_whole_in_one_stream(
    serve: Serve, front: Front, new_context: MakeContext, tmp_path: Path
) -> None:
    server = serve(late_view(tmp_path / "late.db", seconds=70), report_timeout=1800)
    fronts = [front(server, shipped=False), front(server)]
    pages = [new_context().new_page() for _ in fronts]
    seen = [Requests(page) for page in pages]
    report_id = generate(pages[0], server, "late.late", origin=fronts[0].url)
    started = time.monotonic()
    pages[1].goto(f"{fronts[1].url}/reports/{report_id}")
    with ThreadPoolExecutor() as threads:
        file = threads.submit(httpx.get, f"{fronts[1].url}/reports/{report_id}/export.csv", timeout=120)
        pages[0].wait_for_selector("#report-rows tr", state="attached", timeout=1_500_000)
        lines = list(csv.reader(file.result(120).text.splitlines()))
        assert lines == [["id", "name"], *([str(number), f"row {number}"] for number in range(1, 3_001))]
    assert time.monotonic() - started > 61, "the view was too fast for this test"
    for page in pages:
        wait_for_status(page, "done")
        assert_each_row_once(page, 3_000)
        expect(page.locator("#report-connection")).to_be_hidden()
    assert [(each.streams, each.failed) for each in seen] == [(1, []), (1, [])]
    for each in fronts:
        assert "timed out" not in each.log
        assert "prematurely" not in each.log


def test_what_is_shipped_leaves_the_time_outs_to_nginx() -> None:
    lines = [line.strip() for line in SHIPPED.read_text().splitlines()]
    assert [line for line in lines if re.match(r"#?\w*(timeout|buffering|gzip)\w* ", line)] == [
        "keepalive_timeout 4s;"
    ]


# What a person does


def test_a_report_is_made_looked_through_and_searched(
    page: Page, demo: Server, demo_file: Path, front: Front
) -> None:
    seen = Requests(page)
    generate(page, demo, "noise.recordings", origin=front(demo).url)
    wait_for_status(page, "done")
    expected = shown(select(demo_file, "SELECT * FROM recordings"))
    assert_same(all_rows(page, len(expected)), expected)
    page.get_by_label("Row", exact=True).fill("20777")
    page.get_by_label("Row", exact=True).press("Enter")
    until(page, "() => document.activeElement.closest('tr')?.ariaRowIndex", "20778")
    page.keyboard.press("Enter")
    until(page, "() => document.getElementById('row-title')?.textContent.includes('20,777')", True)
    page.keyboard.press("Escape")
    page.get_by_label("Find in all rows").fill(next(cell for cell in expected[9_000] if len(cell) > 8))
    page.get_by_label("Find in all rows").press("Enter")
    until(page, "() => document.getElementById('report-found').textContent.includes('in column')", True)
    assert seen.failed == []


@pytest.mark.parametrize("shipped", [True, False], ids=["shipped", "bare"])
def test_a_report_is_cancelled(page: Page, slow: Server, front: Front, shipped: bool) -> None:
    report_id = generate(page, slow, "slow.slow", origin=front(slow, shipped=shipped).url)
    wait_for_first_rows(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel report").click()
    slow.wait_until(report_id, "cancelled")
    wait_for_status(page, "cancelled")


def test_a_person_signs_in_and_forms_of_other_sites_are_refused(
    page: Page, serve: Serve, demo_file: Path, front: Front, complaints: Complaints
) -> None:
    complaints.allow("401")
    server = serve(f"noise={demo_file}", auth="accounts")
    url = front(server).url
    page.goto(url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(server.link.replace(server.url, url))
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    assert page.url == f"{url}/"
    generate(page, server, "noise.about", origin=url)
    wait_for_status(page, "done")
    # Over plain HTTP browsers tell their site by Origin alone, but for 127.0.0.1.
    cookies = {each["name"]: each["value"] for each in page.context.cookies()}
    with httpx.Client(base_url=url, cookies=cookies, headers={"Host": "rowfall.example.com:8080"}) as person:
        for origin, status in (("http://rowfall.example.com:8080", 303), ("http://elsewhere.example", 403)):
            answer = person.post("/reports", data={"dataset": "noise.about"}, headers={"Origin": origin})
            assert answer.status_code == status


def test_without_accounts_a_foreign_name_is_refused_through_nginx_too(demo: Server, front: Front) -> None:
    answer = httpx.get(f"{front(demo).url}/", headers={"Host": "rowfall.example.com"})
    assert answer.status_code == 403
    assert "127.0.0.1 and localhost only" in answer.text


def test_a_long_text_can_be_sought(page: Page, demo: Server, front: Front) -> None:
    url = front(demo).url
    report_id = generate(page, demo, "noise.about", origin=url)
    wait_for_status(page, "done")
    text = "\N{GRINNING FACE}" * 1_000
    page.get_by_label("Find in all rows").fill(text)
    page.get_by_label("Find in all rows").press("Enter")
    expect(page.locator("#report-found")).to_contain_text("No row contains")
    found = httpx.get(f"{url}/reports/{report_id}/find", params={"q": text}, follow_redirects=True)
    assert found.status_code == 200  # without scripts


# The stream


def test_the_first_rows_are_not_held_back_until_a_buffer_is_full(
    page: Page, serve: Serve, front: Front, tmp_path: Path
) -> None:
    server = serve(pausing_view(tmp_path / "late.db"))
    for shipped in (True, False):
        report_id = generate(page, server, "late.pausing", origin=front(server, shipped=shipped).url)
        until(page, "() => document.querySelectorAll('#report-rows tr').length >= 5", True, seconds=60)
        assert server.report(report_id)["status"] == "running"
        server.cancel_all()


@pytest.mark.parametrize("shipped", [True, False], ids=["shipped", "bare"])
def test_nginx_takes_no_more_of_a_stream_than_its_viewer(demo: Server, front: Front, shipped: bool) -> None:
    before = front(demo, shipped=shipped)
    report_id = demo.request("noise.recordings")
    demo.wait_until(report_id, "done")
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        viewer.connect(("127.0.0.1", before.port))
        viewer.settimeout(60)
        request = (
            f"GET /reports/{report_id}/events?keep=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        viewer.sendall(request.encode())
        taken = len(viewer.recv(1_000))
        time.sleep(2)  # the viewer is busy
        assert "buffered to a temporary file" not in before.log
        while part := viewer.recv(1_000_000):
            taken += len(part)
    assert taken > 5_000_000


@pytest.mark.parametrize("shipped", [True, False], ids=["shipped", "bare"])
def test_a_stream_that_breaks_off_does_not_look_whole(
    serve: Serve, files: Path, paced: Server, front: Front, shipped: bool
) -> None:
    server = serve(files / "long.db")
    url = front(server, shipped=shipped).url
    report_id = server.request("long.paced")
    server.wait_until(report_id, "running", rows=1_000)
    with httpx.stream("GET", f"{url}/reports/{report_id}/events", timeout=60) as stream:
        parts = stream.iter_bytes()
        assert next(parts)
        server.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in parts:
                pass


def test_the_file_of_a_running_report_breaks_off_or_is_refused_where_it_would_look_whole(
    slow: Server, front: Front
) -> None:
    shipped, bare = front(slow), front(slow, shipped=False)
    report_id = slow.request("slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    path = f"/reports/{report_id}/export.csv"
    assert httpx.get(f"{bare.url}{path}").status_code == 409  # this nginx asks by HTTP/1.0
    with socket.create_connection(("127.0.0.1", shipped.port), timeout=60) as old:
        old.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert old.recv(1_000).split()[1] == b"409"
    with httpx.stream("GET", f"{shipped.url}{path}", timeout=60) as file:
        assert file.status_code == 200
        parts = file.iter_bytes()
        assert next(parts)
        slow.post(f"/api/v1/reports/{report_id}/cancellation")
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in parts:
                pass


def test_an_answer_is_compressed_once(demo: Server, front: Front) -> None:
    report_id = demo.request("noise.recordings")
    demo.wait_until(report_id, "done")
    path = f"/reports/{report_id}"
    for url in (front(demo).url, front(demo, shipped=False).url):
        for rest in ("", "/chunks/2", "/events"):
            plain = demo.get(f"{path}{rest}").content
            for offered, name in (("gzip", "gzip"), ("gzip, zstd", "zstd"), ("identity", None)):
                with httpx.stream(
                    "GET", f"{url}{path}{rest}", headers={"Accept-Encoding": offered}
                ) as answer:
                    raw = b"".join(answer.iter_raw())
                assert answer.headers.get_list("content-encoding") == ([name] if name else [])
                if name == "gzip":
                    assert gzip.decompress(raw) == plain


# nginx, or Rowfall behind it, starts again


def test_a_page_stays_connected_while_nginx_is_reloaded_and_comes_back_after_a_restart(
    page: Page, paced: Server, front: Front, complaints: Complaints
) -> None:
    complaints.allow(*BROKEN)
    before = front(paced)
    seen = Requests(page)
    report_id = generate(page, paced, "long.paced", origin=before.url)
    wait_for_first_rows(page)
    before.reload()
    rows = int(str(paced.report(report_id)["rows"]))
    paced.wait_until(report_id, "running", rows=rows + 1_000)
    assert seen.streams == 1
    before.stop()
    expect(page.locator("#report-connection")).to_be_visible()
    before.start()
    page.locator("#report-connection").get_by_role("button", name="Retry").click()
    wait_for_status(page, "done", seconds=60)
    expect(page.locator("#report-connection")).to_be_hidden()
    assert_each_row_once(page, ROWS)
    assert seen.streams > 1


def test_a_page_comes_back_by_itself_when_rowfall_behind_nginx_was_away(
    page: Page, serve: Serve, files: Path, paced: Server, front: Front, complaints: Complaints
) -> None:
    complaints.allow(*BROKEN, "502")
    server = serve(files / "long.db")
    generate(page, server, "long.paced", origin=front(server).url)
    wait_for_first_rows(page)
    with page.expect_response(lambda answer: answer.status == 502):
        server.stop()
    expect(page.locator("#report-notice")).to_have_text("The server is restarting. Your report goes on.")
    server.start()
    wait_for_status(page, "done", seconds=120)
    expect(page.locator("#report-connection")).to_be_hidden()
    assert_each_row_once(page, ROWS)


# Connections


@pytest.mark.parametrize("tls", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_six_open_reports_leave_room_for_another_request_in_http_2_only(
    slow: Server, front: Front, new_context: MakeContext, tls: bool
) -> None:
    url = front(slow, tls=tls).url
    context = new_context(ignore_https_errors=True)
    report_id = slow.request("slow.slow")
    slow.wait_until(report_id, "running", rows=1_000)
    pages = [context.new_page() for _ in range(6)]
    for page in pages:
        with page.expect_response(re.compile("/events")):
            page.goto(f"{url}/reports/{report_id}", wait_until="commit")
    page.evaluate("() => { fetch('/healthz').then(() => { window.answered = true }) }")
    if not tls:
        page.wait_for_timeout(2_000)
        assert page.evaluate("() => window.answered") is None
        pages.pop(0).close()  # a window less, a connection more
    until(page, "() => window.answered", True)
    chunks = slow.report(report_id)["chunks"]
    for page in pages:  # they all go on
        until(page, f"() => document.querySelectorAll('#report-rows > .chunk').length >= {chunks}", True, 60)
