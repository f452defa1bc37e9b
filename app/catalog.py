"""What datasets there are: the tables and views of all sources, and the saved queries."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import InvalidRequest, NotFound, SourceError
from app.model import Dataset, Skipped
from app.settings import SavedQuery
from app.source import Source

_RETRY_SECONDS = 0.5  # a source that failed is asked again
_FRESH_SECONDS = 5.0  # a new table shows up after this; discovering 2,000 tables takes a fraction of a second


@dataclass(frozen=True, slots=True)
class Listing:
    """What one source offers."""

    source: str
    datasets: tuple[Dataset, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    error: SourceError | None = None  # if the source cannot be read now

    @property
    def problem(self) -> str | None:
        return self.error.sentence if self.error else None


class Catalog:
    def __init__(self, sources: Sequence[Source], queries: Sequence[SavedQuery] = ()) -> None:
        self._sources = {source.name: source for source in sources}
        self._queries = queries
        self._known: dict[str, tuple[float, Listing]] = {}

    async def listings(self) -> list[Listing]:
        """One listing for each source; a source that fails has a problem instead of datasets."""
        return list(await asyncio.gather(*(self._listing(source) for source in self._sources.values())))

    async def dataset(self, dataset_id: str) -> Dataset:
        """Raises NotFound, or SourceError if the source that should have it cannot be read."""
        unread: SourceError | None = None
        for source in self._sources.values():
            if dataset_id.startswith(f"{source.name}."):
                listing = await self._listing(source)
                for dataset in listing.datasets:
                    if dataset.id == dataset_id:
                        return dataset
                unread = listing.error or unread
        if unread:
            raise type(unread)(unread.sentence) from unread
        raise NotFound(
            f"There is no dataset {dataset_id}. It may have been renamed or dropped; see the list."
        )

    def source(self, dataset: Dataset) -> Source:
        return self._sources[dataset.source]

    async def _listing(self, source: Source) -> Listing:
        when, listing = self._known.get(source.name, (0.0, None))
        fresh = _RETRY_SECONDS if listing and listing.error else _FRESH_SECONDS
        if listing is None or time.monotonic() - when > fresh:
            listing = await self._discover(source)
            self._known[source.name] = (time.monotonic(), listing)
        return listing

    async def _discover(self, source: Source) -> Listing:
        try:
            datasets, skipped = await source.discover()
            queries, refused = await self._saved(source, {dataset.name for dataset in datasets})
        except SourceError as error:
            return Listing(source.name, error=error)
        return Listing(source.name, (*datasets, *queries), (*skipped, *refused))

    async def _saved(self, source: Source, taken: set[str]) -> tuple[list[Dataset], list[Skipped]]:
        datasets, refused = [], []
        for query in self._queries:
            if query.source == source.name:
                try:
                    if query.name in taken:
                        raise InvalidRequest("A table, view or other query has this name already.")
                    datasets.append(await source.describe_query(query.name, query.sql))
                    taken.add(query.name)
                except (InvalidRequest, SourceError) as error:
                    refused.append(Skipped(query.name, error.sentence))
        return datasets, refused
