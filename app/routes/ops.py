"""For whoever operates the server: is it alive, can it work?"""

from litestar import MediaType, get
from litestar.di import NamedDependency

from app.report_store import ReportStore


@get("/healthz", media_type=MediaType.TEXT, include_in_schema=False)
async def healthz() -> str:
    return "ok\n"


@get("/readyz", media_type=MediaType.TEXT, include_in_schema=False)
async def readyz(store: NamedDependency[ReportStore]) -> str:
    """Asks the state database, so a broken one answers 503 here."""
    await store.get("")
    return "ok\n"


handlers = [healthz, readyz]
