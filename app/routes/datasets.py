"""The pages of datasets."""

from collections.abc import Sequence

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Template
from markupsafe import Markup

from app import asking, render
from app.catalog import Catalog, Listing
from app.errors import SourceError
from app.forms import report_form
from app.model import Dataset, Filter, Row
from app.permissions import User, may_read, require_read
from app.report_store import ReportStore
from app.routes.access import AnyRequest
from app.routes.requests import wish
from app.routes.session import sign_in_by_link

_LATEST = 8


@get("/", include_in_schema=False, before_request=sign_in_by_link)
async def index(
    user: NamedDependency[User], catalog: NamedDependency[Catalog], store: NamedDependency[ReportStore]
) -> Template:
    context = {
        "user": user,
        "section": "datasets",
        "listings": [_visible(user, listing) for listing in await catalog.listings()],
        "reports": await store.latest(user.account, _LATEST),
    }
    return Template("datasets/index.html", context=context)


def _visible(user: User, listing: Listing) -> Listing:
    datasets = tuple(each for each in listing.datasets if may_read(user, each.id))
    return Listing(listing.source, datasets, listing.skipped if user.everything else (), listing.error)


@get("/datasets/{dataset_path:path}", include_in_schema=False)
async def show(
    dataset_path: FromPath[str],
    request: AnyRequest,
    user: NamedDependency[User],
    catalog: NamedDependency[Catalog],
) -> Template:
    """The query string holds the columns and filters of the report that Generate asks for."""
    dataset_id = dataset_path.removeprefix("/")
    require_read(user, dataset_id)
    dataset = await catalog.dataset(dataset_id)
    asked = wish(request.query_params.items())
    spec = asking.spec(dataset, asked.columns, asked.filters)
    rows, problem = await _preview(catalog, dataset, spec.filters)
    context = {
        "user": user,
        "section": "datasets",
        "dataset": dataset,
        "form": report_form(dataset.id, asked.fields),
        "columns": asked.columns,
        "filters": spec.filters,
        "rows": Markup("").join(map(Markup, render.blocks(rows, 1))),
        "problem": problem,
    }
    return Template("datasets/show.html", context=context)


async def _preview(
    catalog: Catalog, dataset: Dataset, filters: tuple[Filter, ...]
) -> tuple[Sequence[Row], str | None]:
    try:
        return await catalog.source(dataset).preview(dataset, filters=filters), None
    except SourceError as error:
        return [], error.sentence


handlers = [index, show]
