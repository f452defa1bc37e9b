"""kill -9: the process is gone from one moment to the next, as by a power cut."""

import time
from contextlib import ExitStack

import pytest
from cluster import Cluster, Start, owns
from sources import KEYED, VIEW, keys
from viewer import Viewer


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_report_of_a_killed_node_has_its_next_rows_within_ten_seconds(start: Start) -> None:
    cluster = start(2, lease_seconds=8)  # the default
    report_id = cluster.nodes[0].request("paced.number")
    cluster.wait_for_rows(report_id, 200)
    cluster.owner_of(report_id).kill()
    killed = time.monotonic()
    rows = cluster.report(report_id)["rows"]
    cluster.wait(report_id, lambda report: report["rows"] > rows)
    assert time.monotonic() - killed < 10
    assert cluster.wait_until_done(report_id)["epoch"] == 2
    cluster.check()


def watched_reports(cluster: Cluster, stack: ExitStack) -> dict[str, Viewer]:
    """A report on every table and view, by its id, in the middle, and a viewer of each."""
    reports = [cluster.nodes[0].request(f"paced.{table}") for table in (*KEYED, VIEW)]
    viewers = {each: stack.enter_context(Viewer(each, *cluster.urls)) for each in reports}
    for viewer in viewers.values():
        viewer.wait_for_rows(200)
    for report_id in reports:
        cluster.wait_for_rows(report_id)
    return viewers


def assert_all_go_on(cluster: Cluster, viewers: dict[str, Viewer], taken_over: set[str]) -> None:
    """Where there is a key, from the last row; the view from the start, and its viewers start over."""
    for report_id, viewer in viewers.items():
        report = cluster.wait_until_done(report_id)
        table = report["dataset"].removeprefix("paced.")
        again = table == VIEW and report_id in taken_over
        assert (report["epoch"], report["generation"]) == (1 + (report_id in taken_over), 1 + again)
        viewer.assert_saw(keys(cluster.sources["paced"], table))
        assert viewer.resets == again
    cluster.check()


def test_reports_of_a_killed_node_go_on_elsewhere_and_viewers_get_each_row_once(start: Start) -> None:
    cluster = start(2)
    with ExitStack() as stack:
        viewers = watched_reports(cluster, stack)
        view = next(each["id"] for each in cluster.reports() if each["dataset"] == f"paced.{VIEW}")
        owner = cluster.owner_of(view)
        theirs = {each["id"] for each in cluster.reports() if owns(owner, each)}
        owner.kill()
        assert_all_go_on(cluster, viewers, theirs)


def test_reports_of_a_node_that_was_killed_alone_go_on_after_its_restart(start: Start) -> None:
    cluster = start(1)
    with ExitStack() as stack:
        viewers = watched_reports(cluster, stack)
        cluster.nodes[0].kill()
        cluster.nodes[0].start()
        assert_all_go_on(cluster, viewers, set(viewers))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_node_that_starts_again_leaves_the_reports_of_the_others_alone(start: Start) -> None:
    # Nothing renews the lease while the others start: no chunk comes, and the next heartbeat is far.
    cluster = start(2, running_reports=1, lease_seconds=60)
    cluster.nodes[0].kill()
    report_id = cluster.nodes[1].request("endless.silent")
    cluster.wait(report_id, lambda report: report["status"] == "running")
    cluster.nodes[0].start()
    # The other node is busy with the first report, so that this one is the started node's to claim.
    cluster.wait_until_done(cluster.nodes[0].request("odd.odd"))
    report = cluster.report(report_id)
    assert (report["status"], report["epoch"]) == ("running", 1)
    cluster.check()
