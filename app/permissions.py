"""Who may do what: pure decisions over a user. Every handler asks here."""

from dataclasses import dataclass

from app.errors import Forbidden, NotFound
from app.model import Report


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in person."""

    account: str  # stored as the owner of reports
    name: str  # as shown
    everything: bool  # sees every dataset


LOCAL_USER = User(account="local", name="Local user", everything=True)


def may_read(user: User, dataset: str) -> bool:
    """Whether `user` may see the dataset and run reports on it."""
    return user.everything


def require_read(user: User, dataset: str) -> None:
    if not may_read(user, dataset):
        raise Forbidden(
            f"You may not read {dataset}. Ask the person who runs this server to grant it to you."
        )


def require_report(user: User, report_id: str, report: Report | None) -> Report:
    """The report, if it is the user's; somebody else's is as unknown as one that never was."""
    if report is None or report.owner != user.account:
        raise NotFound(
            f"There is no report {report_id}. It may have expired, or it belongs to somebody else."
        )
    return report
