"""What Rasa's HTTP API checks in every request: body, query, events; and the one shape of its refusals.

Nothing here knows a conversation or a model.
Invariant: whatever a client sends, what comes out is a checked value or an `ApiError` in Rasa's shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.dialogue.events import Event, from_json
from bot.rasa.action_server import PROTOCOL_VERSION, storable_json
from connectors.base import MAX_METADATA_DEPTH

DOCS = "https://rasa.com/docs/rasa"
MAX_JSON_BYTES = 8 * 1024 * 1024
"""A conversation of some ten thousand events; more is not a request that a client means."""

Verbosity = Literal["ALL", "APPLIED", "AFTER_RESTART", "NONE"]
# In the order in which Rasa's message lists them.
VERBOSITIES: tuple[Verbosity, ...] = ("NONE", "APPLIED", "AFTER_RESTART", "ALL")


class ApiError(Exception):
    """A refusal as Rasa's server words it.

    Attributes:
        reason: Rasa's short name of what went wrong, such as "BadRequest" or "ConversationError".
        details: where: `{"parameter": "name", "in": "body"}`.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        help_path: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.details, self.help_path, self.retry_after_s = dict(details or {}), help_path, retry_after_s

    def as_json(self) -> dict[str, Any]:
        return {
            "version": PROTOCOL_VERSION,
            "status": "failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "help": DOCS + self.help_path if self.help_path else None,
            "code": self.status,
        }

    def response(self) -> Response:
        headers = {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}
        return JSONResponse(self.as_json(), self.status, headers)


def bad_request(message: str, parameter: str | None = None, place: str = "body") -> ApiError:
    details = None if parameter is None else {"parameter": parameter, "in": place}
    return ApiError(400, "BadRequest", message, details=details)


# ---- body ----


async def body_bytes(request: Request, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """The request's bytes. Raises ApiError (413) before more than the limit was read."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise ApiError(413, "PayloadTooLarge", f"The request body is larger than {max_bytes} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(raw: bytes) -> Any:
    """The JSON value; None for an empty body. Raises ApiError (400) for anything that is not JSON a database stores."""
    if not raw.strip():
        return None
    try:
        value = storable_json(raw)
    except (ValueError, RecursionError) as error:
        raise bad_request("Failed when parsing body as json") from error
    if _is_deeper(value, MAX_METADATA_DEPTH):
        raise bad_request(f"The request body is nested more than {MAX_METADATA_DEPTH} levels deep.")
    return _without_nul(value)


async def json_object(request: Request, if_empty: str | None = None) -> dict[str, Any]:
    """The body as an object; an empty body is an empty object, or refused with the sentence `if_empty`."""
    value = parse_json(await body_bytes(request))
    if value is None and if_empty:
        raise bad_request(if_empty)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"The request body must be a JSON object, not {type(value).__name__}.")
    return value


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {key.replace("\0", ""): _without_nul(item) for key, item in value.items()}
    return [_without_nul(item) for item in value] if isinstance(value, list) else value


# ---- query ----


def verbosity_of(request: Request) -> Verbosity:
    """`include_events`; AFTER_RESTART where it is not given, as in Rasa."""
    given = request.query_params.get("include_events", "AFTER_RESTART").upper()
    if given not in VERBOSITIES:
        raise bad_request(
            f"Invalid parameter value for 'include_events'. Should be one of {', '.join(VERBOSITIES)}",
            "include_events",
            "query",
        )
    return given


def flag(request: Request, name: str, default: bool = False) -> bool:
    return request.query_params.get(name, str(default)).lower() == "true"


def number(request: Request, name: str) -> float | None:
    """None where it is not given or no number: Rasa, too, goes on without it."""
    try:
        value = float(request.query_params.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# ---- events ----


def events_of(value: object, now: float) -> list[dict[str, Any]]:
    """Rasa's event JSON, checked; an event without a time happened now.

    Args:
        value: one event or a list of them.
        now: seconds since the epoch.
    Raises:
        ApiError: one cannot be read; 400 with Rasa's sentence and which one.
    """
    bodies = value if isinstance(value, list) else [value]
    return [_checked(place, body, now) for place, body in enumerate(bodies)]


def _checked(place: int, body: object, now: float) -> dict[str, Any]:
    try:
        if not isinstance(body, dict):
            raise ValueError(f"an event must be an object, not {type(body).__name__}")
        required = {"slot": ("name", "value"), "entities": ("entities",)}.get(str(body.get("event")), ())
        missing = [name for name in required if name not in body]
        if missing:
            raise ValueError(f"the event '{body['event']}' has no {missing[0]}")
        stamp = body.get("timestamp")
        if isinstance(stamp, bool) or not isinstance(stamp, int | float | None):
            raise ValueError(f"the timestamp {stamp!r:.40} is no number")
        # What an event does not know is left out here, so that the log holds nothing else.
        event = read_event({**body, "timestamp": now if stamp is None else float(stamp)}).to_json()
        return {**event, "parse_data": _completed(event)} if event["event"] == "user" else event
    except ValueError as error:
        raise ApiError(
            400,
            "BadRequest",
            "Failed to validate the events format. For more information about the format visit the docs. "
            f"Error: event {place + 1}: {error}",
            help_path="/pages/http-api",
        ) from error


def _completed(event: Mapping[str, Any]) -> dict[str, Any]:
    """A message's parse data with the keys that it has in any tracker."""
    return {
        "intent": {},
        "entities": [],
        "text": event["text"],
        "message_id": event["message_id"],
        "metadata": event.get("metadata", {}),
        **event["parse_data"],
    }


def read_event(body: Mapping[str, Any]) -> Event:
    """Raises ValueError for what is no event of Rasa's (`handoff` and `operator` are the platform's to log)."""
    if body.get("event") in ("handoff", "operator"):
        raise ValueError(f"unknown event '{body['event']}'")
    return from_json(body)
