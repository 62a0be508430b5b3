"""The widget's and the demo shop's files as routes, from the package's own data.

Read once, when the routes are built: a request names one of them or gets 404, so no path leads out of the folder.

Invariant: the demo page runs under the strictest policy that the widget promises to work with: no inline script, no
inline style.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
}
Endpoint = Callable[[Request], Awaitable[Response]]
_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]+")


def widget_routes() -> list[BaseRoute]:
    """`/widget/…` for any page to embed, `/demo/` to look at."""
    root = files("connectors").joinpath("widget")
    routes: list[BaseRoute] = [Route("/demo", _to_demo, methods=["GET"])]
    for path, file in sorted(_walk(root, "")):
        is_demo = path.startswith("demo/")
        url = "/demo/" if path == "demo/index.html" else f"/{path}" if is_demo else f"/widget/{path}"
        routes.append(Route(url, _file_endpoint(path, file.read_bytes(), is_demo=is_demo), methods=["GET"]))
    return routes


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in MEDIA_TYPES:
            yield prefix + entry.name, entry


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _file_endpoint(path: str, content: bytes, *, is_demo: bool) -> Endpoint:
    etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if not is_demo:
        # Any page may embed the widget; who may talk to the server is decided at the socket.
        headers |= {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}

    async def endpoint(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        page = _page_headers(request.headers.get("host", "")) if path.endswith(".html") else {}
        return Response(content, media_type=MEDIA_TYPES[_suffix(path)], headers={**headers, **page})

    return endpoint


def _page_headers(host: str) -> dict[str, str]:
    # Older Safari does not count the websocket of the same host as 'self'.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; "
        f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "SAMEORIGIN",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }


async def _to_demo(request: Request) -> Response:
    return RedirectResponse(f"/demo/?{request.url.query}" if request.url.query else "/demo/")
