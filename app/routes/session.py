"""Signing in and out."""

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from app.errors import NotSignedIn
from app.routes.access import COOKIE, AnyRequest
from app.sessions import Sessions
from app.settings import Settings

_REFUSED = "This link was used already, or is too old. Start the server again for a new one."


async def sign_in_by_link(request: AnyRequest) -> Response[None] | None:
    """Before `GET /`: `?token=...` opens a session and leaves the address bar."""
    token = request.query_params.get("token")
    if token is None:
        return None
    settings, sessions = request.app.state.settings, request.app.state.sessions
    if settings.auth == "none" or await _has_session(request, sessions):
        return Redirect("/", status_code=303)
    return await _open(token, settings, sessions)


@get("/session", include_in_schema=False)
async def form() -> Template:
    return Template("session/new.html", context={"problem": None, "section": ""})


@post("/session", include_in_schema=False)
async def create(
    request: AnyRequest, settings: NamedDependency[Settings], sessions: NamedDependency[Sessions]
) -> Response[None]:
    token = (await request.form()).get("token", "")
    return await _open(str(token).strip(), settings, sessions)


@delete("/session", include_in_schema=False, status_code=204)
async def end(request: AnyRequest, sessions: NamedDependency[Sessions]) -> Response[None]:
    if key := request.cookies.get(COOKIE):
        await sessions.end(key)
    response = Response[None](None, status_code=204, headers={"HX-Redirect": "/session"})
    response.delete_cookie(COOKIE)
    return response


async def _has_session(request: AnyRequest, sessions: Sessions) -> bool:
    key = request.cookies.get(COOKIE)
    return key is not None and await sessions.account(key) is not None


async def _open(token: str, settings: Settings, sessions: Sessions) -> Response[None]:
    key = await sessions.redeem(token)
    if key is None:
        raise NotSignedIn(_REFUSED)
    response: Response[None] = Redirect("/", status_code=303)
    response.set_cookie(
        COOKIE, key, httponly=True, samesite="lax", max_age=int(settings.session_days * 86_400)
    )
    return response


handlers = [form, create, end]
