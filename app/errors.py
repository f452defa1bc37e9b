"""The one hierarchy of errors that a person may see.

The class says what kind of thing went wrong (and so the HTTP status); the sentence says what happened
and what to do. Errors of drivers are translated into these once, where the driver is called.
"""

from typing import ClassVar


class RowfallError(Exception):
    """An error with a sentence for a person. `code` is stable: it is stored with a failed report."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    code: ClassVar[str] = "error"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class InvalidRequest(RowfallError):
    status, title, code = 422, "That request cannot be answered", "invalid"


class NotSignedIn(RowfallError):
    status, title, code = 401, "Sign in first", "not-signed-in"


class Forbidden(RowfallError):
    status, title, code = 403, "That is not yours to see", "forbidden"


class NotFound(RowfallError):
    status, title, code = 404, "Not found", "not-found"


class Conflict(RowfallError):
    status, title, code = 409, "That is not possible now", "conflict"


class TooEarly(Conflict):
    """A file is still being made."""

    code = "too-early"


class TooManyReports(RowfallError):
    status, title, code = 429, "Too many reports at once", "too-many-reports"


class SpoolFull(RowfallError):
    """More rows might not fit on the disk, or into the quota."""

    status, title, code = 507, "No room left", "spool-full"


class StateUnavailable(RowfallError):
    """Rowfall's own database is not there, may not be used, or does not answer."""

    status, title, code = 503, "The state database cannot be used", "state"


class StateFull(SpoolFull, StateUnavailable):
    """There is no room for what should be written; everything can still be read."""


class SourceError(RowfallError):
    """The database that holds the people's data could not be read."""

    status, title, code = 503, "The database cannot be read", "source"


class SourceUnreachable(SourceError):
    """The file or server is not there, may not be read, or is locked."""

    code = "source-unreachable"


class SourceCorrupt(SourceError):
    """The file is not a database, or is damaged."""

    code = "source-corrupt"


class SourceChanged(SourceError):
    """The definition changed while a report read it, so going on could skip or repeat rows."""

    code = "source-changed"


class SourceQueryFailed(SourceError):
    """The database refused or broke off the query (a view over a missing table, a failing function)."""

    code = "source-query"


class SourceInterrupted(SourceError):
    """The read was stopped by `interrupt()`: a cancellation, a time-out or a shutdown."""

    code = "source-interrupted"


class LeaseLost(RowfallError):
    """Another owner appends to this report now, or it is no longer running; the runner must stop."""

    code = "lease-lost"

    def __init__(self) -> None:
        super().__init__("Another owner reads this report now, or it is over.")
