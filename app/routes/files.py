"""Sending a file: with a length, in parts, or as it grows; and breaking off where it cannot be whole."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

from litestar import HttpMethod, Response
from litestar.enums import MediaType
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send

from app.bodies import BrokenOff
from app.downloads import Download
from app.errors import RowfallError
from app.file_names import disposition
from app.routes.access import AnyRequest

log = logging.getLogger(__name__)


def sent(request: AnyRequest, found: Download) -> Response[Any]:
    """The answer to a request for the file, or for a part of it (RFC 9110, 14)."""
    headers = {"Content-Disposition": disposition(found.name), "Cache-Control": "private, no-cache"}
    if found.size is None:
        return _File(found.body(0, 0), headers, found.media_type, 200)
    headers |= {"ETag": f'"{found.etag}"', "Accept-Ranges": "bytes"}
    if _known(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(None, status_code=304, headers=headers)
    first, end, status = 0, found.size, 200
    wanted = _range(request, headers["ETag"])
    if wanted is not None:
        first, end = _span(wanted, found.size)
        if first >= end:
            headers["Content-Range"] = f"bytes */{found.size}"
            return Response(b"", status_code=416, headers=headers, media_type=MediaType.TEXT)
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{found.size}"
        status = 206
    headers["Content-Length"] = str(end - first)
    return _File(found.body(first, end), headers, found.media_type, status)


def _known(conditions: str, etag: str) -> bool:
    """Whether the client has the file: a proxy that compresses marks the ETag as weak."""
    return conditions.strip() == "*" or etag in re.findall(r'"[^"]*"', conditions)


def _range(request: AnyRequest, etag: str) -> tuple[str, str] | None:
    """The first and the last byte as they are asked for; None for the whole file."""
    condition = request.headers.get("if-range")
    if condition is not None and condition != etag:
        return None
    found = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", request.headers.get("range", ""))
    if found is None or found[0] == "bytes=-" or (found[1] and found[2] and int(found[1]) > int(found[2])):
        return None  # RFC 9110, 14.2: a range that makes no sense is ignored
    return found[1], found[2]


def _span(wanted: tuple[str, str], size: int) -> tuple[int, int]:
    first, last = wanted
    if not first:  # the last so many bytes
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


class _File(Response[Any]):
    """A response that breaks the connection when its body cannot come to its end."""

    def __init__(
        self, body: AsyncIterator[bytes], headers: dict[str, str], media_type: str, status: int
    ) -> None:
        # Litestar adds the charset to text by itself.
        super().__init__(None, headers=headers, media_type=media_type.partition(";")[0], status_code=status)
        self._told = media_type
        self._body = body

    def to_asgi_response(self, *_: Any, **more: Any) -> "_Sending":
        request: AnyRequest = more.get("request") or _[1]
        head = request.method == HttpMethod.HEAD
        return _Sending(
            iterator=self._body,
            content_length=0,
            # Litestar leaves the type out of an answer to HEAD.
            headers=self.headers | ({"Content-Type": self._told} if head else {}),
            media_type=str(self.media_type),
            status_code=self.status_code,
            is_head_response=head,
            encoded_headers=more.get("encoded_headers"),
            cookies=more.get("cookies"),
        )


class _Sending(ASGIStreamingResponse):
    async def send_body(self, send: Send, receive: Receive) -> None:
        left = asyncio.create_task(_left(receive))
        try:
            async for part in self.iterator:
                if left.done():
                    return
                if part:
                    assert isinstance(part, bytes)
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        except (BrokenOff, RowfallError) as error:
            log.info("a download was broken off: %s", error)
            return  # without a last message the server breaks the connection
        except asyncio.CancelledError:
            return  # the server stops, and this client is slow
        finally:
            left.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
