"""What every run of a process works with."""

from dataclasses import dataclass

from app.catalog import Catalog
from app.hints import Hints
from app.leases import Leases
from app.report_store import ReportStore
from app.settings import Settings
from app.spool import Spool
from app.takeover import Takeover


@dataclass(frozen=True, slots=True)
class RunContext:
    store: ReportStore
    leases: Leases
    spool: Spool
    takeover: Takeover
    catalog: Catalog
    hints: Hints
    settings: Settings
