"""The state database goes away and comes back; the nodes' clocks do not agree."""

import time
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from cluster import Start
from postgresql import PostgreSQL
from sources import KEYED, VIEW, keys
from viewer import Viewer

_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_reports_go_on_after_a_restart_of_the_state_database_and_nothing_is_lost(
    start: Start, own_postgresql: PostgreSQL
) -> None:
    cluster = start(2)
    reports = {table: cluster.nodes[0].request(f"paced.{table}") for table in (*KEYED, VIEW)}
    with ExitStack() as stack:
        viewers = {table: stack.enter_context(Viewer(each, *cluster.urls)) for table, each in reports.items()}
        for viewer in viewers.values():
            viewer.wait_for_rows(200)
        for report_id in reports.values():
            cluster.wait_for_rows(report_id)
        before = {each["id"]: each["rows"] for each in cluster.reports()}
        own_postgresql.stop("immediate")
        own_postgresql.start()
        after = {each["id"]: each["rows"] for each in cluster.reports() if each["generation"] == 1}
        assert all(rows >= before[each] for each, rows in after.items())
        for table, report_id in reports.items():
            cluster.wait_until_done(report_id)
            viewers[table].assert_saw(keys(cluster.sources["paced"], table))
    cluster.check()


@pytest.mark.skipif(
    not _FAKETIME, reason="libfaketime, which gives a process another clock, is not installed"
)
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_nothing_happens_when_a_nodes_clock_is_an_hour_off(start: Start, offset: str) -> None:
    """On SQLite the database's clock is that of the machine, which all of its nodes share."""
    cluster = start(1, lease_seconds=60)  # nobody is silent for so long
    clock = {"LD_PRELOAD": str(_FAKETIME[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    off = cluster.add(clock)
    there = parsedate_to_datetime(off.get("/healthz").headers["date"]).timestamp()
    assert 3000 < abs(there - time.time()) < 4200
    reports = [node.request(f"paced.{table}") for node in cluster.nodes for table in (*KEYED[:1], VIEW)]
    for report_id in reports:
        report = cluster.wait_until_done(report_id)
        assert (report["epoch"], report["generation"]) == (1, 1)
        assert abs(report["finished_at"] - time.time()) < 600
    cluster.check()
