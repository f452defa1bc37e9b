"""Errors as answers: a page for people, problem+json for the API, never a traceback."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Template

from app.errors import NotSignedIn, RowfallError, TooManyReports
from app.forms import Form
from app.model import Report
from app.routes.access import AnyRequest

log = logging.getLogger(__name__)

_RETRY_SECONDS = "5"  # a report takes seconds, so a place is free soon


def known(request: AnyRequest, error: RowfallError) -> Response[Any]:
    if isinstance(error, NotSignedIn) and not _is_api(request):
        context = {"problem": error.sentence, "section": ""}
        return Template("session/new.html", context=context, status_code=error.status)
    return _answer(request, error.status, error.title, error.sentence, error.code)


def framework(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """What Litestar refuses by itself: an unknown address, a wrong method, a malformed body."""
    status = 422 if isinstance(error, ValidationException) else error.status_code
    sentence = "There is no such page." if status == HTTPStatus.NOT_FOUND else f"{error.detail}."
    return _answer(request, status, HTTPStatus(status).phrase, sentence, "http")


def unexpected(request: AnyRequest, error: Exception) -> Response[Any]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    sentence = "An error inside Rowfall. Your reports are safe; the server's log has the details."
    return _answer(request, 500, "Something went wrong", sentence, "internal")


def too_many(
    request: AnyRequest, error: TooManyReports, running: Sequence[Report], again: Form | None = None
) -> Response[Any]:
    """With the reports that stand in the way of another one."""
    response = _answer(request, error.status, error.title, error.sentence, error.code, running, again)
    response.headers["Retry-After"] = _RETRY_SECONDS
    return response


def _answer(
    request: AnyRequest,
    status: int,
    title: str,
    sentence: str,
    code: str,
    running: Sequence[Report] = (),
    again: Form | None = None,
) -> Response[Any]:
    if _is_api(request):
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": sentence,
            "code": code,
        }
        if running:
            problem["running"] = [report.id for report in running]
        return Response(problem, status_code=status, media_type="application/problem+json")
    context = {"status": status, "title": title, "sentence": sentence, "section": "error"}
    context |= {"reports": running, "again": again}
    return Template("error.html", context=context, status_code=status)


def _is_api(request: AnyRequest) -> bool:
    return request.url.path.startswith(("/api/", "/schema"))


handlers = {RowfallError: known, HTTPException: framework, Exception: unexpected}
