"""Who looks, and what there is to see, does not change the report."""

from cluster import Cluster, Start
from sources import keys
from viewer import Stalled, Viewer


def seconds(cluster: Cluster, report_id: str) -> float:
    report = cluster.wait_until_done(report_id)
    return float(report["finished_at"] - report["started_at"])


def test_a_report_is_as_fast_with_viewers_that_never_read_as_without(start: Start) -> None:
    cluster = start(1)
    node = cluster.nodes[0]
    alone, watched = (node.request("paced.number") for _ in range(2))
    with Stalled(node.url, watched, 20), Viewer(watched, node.url) as reader:
        with_them, without = seconds(cluster, watched), seconds(cluster, alone)
        reader.assert_saw(keys(cluster.sources["paced"], "number"))
    assert with_them < 2 * without
    cluster.check()


def test_texts_with_nul_and_bad_utf8_are_marked_and_no_row_is_lost(start: Start) -> None:
    cluster = start(1)
    node = cluster.nodes[0]
    report_id = node.request("odd.odd")
    with Viewer(report_id, node.url) as viewer:
        expected = keys(cluster.sources["odd"], "odd")
        viewer.assert_saw(expected)
    assert cluster.wait_until_done(report_id)["rows"] == len(expected)
    chunk = node.get(f"/reports/{report_id}/chunks/1").text
    first = chunk.partition("<tr ")[2].partition("</tr>")[0]
    assert 'class="nul"' in first
    assert '<td class="undecodable">' in first
    cluster.check()
