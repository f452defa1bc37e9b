import pytest

from app.errors import Forbidden, NotFound
from app.model import Report, Spec, Status
from app.permissions import LOCAL_USER, User, may_read, require_read, require_report

ANN = User("ann", "Ann", everything=True)
STRANGER = User("stranger", "Stranger", everything=False)


def _report(owner: str) -> Report:
    return Report(
        id="r",
        owner=owner,
        slot=1,
        dataset="s.t",
        spec=Spec((0,)),
        columns=(),
        status=Status.QUEUED,
        error_code=None,
        error=None,
        lease_owner=None,
        epoch=0,
        lease_until=0,
        cancel_requested=False,
        attempts=0,
        generation=1,
        next_chunk=1,
        cursor=None,
        rows=0,
        bytes=0,
        total=None,
        total_kind="unknown",
        notes=(),
        created_at=0,
        started_at=None,
        finished_at=None,
        expires_at=None,
    )


def test_who_sees_everything_may_read_any_dataset() -> None:
    for user in (ANN, LOCAL_USER):
        assert may_read(user, "s.t")
        require_read(user, "s.t")


def test_who_was_granted_nothing_is_refused_with_a_sentence_that_names_the_dataset() -> None:
    assert not may_read(STRANGER, "s.t")
    with pytest.raises(Forbidden, match=r"You may not read s\.t\."):
        require_read(STRANGER, "s.t")


def test_the_owner_gets_the_report() -> None:
    report = _report("ann")
    assert require_report(ANN, "r", report) is report


def test_somebody_elses_report_is_as_unknown_as_none() -> None:
    sentences = []
    for report in (_report("ben"), None):
        with pytest.raises(NotFound) as caught:
            require_report(ANN, "r", report)
        sentences.append(caught.value.sentence)
    assert sentences[0] == sentences[1]


def test_seeing_every_dataset_is_not_seeing_everybodys_reports() -> None:
    with pytest.raises(NotFound):
        require_report(LOCAL_USER, "r", _report("ann"))
