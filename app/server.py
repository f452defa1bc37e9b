"""Serving: uvicorn, told to say when it is ready and to end the open streams when it stops."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn

from app.main import Parts, create_app, running
from app.settings import Settings
from app.source import Source

_GRACE_SECONDS = 3  # for requests that are under way when the server is asked to stop; runs end after them
_UNSENT_BYTES = 32 * 1024  # the kernel keeps for a connection, beside what is on its way


def serve(settings: Settings, sources: Sequence[Source]) -> None:
    """Serves until SIGINT or SIGTERM."""
    if sys.platform == "win32":
        asyncio.run(_serve(settings, sources))
    else:
        import uvloop

        uvloop.run(_serve(settings, sources))


async def _serve(settings: Settings, sources: Sequence[Source]) -> None:
    async with running(settings, sources) as parts:
        link = await parts.sessions.issue_link("owner") if settings.auth == "accounts" else None
        config = uvicorn.Config(
            create_app(parts),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        await _Server(config, parts, link).serve()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, parts: Parts, link: str | None) -> None:
        super().__init__(config)
        self._parts = parts
        self._link = link
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._keep_little_unsent()
            port = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            query = f"?token={self._link}" if self._link else ""
            print(f"Rowfall is ready: http://{host}:{port}/{query}", flush=True)

    def _keep_little_unsent(self) -> None:
        """Or the kernel would keep up to 4 MB for a slow viewer, who would see progress of long ago."""
        if not hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Windows
            return
        for server in self.servers:
            for listening in server.sockets:  # the connections that it accepts inherit the option
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Open streams would keep uvicorn waiting for its whole grace time, so they end first.
        self._loop.call_soon_threadsafe(self._parts.downloads.stop)
        self._loop.call_soon_threadsafe(self._parts.events.stop)
        super().handle_exit(sig, frame)
        # uvicorn would raise the signal once more, and the process die before its reports are released.
        self._captured_signals.clear()
