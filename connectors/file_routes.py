"""`POST /webchat/upload`, where a visitor hands over a file, and `GET /files/…`, where a signed link is opened.

An upload is refused as early as it can be: by origin, visitor, announced length and rate before a byte is read, by
length while it is read. What it is called and said to be is not believed; see `file_kinds.py`.

Invariant: no file's answer can run in a browser as a page or a script, whatever its bytes are, and none is cached.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import BadRequest, ConnectorError, TooBusy, Unauthorized
from connectors.file_kinds import SHOWN_INLINE
from connectors.files import MEGABYTE, Correspondent, FileStore, FileTooLarge, TooOften, attachment, size_text
from connectors.visitors import SENDER_PREFIX, read_visitor

log = logging.getLogger("kefu.files")

VISITOR_HEADER = "X-Kefu-Visitor"


class OriginRefused(ConnectorError):
    """A page of this origin may not use the chat."""

    http_status = 403


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """What uploads may cost one process."""

    within_s: float = 120.0  # 10 MB over a slow phone; a client slower than that holds a place for others
    at_once: int = 64
    at_once_per_visitor: int = 3
    # Of all uploads together: slow ones of a few bytes take up no memory, big ones wait their turn.
    held_bytes: int = 128 * MEGABYTE
    # What stands around the file: boundaries, headers, a field or two.
    around_bytes: int = 16_384


class Uploads:
    """The web chat's uploads.

    Args:
        allows: whether a page of this origin, served by this host, may use the chat.
        secret: what visitor tokens are signed with.
    """

    def __init__(
        self, allows: Callable[[str | None, str], bool], secret: bytes, limits: UploadLimits | None = None
    ) -> None:
        self._allows, self._secret, self._limits = allows, secret, limits or UploadLimits()
        self._running: Counter[str] = Counter()
        self._held_bytes = 0

    def routes(self, files: FileStore) -> list[BaseRoute]:
        async def upload(request: Request) -> Response:
            origin = request.headers.get("origin")
            if not self._allows(origin, request.headers.get("host", "")):
                return _failure(OriginRefused("this origin may not embed the chat"), {})
            headers = _cross_origin(origin)
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
            try:
                return JSONResponse(await self._take(request, files), headers=headers)
            except ConnectorError as error:
                return _failure(error, headers)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:
                # Whatever failed, the customer must hear that the file is not kept, on the page that asked.
                log.exception("files.upload_failed")
                return _failure(TooBusy("the file could not be stored; try again"), headers)

        return [Route("/webchat/upload", upload, methods=["POST", "OPTIONS"])]

    async def _take(self, request: Request, files: FileStore) -> Mapping[str, object]:
        visitor_id = read_visitor(request.headers.get(VISITOR_HEADER, ""), self._secret)
        if visitor_id is None:
            raise Unauthorized(f"the header {VISITOR_HEADER} must be the visitor token of the socket's welcome")
        max_bytes = files.rules.max_bytes + self._limits.around_bytes
        _check_head(request, max_bytes, files.rules.max_bytes)
        sender_id = SENDER_PREFIX + visitor_id
        with self._place(visitor_id):
            await files.admit(sender_id)
            owner = Correspondent(channel="web", customer=visitor_id, sender_id=sender_id)
            async with self._reading(request, max_bytes, files.rules.max_bytes) as (name, content):
                stored = await files.put(owner, name, content)
        return attachment(stored, files.link(stored))

    @contextmanager
    def _place(self, visitor_id: str) -> Iterator[None]:
        if self._running[visitor_id] >= self._limits.at_once_per_visitor:
            raise _TooManyAtOnce("too many uploads at once; wait for the others")
        if self._running.total() >= self._limits.at_once:
            raise TooBusy("too many uploads at once; try again")
        self._running[visitor_id] += 1
        try:
            yield
        finally:
            self._running[visitor_id] -= 1
            if not self._running[visitor_id]:
                del self._running[visitor_id]

    @asynccontextmanager
    async def _reading(self, request: Request, max_bytes: int, max_file_bytes: int) -> AsyncIterator[tuple[str, bytes]]:
        """The name and content of the one field `file`; they count as held until the block ends."""
        held = 0

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal held
            async for chunk in request.stream():
                if held + len(chunk) > max_bytes:
                    raise FileTooLarge(f"the file is larger than {size_text(max_file_bytes)}")
                if self._held_bytes + len(chunk) > self._limits.held_bytes:
                    raise TooBusy("too much is being uploaded; try again")
                held += len(chunk)
                self._held_bytes += len(chunk)
                yield chunk

        parser = MultiPartParser(request.headers, counted(), max_files=1, max_fields=4, max_part_size=4_096)
        parser.spool_max_size = max_bytes  # in memory to its end: never a temporary file of a customer's
        try:
            yield await self._parsed(parser)
        finally:
            self._held_bytes -= held

    async def _parsed(self, parser: MultiPartParser) -> tuple[str, bytes]:
        try:
            async with asyncio.timeout(self._limits.within_s):
                form = await parser.parse()
        except MultiPartException as error:
            raise BadRequest(f"the form cannot be read: {error.message}") from error
        except TimeoutError as error:
            raise BadRequest(f"the upload took longer than {self._limits.within_s:g} s") from error
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadRequest("the form must have one file, in the field `file`")
        return file.filename or "", await file.read()


class _TooManyAtOnce(TooOften):
    """This visitor uploads too many files at the same time."""

    retry_after_s = 2.0


def _check_head(request: Request, max_bytes: int, max_file_bytes: int) -> None:
    """What the request says of itself before its body."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadRequest("the body must be multipart/form-data with the file in the field `file`")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise FileTooLarge(f"the file is larger than {size_text(max_file_bytes)}")


def _cross_origin(origin: str | None) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin or "*",
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": VISITOR_HEADER,
        "Access-Control-Expose-Headers": "Retry-After",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def _failure(error: ConnectorError, headers: Mapping[str, str]) -> Response:
    reason = type(error).__name__.lstrip("_")
    body = {"status": "failure", "message": str(error), "reason": reason, "code": error.http_status}
    wait = {} if error.retry_after_s is None else {"Retry-After": str(max(1, round(error.retry_after_s)))}
    return JSONResponse(body, error.http_status, {**headers, **wait})


# ---- links ----


class LinkRefused(ConnectorError):
    """The link is not one of ours, or has expired."""

    http_status = 403


class NoSuchFile(ConnectorError):
    """The file is not there, or no more."""

    http_status = 404


def file_routes(files: FileStore) -> list[BaseRoute]:
    """Where links lead. The name in the path is for people: what is answered is found by the id."""

    async def download(request: Request) -> Response:
        file_id, query = request.path_params["file_id"], request.query_params
        try:
            if not files.opens(file_id, query.get("expires", ""), query.get("signature", "")):
                raise LinkRefused("this link is not valid or has expired; open the conversation for a fresh one")
            found = await files.get(file_id)
            if found is None:
                raise NoSuchFile("this file is no longer kept")
        except ConnectorError as error:
            return _failure(error, {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
        stored, content = found
        return Response(content, media_type=stored.media_type, headers=_file_headers(stored.name, stored.media_type))

    return [Route("/files/{file_id}/{name}", download, methods=["GET"])]


def _file_headers(name: str, media_type: str) -> dict[str, str]:
    kind = "inline" if media_type in SHOWN_INLINE else "attachment"
    plain = name.encode("ascii", errors="replace").decode().replace("?", "_").replace('"', "_").replace("\\", "_")
    return {
        "Content-Disposition": f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",  # the link is a key
        "Cache-Control": "private, no-store",
        # The widget shows images on the shop's own pages; who has the link may see it.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Robots-Tag": "noindex",
    }
