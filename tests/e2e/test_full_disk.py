"""The disk of the state file is full: nothing is lost, and everything goes on when there is room again."""

import shutil
from collections.abc import Callable
from pathlib import Path

from serving import Serve
from tables import paced_table


def test_a_full_disk_keeps_what_there_is_and_goes_on_when_there_is_room(
    small_disk: Path, fill: Callable[[Path], Path], serve: Serve, tmp_path: Path
) -> None:
    tables = [paced_table(tmp_path / "short.db", 1_500, 10), paced_table(tmp_path / "long.db", 60_000)]
    server = serve(*tables, state=small_disk / "state.db", spool_free_bytes=0)
    old = server.request("short.paced")
    server.wait_until(old, "done")
    running = server.request("long.paced")
    server.wait_until(running, "running", rows=2_000)
    filler = fill(small_disk)

    refused = server.post("/api/v1/reports", {"dataset": "short.paced"})
    assert (refused.status_code, refused.json()["code"]) == (507, "spool-full")
    assert "is full. Make some room on it" in refused.json()["detail"]
    for address in (f"/reports/{old}", f"/reports/{old}/chunks/2", f"/reports/{running}", "/reports", "/"):
        assert server.get(address).status_code == 200, address

    filler.unlink()
    failed = server.wait_until(running, "failed")
    assert failed["error_code"] == "spool-full"
    rows = server.get(f"/api/v1/reports/{running}/rows").text.splitlines()
    assert len(rows) == failed["rows"] != 60_000
    server.wait_until(server.request("short.paced"), "done")
    assert server.delete(f"/api/v1/reports/{old}").status_code == 204


def test_some_of_the_disk_stays_free(small_disk: Path, serve: Serve, tmp_path: Path) -> None:
    server = serve(
        paced_table(tmp_path / "t.db", 1_500, 10), state=small_disk / "state.db", spool_free_bytes=2**22
    )
    old = server.request("t.paced")
    server.wait_until(old, "done")
    with (small_disk / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(small_disk).free - 2**21))
    answer = server.post("/api/v1/reports", {"dataset": "t.paced"})
    while answer.status_code == 201:  # it looks once a second
        server.wait_until(answer.json()["id"], "done", "failed")
        answer = server.post("/api/v1/reports", {"dataset": "t.paced"})
    assert answer.status_code == 507
    assert "4 MiB of it stay free" in answer.json()["detail"]
    assert server.get(f"/reports/{old}").status_code == 200
    assert server.delete(f"/api/v1/reports/{old}").status_code == 204
