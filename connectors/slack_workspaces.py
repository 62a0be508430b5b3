"""Which token speaks in which workspace: one from the configuration, or one for each workspace that installed the app.

Tokens of installations lie encrypted in `ChannelState` under the workspace's (or organisation's) id; they may expire
after twelve hours and are then exchanged for new ones, by one process at a time.

Invariant: a workspace's token is used in that workspace only; no token is stored, logged or raised in clear.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.base import ChannelState
from connectors.slack_api import NotDone, Refused, SlackApi, SlackCallFailed, Unclear
from connectors.slack_options import SlackOptions

log = logging.getLogger("kefu.slack")

REFRESH_BEFORE_S = 7_200.0
"""Of twelve hours; what fails now has two hours to succeed."""
REFRESH_LEASE_S = 30.0
_REMOVED = "removed"
_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The app in one workspace, or in a whole organisation. Times are seconds since the epoch."""

    id: str
    bot_token: str
    installed_at: float
    refresh_token: str | None = None
    expires_at: float | None = None

    def is_valid(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at

    def is_due(self, now: float) -> bool:
        """Whether it is time for a new token."""
        return self.expires_at is not None and now > self.expires_at - REFRESH_BEFORE_S

    @staticmethod
    def of(answer: Mapping[str, Any], now: float) -> Installation:
        """What `oauth.v2.access` answered. Raises Refused where it holds no bot token."""
        owner = answer.get("enterprise") if answer.get("is_enterprise_install") else answer.get("team")
        owner_id = owner.get("id") if isinstance(owner, Mapping) else None
        token = answer.get("access_token")
        if not isinstance(owner_id, str) or not isinstance(token, str):
            raise Refused("oauth.v2.access", "no_bot_token")
        refresh_token, expires_in = answer.get("refresh_token"), answer.get("expires_in")
        return Installation(
            id=owner_id,
            bot_token=token,
            installed_at=now,
            refresh_token=refresh_token if isinstance(refresh_token, str) else None,
            expires_at=now + expires_in if isinstance(expires_in, int) and refresh_token else None,
        )


class Seal:
    """AES-256-GCM with a key of its own, made from the server's secret; a value opens only under the name it has."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(hmac.new(secret, b"kefu slack installations 1", hashlib.sha256).digest())

    def close(self, text: str, name: str) -> str:
        nonce = secrets.token_bytes(12)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), name.encode())).decode()

    def open(self, sealed: str, name: str) -> str | None:
        """The text, or None where this secret did not close it under this name."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(raw[:12], raw[12:], name.encode()).decode()
        except (InvalidTag, ValueError):
            return None


class Workspaces:
    """The tokens. `watch` gives it the state that installations lie in."""

    def __init__(self, options: SlackOptions, api: SlackApi, secret: bytes) -> None:
        self._options, self._api = options, api
        self._seal = Seal(secret) if options.has_oauth else None
        self._state: ChannelState | None = None

    def watch(self, state: ChannelState) -> None:
        self._state = state

    async def token(self, team: str) -> str:
        """The bot's token there, new enough to be used.

        Raises:
            Refused: the app is not installed in that workspace.
            NotDone: its token is being exchanged; in a moment there is a new one.
        """
        if self._seal is not None:
            if self._state is None:
                raise NotDone("token", "the channel has not started yet", 1.0)
            key, sealed = await self._find(self._state, team)
            if sealed is not None:
                return await self._usable(self._state, self._seal, key, sealed)
        if self._options.bot_token is None:
            raise Refused("token", "not_installed", f"(workspace {team})")
        return self._options.bot_token

    async def save(self, installation: Installation) -> None:
        """File a new installation, whatever was there before."""
        state, seal = self._stores()
        key = _key(installation.id)
        for _ in range(_TRIES):
            current = await state.get(key)
            if await state.compare_and_set(key, current, seal.close(_to_json(installation), key)):
                log.info("slack.installed", extra={"team": installation.id})
                return
        raise NotDone("install", "the installation changes all the time", 1.0)

    async def forget(self, team: str, enterprise: str | None, at: float) -> None:
        """The app was removed at `at`; an installation that is newer stays."""
        if self._seal is None or self._state is None:
            log.warning("slack.removed", extra={"team": team})
            return
        key = _key(enterprise or team)
        for _ in range(_TRIES):
            sealed = await self._state.get(key)
            installation = None if sealed in (None, _REMOVED) else _read(self._seal, key, sealed)
            if installation is None or installation.installed_at > at:
                return
            if await self._state.compare_and_set(key, sealed, _REMOVED):
                log.warning("slack.removed", extra={"team": installation.id})
                return

    async def expire(self, team: str) -> None:
        """Slack says that the token is too old: the next use exchanges it."""
        if self._seal is None or self._state is None:
            return
        key, sealed = await self._find(self._state, team)
        installation = _read(self._seal, key, sealed) if sealed else None
        if installation is not None and installation.refresh_token and sealed:
            old = replace(installation, expires_at=0.0)
            await self._state.compare_and_set(key, sealed, self._seal.close(_to_json(old), key))

    # ---- inside ----

    def _stores(self) -> tuple[ChannelState, Seal]:
        if self._state is None or self._seal is None:
            raise NotDone("install", "the channel has not started yet", 1.0)
        return self._state, self._seal

    async def _find(self, state: ChannelState, team: str) -> tuple[str, str | None]:
        """The workspace's own installation, else its organisation's."""
        for owner in (team, await state.get(enterprise_key(team))):
            if owner is not None and (sealed := await state.get(_key(owner))) not in (None, _REMOVED):
                return _key(owner), sealed
        return _key(team), None

    async def _usable(self, state: ChannelState, seal: Seal, key: str, sealed: str) -> str:
        installation, now = _read(seal, key, sealed), time.time()
        if installation is None:
            raise Refused("token", "unreadable", "(KEFU_SECRET_KEY has changed: install the app again)")
        if not installation.is_due(now):
            return installation.bot_token
        try:
            installation = await self._refreshed(state, seal, key, installation)
        except SlackCallFailed as error:
            if not installation.is_valid(now):
                raise
            log.warning("slack.refresh_failed", extra={"team": installation.id, "reason": error.reason})
        return installation.bot_token

    async def _refreshed(self, state: ChannelState, seal: Seal, key: str, seen: Installation) -> Installation:
        """Exchange the token, unless another process does or just did."""
        lease, holder = f"slack/refresh/{seen.id}", secrets.token_hex(8)
        if not await state.lease(lease, holder, REFRESH_LEASE_S):
            raise NotDone("oauth.v2.access", "another process exchanges the token", 1.0)
        try:
            return await self._refreshed_alone(state, seal, key, seen)
        finally:
            await state.lease(lease, holder, 0)

    async def _refreshed_alone(self, state: ChannelState, seal: Seal, key: str, seen: Installation) -> Installation:
        sealed = await state.get(key)
        current = _read(seal, key, sealed) if sealed not in (None, _REMOVED) else None
        if sealed is None or current is None:
            raise Refused("token", "not_installed", f"(workspace {seen.id})")
        if not current.is_due(time.time()):
            return current
        fresh = await self._exchanged(current)
        if not await state.compare_and_set(key, sealed, seal.close(_to_json(fresh), key)):
            raise NotDone("oauth.v2.access", "the app was installed anew meanwhile", 0.1)
        log.info("slack.token_exchanged", extra={"team": fresh.id})
        return fresh

    async def _exchanged(self, current: Installation) -> Installation:
        try:
            answer = await self._api.call(
                "oauth.v2.access",
                None,
                client_id=self._options.client_id,
                client_secret=self._options.client_secret,
                grant_type="refresh_token",
                refresh_token=current.refresh_token,
            )
        except Unclear as error:
            # A refresh token may be used again until its successor was used.
            raise NotDone(error.method, error.reason, 1.0) from error
        # A token keeps its workspace, whatever the answer leaves out.
        fresh = Installation.of({**answer, "is_enterprise_install": False, "team": {"id": current.id}}, time.time())
        return replace(fresh, installed_at=current.installed_at)


def enterprise_key(team: str) -> str:
    """Where it is noted which organisation's token speaks in a workspace."""
    return f"slack/enterprise/{team}"


def _key(owner: str) -> str:
    return f"slack/install/{owner}"


def _to_json(installation: Installation) -> str:
    return json.dumps(asdict(installation))


def _read(seal: Seal, key: str, sealed: str) -> Installation | None:
    text = seal.open(sealed, key)
    return None if text is None else Installation(**json.loads(text))
