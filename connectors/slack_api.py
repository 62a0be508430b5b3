"""Slack's Web API: one call, and what its failure means for whoever wanted it done.

slack_sdk's client is not used for sending: by default it posts a second time after a lost connection, and a post cannot
be taken back.

SlackCallFailed
├── NotDone     Slack has not done it (too many calls, no connection): try again, after `after_s` if it says so
├── Refused     Slack said no, and will say no again: `error` is its word
└── Unclear     it may have been done: the connection broke, or Slack failed

Invariant: each failure of a call is one of the three; no token and no text is in any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from connectors.base import storable_text

TIMEOUT_S = 15.0
# Slack's own words for "this may or may not have happened".
_UNCLEAR = frozenset({"internal_error", "fatal_error", "service_unavailable"})
# Slack has not looked at the call: it may be made again as it is.
_NOT_DONE = frozenset({"ratelimited", "rate_limited", "request_timeout", "message_limit_exceeded", "team_added_to_org"})
_MAX_RETRY_AFTER_S = 3_600.0


class SlackCallFailed(Exception):
    """A call of the Web API failed."""

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"{method}: {reason}")
        self.method, self.reason = method, reason


class NotDone(SlackCallFailed):
    """Slack has not done it; it may be tried again."""

    def __init__(self, method: str, reason: str, after_s: float | None = None) -> None:
        super().__init__(method, reason)
        self.after_s = after_s


class Refused(SlackCallFailed):
    """Slack refused it, and would again."""

    def __init__(self, method: str, error: str, detail: str = "") -> None:
        super().__init__(method, f"{error} {detail}".strip())
        self.error = error


class Unclear(SlackCallFailed):
    """Nobody knows whether Slack has done it."""


class SlackApi:
    """Calls methods of the Web API, at `url` (a test's own server, or Slack's for governments)."""

    def __init__(self, url: str, proxy: str | None = None) -> None:
        self._url = url
        self._proxy = proxy
        self._client: httpx.AsyncClient | None = None

    async def call(self, method: str, token: str | None, **fields: object) -> dict[str, Any]:
        """Call a method and return what it answers.

        Args:
            fields: sent as a form; None is left out, lists and objects are sent as JSON.
        Raises:
            SlackCallFailed: see the tree above.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = await self._http().post(self._url + method, data=_form(fields), headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NotDone(method, f"no connection ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise Unclear(method, f"the connection broke ({type(error).__name__})") from error
        return _answer(method, answer)

    def _http(self) -> httpx.AsyncClient:
        # Made by whoever calls first: it belongs to that event loop.
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=TIMEOUT_S, proxy=self._proxy)
        return self._client


def _form(fields: Mapping[str, object]) -> dict[str, str]:
    return {name: _field(value) for name, value in fields.items() if value is not None}


def _field(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else str(value)
    return storable_text(text)  # half an emoji cannot be sent


def _answer(method: str, answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code == 429:
        raise NotDone(method, "too many calls", _retry_after_s(answer))
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or answer.status_code >= 500:
        raise Unclear(method, f"HTTP {answer.status_code}")
    if body.get("ok") is True:
        return body
    error = str(body.get("error", f"HTTP {answer.status_code}"))[:80]
    if error in _NOT_DONE:
        raise NotDone(method, error, _retry_after_s(answer))
    if error in _UNCLEAR:
        raise Unclear(method, error)
    raise Refused(method, error, f"(needed: {str(body['needed'])[:80]})" if body.get("needed") else "")


def _retry_after_s(answer: httpx.Response) -> float | None:
    try:
        return min(max(float(answer.headers["retry-after"]), 0.0), _MAX_RETRY_AFTER_S)
    except (KeyError, ValueError):
        return None
