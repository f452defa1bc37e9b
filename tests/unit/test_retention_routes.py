"""Deleting, keeping, and what is answered when there is no room. Nobody signs in."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient

from app.main import Parts, create_app, running
from app.model import Report, Spec, Status
from app.permissions import LOCAL_USER
from app.settings import SavedQuery, Settings
from app.source.sqlite import SqliteSource

HTMX = {"HX-Request": "true"}
NEVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r"


class Site:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        transport = ASGITransport(create_app(parts))  # type: ignore[arg-type]
        self.client = AsyncClient(transport=transport, base_url="http://localhost:8000")

    async def until(self, report_id: str, status: Status) -> Report:
        async with asyncio.timeout(30):
            while True:
                report = await self.parts.reports.get(LOCAL_USER, report_id)
                if report.status is status:
                    return report
                await asyncio.sleep(0.02)

    async def over(self, status: Status = Status.DONE) -> str:
        report = await self.parts.reports.request(LOCAL_USER, "s.t")
        await self.until(report.id, status)
        return report.id


Serve = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def serve(tmp_path: Path, state_url: str) -> Serve:
    """A server on the same state, whenever it is asked for."""
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name)")
        names = [(f"{number * 7919 % 104_729:x}" * 3,) for number in range(2500)]
        connection.executemany("INSERT INTO t (name) VALUES (?)", names)
        connection.commit()

    @asynccontextmanager
    async def serve(**settings: int) -> AsyncIterator[Site]:
        query = (SavedQuery(source="s", name="never", sql=NEVER),)
        values = Settings(state=state_url, auth="none", query=query, chunk_rows=100, **settings)  # type: ignore[arg-type]
        async with running(values, [SqliteSource("s", path, timeout=0.1)]) as parts:
            yield Site(parts)

    return serve


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve() as site:
        yield site


async def _removed(site: Site, report_id: str) -> None:
    async with asyncio.timeout(30):
        while await site.parts.spool.read(report_id, 1, 0, 1):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("method", "address", "status", "headers"),
    [
        ("DELETE", "/reports/{}", 204, {"hx-redirect": "/reports"}),
        ("POST", "/reports/{}/deletion", 303, {"location": "/reports"}),
        ("DELETE", "/api/v1/reports/{}", 204, {}),
    ],
)
async def test_a_deleted_report_is_gone_at_once_and_its_rows_soon(
    site: Site, method: str, address: str, status: int, headers: dict[str, str]
) -> None:
    report_id = await site.over()
    answer = await site.client.request(method, address.format(report_id))
    assert (answer.status_code, answer.content) == (status, b"")
    assert headers.items() <= dict(answer.headers).items()
    for gone in (f"/reports/{report_id}", f"/api/v1/reports/{report_id}", f"/reports/{report_id}/chunks/1"):
        assert (await site.client.get(gone)).status_code == 404
    assert report_id not in (await site.client.get("/reports")).text
    assert (await site.client.request(method, address.format(report_id))).status_code == 404
    await _removed(site, report_id)


async def test_a_report_that_runs_or_waits_is_not_deleted(serve: Serve) -> None:
    async with serve(running_reports=1) as site:
        first, second = [await site.parts.reports.request(LOCAL_USER, "s.never") for _ in range(2)]
        await site.until(first.id, Status.RUNNING)
        for report, status in ((first, "running"), (second, "queued")):
            answer = await site.client.delete(f"/api/v1/reports/{report.id}")
            assert answer.status_code == 409
            assert answer.json()["detail"] == f"This report is {status}. Cancel it first, then delete it."
            assert (await site.client.post(f"/reports/{report.id}/deletion")).status_code == 409


async def test_somebody_elses_report_is_neither_deleted_nor_kept(site: Site) -> None:
    columns = (await site.parts.catalog.dataset("s.t")).columns
    await site.parts.store.create("theirs", "somebody-else", 5, "s.t", Spec((0, 1)), columns)
    client = site.client
    for answer in (
        await client.delete("/reports/theirs"),
        await client.post("/reports/theirs/deletion"),
        await client.delete("/api/v1/reports/theirs"),
        await client.post("/reports/theirs/retention", data={"keep": "1"}),
        await client.put("/api/v1/reports/theirs/retention", json={"keep": True}),
    ):
        assert answer.status_code == 404
    report = await site.parts.store.get("theirs")
    assert report is not None
    assert report.expires_at is None


async def test_a_report_is_kept_by_form_by_htmx_and_by_the_api(site: Site) -> None:
    report_id = await site.over()
    address, api = f"/reports/{report_id}/retention", f"/api/v1/reports/{report_id}/retention"
    assert "Kept until you delete it" not in (await site.client.get(f"/reports/{report_id}")).text

    answer = await site.client.post(address, data={"keep": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/reports/{report_id}")
    assert "Kept until you delete it" in (await site.client.get(f"/reports/{report_id}")).text

    answer = await site.client.post(address, data={"keep": "0"}, headers=HTMX)
    assert answer.status_code == 200
    assert answer.text.startswith('<div id="report-retention"')
    assert "Kept until <time" in answer.text

    answer = await site.client.put(api, json={"keep": True})
    assert (answer.status_code, answer.json()["expires_at"]) == (200, None)
    report = (await site.client.put(api, json={"keep": False})).json()
    assert 29.9 * 86_400 < report["expires_at"] - report["created_at"] < 30.1 * 86_400


@pytest.mark.parametrize("form", [{}, {"keep": "yes"}])
async def test_a_form_that_does_not_say_what_to_keep_is_422(site: Site, form: dict[str, str]) -> None:
    assert (await site.client.post("/reports/x/retention", data=form)).status_code == 422


async def test_a_report_that_would_pass_the_quota_fails_with_its_rows_and_can_be_read(serve: Serve) -> None:
    async with serve() as site:
        one = await site.over()
        size = (await site.parts.reports.get(LOCAL_USER, one)).bytes
    async with serve(spool_max_bytes=int(1.5 * size)) as site:
        failed = await site.until(await site.over(Status.FAILED), Status.FAILED)
        assert failed.error_code == "spool-full"
        assert failed.error is not None
        assert "Delete reports that nobody needs" in failed.error
        chunks = await site.parts.spool.read(failed.id, 1, 0, 100)
        assert 0 < sum(chunk.rows for chunk in chunks) == failed.rows < 2500
        assert (await site.client.get(f"/reports/{failed.id}/chunks/1")).status_code == 200
        # Its rows would not fit twice, and would not be copied in vain.
        assert (await site.client.post(f"/reports/{failed.id}/continuation")).status_code == 507
        assert (await site.client.delete(f"/reports/{one}")).status_code == 204
        answer = await site.client.post(f"/api/v1/reports/{failed.id}/continuation")
        assert (await site.until(answer.json()["id"], Status.DONE)).rows == 2500


async def test_without_room_a_new_report_is_507_until_one_is_deleted(serve: Serve) -> None:
    async with serve() as site:
        old = await site.over()
    async with serve(spool_max_bytes=10) as site:
        page = await site.client.post("/reports", data={"dataset": "s.t"})
        assert page.status_code == 507
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "No room left" in page.text
        assert "Delete reports that nobody needs" in page.text
        problem = await site.client.post("/api/v1/reports", json={"dataset": "s.t"})
        assert problem.status_code == 507
        assert problem.headers["content-type"].startswith("application/problem+json")
        assert problem.json()["code"] == "spool-full"
        assert (await site.client.get(f"/reports/{old}")).status_code == 200
        assert (await site.client.delete(f"/api/v1/reports/{old}")).status_code == 204
        assert (await site.client.post("/api/v1/reports", json={"dataset": "s.t"})).status_code == 201
