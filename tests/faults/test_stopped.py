"""SIGSTOP: a process that does nothing for a while and does not know. SIGTERM: one that is asked to end."""

import time
from contextlib import ExitStack

import pytest
from cluster import Cluster, Start, owns
from serving import Server
from sources import KEYED, VIEW, keys
from viewer import Stalled, Viewer


def running_reports(cluster: Cluster) -> list[str]:
    """One on every table and view, in the middle; the last is the view's."""
    reports = [cluster.nodes[0].request(f"paced.{table}") for table in (*KEYED, VIEW)]
    for report_id in reports:
        cluster.wait_for_rows(report_id, 200)
    return reports


def pause(cluster: Cluster, node: Server, *, writing: bool) -> None:
    """Pauses the node while it is, or is not, in the middle of a transaction on the state."""
    for _ in range(500):
        node.pause()
        if cluster.is_writing(node) == writing:
            return
        node.resume()
        time.sleep(0.005)
    pytest.fail(f"{node.folder.name} was never {'' if writing else 'not '}writing")


def assert_another_goes_on(cluster: Cluster, sleeper: Server, reports: list[str]) -> None:
    """Those that the sleeper runs get a new owner, and new rows; when it wakes it writes nothing more."""
    theirs = {each["id"] for each in cluster.reports() if owns(sleeper, each)}
    assert theirs
    for report_id in theirs:
        taken = cluster.wait(report_id, lambda report: report["epoch"] == 2, 20)
        assert not owns(sleeper, taken)
        cluster.wait(report_id, lambda report: report["attempts"] == 0)  # it has a new chunk
    sleeper.resume()  # with a batch in its hands for each
    for report_id in reports:
        report = cluster.wait_until_done(report_id)
        assert report["generation"] == 1 or report["dataset"] == f"paced.{VIEW}"
    cluster.check()


def test_a_node_that_slept_through_its_lease_writes_nothing_more(start: Start) -> None:
    cluster = start(2)
    reports = running_reports(cluster)
    sleeper = cluster.owner_of(reports[-1])
    pause(cluster, sleeper, writing=False)
    assert_another_goes_on(cluster, sleeper, reports)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_node_that_hangs_in_the_middle_of_a_write_loses_its_reports_too(start: Start) -> None:
    """On SQLite it would keep the lock of the whole file, which only the end of its process gives back."""
    cluster = start(2)
    report_id = cluster.nodes[0].request("paced.number")
    cluster.wait_for_rows(report_id, 200)
    sleeper = cluster.owner_of(report_id)
    pause(cluster, sleeper, writing=True)
    assert_another_goes_on(cluster, sleeper, [report_id])


def test_a_node_that_is_stopped_ends_its_streams_and_its_reports_go_on_after_the_restart(
    start: Start,
) -> None:
    cluster = start(1)
    node = cluster.nodes[0]
    reports = running_reports(cluster)[: len(KEYED)]
    with ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(each, node.url)) for each in reports]
        for viewer in viewers:
            viewer.wait_for_rows(200)
        stop_within_five_seconds(node)
        assert "Traceback" not in node.log
        released = [each for each in cluster.reports() if each["status"] == "running"]
        assert released
        assert all(each["lease_until"] == 0 for each in released)
        node.start()
        for table, report_id, viewer in zip(KEYED, reports, viewers, strict=True):
            assert cluster.wait_until_done(report_id)["generation"] == 1
            viewer.assert_saw(keys(cluster.sources["paced"], table))
    cluster.settle()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_node_that_is_stopped_does_not_wait_for_viewers_that_never_read(start: Start) -> None:
    node = start(1).nodes[0]
    report_id = node.request("paced.number")
    with Stalled(node.url, report_id, 3):
        node.wait_until(report_id, "done")
        stop_within_five_seconds(node)


def stop_within_five_seconds(node: Server) -> None:
    asked = time.monotonic()
    node.stop()
    assert time.monotonic() - asked < 5
