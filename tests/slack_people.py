"""What people do in Slack, as Slack tells a bot: events, presses, commands; and a sender that signs them.

Signatures are made by slack_sdk's own signer.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
from slack_sdk.signature import SignatureVerifier

from tests.slack_server import ANNA, BOT_USER, CHANNEL, SECRET, TEAM, Said, next_ts

_numbers = itertools.count(1)


def event(event: Mapping[str, Any], *, event_id: str | None = None, **more: Any) -> dict[str, Any]:
    """An Events API callback."""
    return {
        "token": "old", "team_id": TEAM, "api_app_id": "A0APP", "type": "event_callback", "event": dict(event),
        "event_id": event_id or f"Ev{next(_numbers)}", "event_time": int(time.time()),
        "authorizations": [{"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
        **more,
    }  # fmt: skip


def direct(text: str, user: str = ANNA, **more: Any) -> dict[str, Any]:
    """A direct message's event."""
    inner = {"type": "message", "channel": "D" + user[1:], "channel_type": "im", "user": user, "text": text}
    return {**inner, "ts": next_ts(), "team": TEAM, **more}


def mention(text: str, user: str = ANNA, **more: Any) -> dict[str, Any]:
    inner = {"type": "app_mention", "channel": CHANNEL, "user": user, "text": f"<@{BOT_USER}> {text}"}
    return {**inner, "ts": next_ts(), "team": TEAM, **more}


def in_channel(text: str, user: str = ANNA, **more: Any) -> dict[str, Any]:
    inner = {"type": "message", "channel": CHANNEL, "channel_type": "channel", "user": user, "text": text}
    return {**inner, "ts": next_ts(), "team": TEAM, **more}


def press(said: Said, action: Mapping[str, Any], user: str = ANNA) -> dict[str, Any]:
    """A press on an element of a post, as `block_actions`."""
    message = {"type": "message", "ts": said.ts, "text": said.text, "blocks": said.blocks}
    if said.thread_ts:
        message["thread_ts"] = said.thread_ts
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "anna", "team_id": TEAM},
        "team": {"id": TEAM, "domain": "shop"},
        "channel": {"id": said.channel, "name": "help"},
        "container": {"type": "message", "message_ts": said.ts, "channel_id": said.channel, "is_ephemeral": False},
        "message": message,
        "trigger_id": "1.2.abc",
        "response_url": "https://hooks.slack.com/actions/T/1/x",
        "actions": [{"action_ts": next_ts(), "block_id": "b", **action}],
    }


def command(text: str, user: str = ANNA, **more: str) -> dict[str, str]:
    return {
        "token": "old", "team_id": TEAM, "channel_id": CHANNEL, "channel_name": "help", "user_id": user,
        "user_name": "anna", "command": "/kefu", "text": text, "is_enterprise_install": "false",
        "trigger_id": f"1.{next(_numbers)}.abc", "response_url": "https://hooks.slack.com/commands/T/1/x", **more,
    }  # fmt: skip


# ---- as Slack sends it ----


def signed(body: str | bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """The headers that slack_sdk's signer makes."""
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    assert signature is not None
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}


class Slacker:
    """Delivers signed requests to the bot, as Slack would."""

    def __init__(self, http: httpx.AsyncClient, base: str = "") -> None:
        self._http, self._base = http, base

    async def event(self, payload: Mapping[str, Any], path: str = "events", retry: int = 0) -> httpx.Response:
        again = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"} if retry else {}
        return await self.raw(json.dumps(payload), path, {"Content-Type": "application/json", **again})

    async def press(self, payload: Mapping[str, Any], path: str = "interactivity") -> httpx.Response:
        return await self.form({"payload": json.dumps(payload)}, path)

    async def form(self, fields: Mapping[str, str], path: str = "commands") -> httpx.Response:
        return await self.raw(urlencode(fields), path, {"Content-Type": "application/x-www-form-urlencoded"})

    async def raw(self, body: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        url = f"{self._base}/webhooks/slack/{path}"
        return await self._http.post(url, content=body.encode(), headers={**signed(body), **headers})
