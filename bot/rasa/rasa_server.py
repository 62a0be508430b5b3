"""A Rasa server's HTTP API as the engine uses it: one method a route, timeouts, what may be tried again, errors.

Nothing here knows about turns. Invariant: only what changes nothing, or changes the same again, is sent twice. A write
whose answer did not come raises `RasaUnavailable` and is not repeated: whether it happened stands in the tracker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from bot.errors import ConfigurationError, KefuError
from models.base import ModelUnavailable

READ_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 60.0
"""A write may run a custom action; Rasa itself waits 300 s for one."""
READ_ATTEMPTS = 3
SUPPORTED_MAJOR = "3"


class RasaUnavailable(ModelUnavailable):
    """The Rasa server gave no answer; the turn is tried again later and looks up how far it came."""


class RasaRefused(KefuError):
    """The Rasa server answered with an error; trying again at once would not help."""


@dataclass(frozen=True, kw_only=True)
class RasaPrediction:
    """The next action. `tracker` is the conversation's state before it."""

    action: str
    policy: str | None
    confidence: float
    tracker: dict[str, Any]


class RasaServer:
    """One server. `token` is Rasa's `--auth-token`."""

    def __init__(self, url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=url,
            params={"token": token} if token else None,
            timeout=httpx.Timeout(WRITE_TIMEOUT_S, connect=5.0),
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def version(self) -> str:
        """What the server says it is ("3.6.21"). Raises RasaUnavailable; RasaRefused where it is no Rasa."""
        body = await self._read("GET", "/version")
        if not isinstance(body, dict) or not isinstance(body.get("version"), str):
            raise RasaRefused(f"{self.url} is no Rasa server: its /version names none")
        return str(body["version"])

    async def check(self) -> str:
        """The version, of a server that can decide: a Rasa 3 with a model.

        Raises:
            ConfigurationError: another version, or the token does not fit.
            RasaUnavailable: unreachable, or no model is loaded.
        """
        version = await self.version()
        if version.partition(".")[0] != SUPPORTED_MAJOR:
            raise ConfigurationError(
                f"{self.url} is Rasa {version}; `dialogue: rasa` needs Rasa {SUPPORTED_MAJOR}.x (made with 3.6.21). "
                "Upgrade the server, or remove `dialogue: rasa` from kefu.yml and let Kefu decide."
            )
        await self._read("GET", "/status")
        return version

    async def tracker(self, conversation: str) -> dict[str, Any]:
        """The conversation with all events that the server kept. Of an unknown one: as it would begin."""
        return dict(await self._read("GET", _path(conversation, "tracker"), params={"include_events": "ALL"}))

    async def replace_events(self, conversation: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Make these the whole conversation (`PUT`: again is the same)."""
        await self._read("PUT", _path(conversation, "tracker/events"), json=list(events))

    async def append_events(
        self, conversation: str, events: Sequence[Mapping[str, Any]], *, has_effects: bool = False
    ) -> dict[str, Any]:
        """Log events. `has_effects`: Rasa also schedules and cancels the reminders among them."""
        params = {"execute_side_effects": "true"} if has_effects else {}
        return dict(await self._write(_path(conversation, "tracker/events"), list(events), params=params))

    async def log_message(self, conversation: str, text: str, parse_data: Mapping[str, Any]) -> dict[str, Any]:
        """Log a message as it was understood, start a session if need be, fill slots; nothing is answered."""
        body = {"text": text, "sender": "user", "parse_data": dict(parse_data)}
        return dict(await self._write(_path(conversation, "messages"), body))

    async def predict(self, conversation: str) -> RasaPrediction:
        """What the policies say. It changes nothing that matters, so it may be asked again."""
        body = await self._read("POST", _path(conversation, "predict"), json={})
        try:
            best = max(body["scores"], key=lambda each: float(each["score"]))
            return RasaPrediction(
                action=best["action"],
                policy=body["policy"],
                confidence=float(body["confidence"]),
                tracker=dict(body["tracker"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RasaRefused(f"{self.url} predicted something unreadable: {error!r}") from error

    async def execute(self, conversation: str, name: str, policy: str | None, confidence: float) -> None:
        """Run an action and log it."""
        body = {"name": name, "policy": policy, "confidence": confidence}
        await self._write(_path(conversation, "execute"), body)

    async def trigger_intent(self, conversation: str, name: str, entities: Sequence[Mapping[str, Any]]) -> None:
        """A whole turn for an intent that nobody wrote."""
        await self._write(_path(conversation, "trigger_intent"), {"name": name, "entities": list(entities)})

    # ---- HTTP ----

    async def _read(self, method: str, path: str, **request: Any) -> Any:
        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                return await self._ask(method, path, timeout=READ_TIMEOUT_S, **request)
            except RasaUnavailable:
                if attempt == READ_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _write(self, path: str, body: Any, params: Mapping[str, str] | None = None) -> Any:
        """Sent once; only where no connection came about, and so nothing was sent, a second time."""
        try:
            return await self._ask("POST", path, json=body, params=params)
        except RasaUnavailable as error:
            if not isinstance(error.__cause__, httpx.ConnectError):
                raise
        return await self._ask("POST", path, json=body, params=params)

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            answer = await self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise RasaUnavailable(
                f"the Rasa server {self.url} gave no answer to {method} {_shown(path)}: {type(error).__name__} {error}"
            ) from error
        if answer.status_code == httpx.codes.OK:
            try:
                return answer.json()
            except ValueError as error:
                raise RasaRefused(
                    f"{self.url} answered {method} {_shown(path)} with something else than JSON"
                ) from error
        raise self._error(method, path, answer)

    def _error(self, method: str, path: str, answer: httpx.Response) -> Exception:
        try:
            said = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = answer.text[:200]
        status = answer.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return ConfigurationError(
                f"the Rasa server {self.url} refuses us ({status}): set `rasa_token` in kefu.yml to its --auth-token"
            )
        if status in (httpx.codes.CONFLICT, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE):
            # 409: the server runs and has no model (yet).
            return RasaUnavailable(f"the Rasa server {self.url} is not ready ({status}): {said}")
        return RasaRefused(f"the Rasa server {self.url} answered {method} {_shown(path)} with {status}: {said}")


def _path(conversation: str, rest: str) -> str:
    return f"/conversations/{quote(conversation, safe=':@')}/{rest}"


def _shown(path: str) -> str:
    """A path for people and logs: a conversation's id may be somebody's phone number."""
    return "/conversations/…/" + path.split("/", 3)[3] if path.startswith("/conversations/") else path
