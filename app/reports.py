"""The rules on reports: who may request, see, cancel, continue, keep and delete one, and when."""

from collections.abc import Sequence
from dataclasses import replace

import uuid_utils

from app import asking, hints, layout
from app.asking import Asked
from app.catalog import Catalog
from app.codec import decode
from app.errors import Conflict, TooManyReports
from app.hints import Hints
from app.model import Column, Report, Spec, Status
from app.permissions import User, require_read, require_report
from app.report_store import ReportStore
from app.settings import Settings
from app.spool import Spool


class Reports:
    def __init__(
        self,
        store: ReportStore,
        spool: Spool,
        catalog: Catalog,
        wake: Hints,
        settings: Settings,
    ) -> None:
        self._store = store
        self._spool = spool
        self._catalog = catalog
        self._hints = wake
        self._settings = settings

    async def request(
        self, user: User, dataset_id: str, columns: Sequence[str] = (), filters: Sequence[Asked] = ()
    ) -> Report:
        """Queues a report on the dataset, with all columns or the named ones in the given order.

        Raises Forbidden, NotFound, InvalidRequest (a column or filter), SpoolFull or TooManyReports.
        """
        require_read(user, dataset_id)
        await self._spool.room.require()
        dataset = await self._catalog.dataset(dataset_id)
        spec = asking.spec(dataset, columns, filters)
        asked = tuple(dataset.columns[position] for position in spec.columns)
        return await self._queue(user, dataset.id, spec, asked)

    async def continue_(self, user: User, report_id: str) -> Report:
        """Queues a report that takes over the chunks of this one and reads on after its last row.

        Raises NotFound, Conflict if there is nothing to go on from, Forbidden, SpoolFull or TooManyReports.
        """
        report = await self.get(user, report_id)
        require_read(user, report.dataset)
        if not report.continuable:
            raise Conflict(_why_not(report))
        await self._spool.room.require(report.bytes)
        return await self._queue(user, report.dataset, report.spec, report.columns, report.id)

    async def require_room(self, report: Report) -> None:
        """For a file of the report that is kept. Raises SpoolFull."""
        await self._spool.room.require(report.bytes)

    async def _queue(
        self, user: User, dataset: str, spec: Spec, columns: tuple[Column, ...], continues: str | None = None
    ) -> Report:
        limit = self._settings.reports_per_user
        report = await self._store.create(
            str(uuid_utils.uuid7()),
            user.account,
            limit,
            dataset,
            spec,
            columns,
            retention_days=self._settings.retention_days,
            continues=continues,
        )
        if report is None:
            raise TooManyReports(
                f"{limit} of your reports are running or waiting, which is the most at once. "
                "Stop one of them, or wait until one is done."
            )
        self._hints.notify(hints.QUEUE)
        return report

    async def get(self, user: User, report_id: str) -> Report:
        """Raises NotFound if there is no such report of this user."""
        return require_report(user, report_id, await self._store.get(report_id))

    async def set_widths(self, user: User, report_id: str, widths: Sequence[str] | None) -> None:
        """Fixes the columns' widths in pixels; None measures them anew. Raises NotFound, InvalidRequest."""
        report = await self.get(user, report_id)
        if widths is None:
            first = await self._spool.chunk(report.id, report.generation, 1)
            free = [replace(column, fixed=False) for column in report.columns]
            columns = layout.measured(free, decode(first.payload) if first else ())
        else:
            columns = layout.fixed(report.columns, widths)
        await self._store.set_widths(report.id, columns)

    async def cancel(self, user: User, report_id: str) -> Report:
        """Asks the runner to stop; asking again changes nothing. Raises NotFound or Conflict."""
        await self.get(user, report_id)
        report = require_report(user, report_id, await self._store.request_cancellation(report_id))
        if report.status.final and report.status is not Status.CANCELLED:
            raise Conflict(
                f"This report is {report.status.replace('_', ' ')} already, so there is nothing to cancel."
            )
        self._hints.notify(hints.cancellation(report_id))
        self._hints.notify(hints.chunks(report_id))
        return report

    async def keep(self, user: User, report_id: str, keep: bool) -> Report:
        """For ever, or for `retention_days` from now. Raises NotFound."""
        await self.get(user, report_id)
        days = None if keep else self._settings.retention_days
        return require_report(user, report_id, await self._store.keep(report_id, days))

    async def delete(self, user: User, report_id: str) -> None:
        """It is gone at once for everybody. Raises NotFound, and Conflict unless it is over."""
        report = await self.get(user, report_id)
        if not await self._store.expire(report_id) and not report.status.final:
            raise Conflict(f"This report is {report.status}. Cancel it first, then delete it.")
        self._spool.room.look_again()
        self._hints.notify(hints.chunks(report_id))
        self._hints.notify(hints.EXPIRED)


def _why_not(report: Report) -> str:
    if not report.status.final:
        return "This report goes on by itself, so there is nothing to continue."
    if report.status is Status.DONE:
        return "This report is done, so there is nothing to continue."
    if not report.rows:
        return "This report has no rows to continue from. Run it again."
    return f"{report.dataset} has no key to go on by, so its report cannot be continued. Run it again."
