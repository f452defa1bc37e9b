"""Many at once: nodes that want the same report, people who ask for too many, or cancel again and again."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

import httpx
import pytest
from cluster import Cluster, Start
from serving import Server
from sources import VIEW

REPORTS_PER_USER = 5
_RACED = 30


def at_once(requests: Iterable[tuple[str, object]]) -> list[int]:
    """The statuses of the answers to POST requests: an address and what it is sent."""

    async def send() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            answers = [client.post(address, json=json) for address, json in requests]
            return [answer.status_code for answer in await asyncio.gather(*answers)]

    return asyncio.run(send())


def test_two_nodes_that_want_the_same_reports_run_each_of_them_once(start: Start) -> None:
    cluster = start(2, reports_per_user=_RACED, lease_seconds=60)  # nobody is silent for so long
    datasets = itertools.cycle(["odd.odd"] * 4 + [f"paced.{VIEW}"])
    answers = at_once(
        (f"{url}/api/v1/reports", {"dataset": dataset})
        for _, url, dataset in zip(range(_RACED), itertools.cycle(cluster.urls), datasets, strict=False)
    )
    assert answers == [201] * _RACED
    reports = cluster.settle().reports
    runs = Counter((each["status"], each["epoch"], each["generation"]) for each in reports)
    assert runs == {("done", 1, 1): _RACED}
    finished = [each["id"] for each in reports for node in cluster.nodes if finished_on(node, each["id"])]
    assert sorted(finished) == sorted(each["id"] for each in reports)
    assert all(any(finished_on(node, each) for each in finished) for node in cluster.nodes)


def finished_on(node: Server, report_id: str) -> bool:
    return any(f"report {report_id}" in line and line.endswith(": done") for line in node.log.splitlines())


@pytest.mark.parametrize("nodes", [1, 2])
def test_of_two_hundred_requests_at_once_five_are_reports_and_the_others_are_told_so(
    start: Start, nodes: int
) -> None:
    cluster = start(nodes, running_reports=1)
    urls = itertools.islice(itertools.cycle(cluster.urls), 200)
    answers = at_once((f"{url}/api/v1/reports", {"dataset": "endless.endless"}) for url in urls)
    assert Counter(answers) == {201: REPORTS_PER_USER, 429: 200 - REPORTS_PER_USER}
    reports = cluster.reports()
    assert sorted(each["slot"] for each in reports) == list(range(1, REPORTS_PER_USER + 1))
    cancel_all(cluster, [each["id"] for each in reports], 1)
    assert {each["status"] for each in cluster.settle().reports} == {"cancelled"}


def cancel_all(cluster: Cluster, reports: Sequence[str], times: int) -> list[int]:
    urls = itertools.cycle(cluster.urls)
    return at_once(
        (f"{next(urls)}/api/v1/reports/{report_id}/cancellation", None)
        for _ in range(times)
        for report_id in reports
    )


@pytest.mark.parametrize("nodes", [1, 2])
def test_five_hundred_cancels_at_once_are_all_answered_and_the_rows_are_kept(
    start: Start, nodes: int
) -> None:
    cluster = start(nodes)
    reports = [
        cluster.nodes[0].request(dataset)
        for dataset in ("endless.endless", "endless.endless", "paced.number", "paced.pair", "paced.seen")
    ]
    rows = {report_id: cluster.wait_for_rows(report_id)["rows"] for report_id in reports}
    answers = Counter(cancel_all(cluster, reports, 100))
    assert set(answers) <= {200, 409}  # a table may have come to its end before
    assert answers.total() == 500
    for report in cluster.settle().reports:
        assert report["status"] == "cancelled" or report["dataset"].startswith("paced."), report
        assert report["rows"] >= rows[report["id"]] > 0
    assert answers[200] >= 200
