"""Installing the app in a workspace: `start` sends the browser to Slack, `callback` takes the token that comes back.

Source: https://docs.slack.dev/authentication/installing-with-oauth

Invariant: a code is exchanged only with a state that this server gave to the same browser, once, within ten minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import BadRequest, ChannelState, ConnectorError
from connectors.slack_api import Refused, SlackApi, SlackCallFailed
from connectors.slack_options import SlackOptions
from connectors.slack_workspaces import Installation, Workspaces

log = logging.getLogger("kefu.slack")

PATH = "/webhooks/slack/oauth"
STATE_LIFE_S = 600
STARTS_PER_MIN = 60
"""Each beginning is a row in the database, and anybody may begin."""
COOKIE = "kefu_slack_install"
_STATE = re.compile(r"[A-Za-z0-9_-]{43}")
_CODE = re.compile(r"[A-Za-z0-9._-]{1,500}")


class Install:
    """The two pages of an installation."""

    def __init__(self, options: SlackOptions, api: SlackApi, workspaces: Workspaces, state: ChannelState) -> None:
        self._options, self._api, self._workspaces, self._state = options, api, workspaces, state
        self._starts: list[float] = []

    def routes(self) -> list[BaseRoute]:
        """`start` and `callback`."""
        return [
            Route(f"{PATH}/start", self._start, methods=["GET"]),
            Route(f"{PATH}/callback", self._callback, methods=["GET"]),
        ]

    async def _start(self, request: Request) -> Response:
        if not self._may_start():
            return _page("Too many installations begin at once; try again in a minute.", 429)
        given = secrets.token_urlsafe(32)
        await self._state.compare_and_set(_key(given), None, f"{time.time():.0f}")
        scopes = ",".join(self._options.scopes)
        query = urlencode({"client_id": self._options.client_id, "scope": scopes, "state": given})
        answer = RedirectResponse(f"{self._options.authorize_url}?{query}", 302, {"Cache-Control": "no-store"})
        is_secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(
            COOKIE, given, max_age=STATE_LIFE_S, path=PATH, secure=is_secure, httponly=True, samesite="lax"
        )
        return answer

    def _may_start(self) -> bool:
        now = time.monotonic()
        self._starts = [at for at in self._starts if now - at < 60]
        if len(self._starts) >= STARTS_PER_MIN:
            return False
        self._starts.append(now)
        return True

    async def _callback(self, request: Request) -> Response:
        try:
            await self._install(request)
        except ConnectorError as error:
            return _page(str(error), error.http_status)
        except Refused as error:
            log.warning("slack.install_refused", extra={"reason": error.error})
            return _page("Slack did not accept this installation; begin it again.", 400)
        except SlackCallFailed as error:
            log.warning("slack.install_failed", extra={"reason": error.reason})
            return _page("Slack did not answer; begin the installation again.", 503)
        return _page("The bot is installed in your workspace. You may close this page.", 200)

    async def _install(self, request: Request) -> None:
        query = request.query_params
        await self._use_up(query.get("state", ""), request.cookies.get(COOKIE, ""))
        if "error" in query:
            raise BadRequest("Slack says that the installation was not allowed; nothing was installed.")
        code = query.get("code", "")
        if not _CODE.fullmatch(code):
            raise BadRequest("This is not how Slack comes back; begin the installation again.")
        answer = await self._api.call(
            "oauth.v2.access",
            None,
            client_id=self._options.client_id,
            client_secret=self._options.client_secret,
            code=code,
        )
        await self._workspaces.save(Installation.of(answer, time.time()))

    async def _use_up(self, given: str, cookie: str) -> None:
        """Raises BadRequest unless the state is ours, this browser's, unused and not too old."""
        is_this_browser = bool(_STATE.fullmatch(given)) and hmac.compare_digest(given.encode(), cookie.encode())
        begun_at = await self._state.take(_key(given)) if is_this_browser else None
        if begun_at is None or time.time() - float(begun_at) > STATE_LIFE_S:
            raise BadRequest("This installation has expired or was begun elsewhere; begin it again.")


def _key(given: str) -> str:
    return f"slack/oauth/{hashlib.sha256(given.encode()).hexdigest()}"


def _page(text: str, status: int) -> Response:
    answer = PlainTextResponse(text + "\n", status, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    answer.delete_cookie(COOKIE, path=PATH)
    return answer
