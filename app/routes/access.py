"""Who is asking, and whether the request may come from where it comes from."""

from urllib.parse import SplitResult, urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from app.errors import Forbidden, NotSignedIn
from app.permissions import LOCAL_USER, User
from app.sessions import Sessions
from app.settings import LOOPBACK, Settings

COOKIE = "rowfall_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

AnyRequest = Request[User, None, State]
AnyConnection = ASGIConnection[BaseRouteHandler, User, None, State]


async def current_user(
    request: AnyRequest, settings: NamedDependency[Settings], sessions: NamedDependency[Sessions]
) -> User:
    """The signed-in person. Raises NotSignedIn."""
    if settings.auth == "none":
        return LOCAL_USER
    key = request.cookies.get(COOKIE)
    account = await sessions.account(key) if key else None
    if account is None:
        raise NotSignedIn("Open the link that the server printed when it started, or paste its token here.")
    return User(account=account, name=account.capitalize(), everything=True)


def refuse_other_names(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard: where nobody signs in, a foreign name that leads here is an attack (DNS rebinding)."""
    if connection.app.state.settings.auth == "none":
        name = _split(f"//{connection.headers.get('host', '')}").hostname
        if name not in LOOPBACK:
            raise Forbidden("This server answers under 127.0.0.1 and localhost only.")


def refuse_other_sites(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard: pages of other sites may not post here with this person's cookie, or at no cookie's cost.

    Browsers tell where a request comes from by Sec-Fetch-Site, older ones by Origin; programs send neither.
    """
    if connection.scope.get("method") in _SAFE:
        return
    site = connection.headers.get("sec-fetch-site")
    if site is None:
        origin = connection.headers.get("origin")
        host = connection.headers.get("host")
        site = "same-origin" if origin is None or _split(origin).netloc == host else "cross-site"
    if site not in ("same-origin", "none"):
        raise Forbidden("This request came from another site, so it was not carried out.")


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # `//[` is none
        return urlsplit("")
