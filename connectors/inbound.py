"""What every channel checks before it believes a payload: JSON, lengths, characters that no database stores.

Invariant: what passes here can be stored as UTF-8 text and as JSON by SQLite and by PostgreSQL, and carries no
`identity` that the platform did not verify itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from connectors.base import BadRequest

MAX_DEPTH = 20
# PostgreSQL stores no NUL, UTF-8 no half of a surrogate pair; the other controls mean nothing in a chat.
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class TooLong(BadRequest):
    """The message is longer than the channel takes."""

    http_status = 413


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The request's bytes. Raises TooLong before more than the limit was read, ClientDisconnect at an early end."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > max_bytes:
        raise TooLong(f"the body is larger than {max_bytes} bytes")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise TooLong(f"the body is larger than {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json_object(raw: bytes | str) -> dict[str, Any]:
    """Read a JSON object. Raises BadRequest for anything else, however hostile: bad UTF-8, deep nesting, NaN,
    numbers that are read as infinite."""
    try:
        value = json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not valid JSON") from error
    if not isinstance(value, dict):
        raise BadRequest(f"the body must be a JSON object, not {type(value).__name__}")
    return value


def clean_text(value: str) -> str:
    """The text without characters that cannot be stored."""
    return _UNSTORABLE.sub("", value)


def message_text(value: object, field: str, max_chars: int) -> str:
    """A customer's message, cleaned and stripped.

    Raises:
        TooLong: more than `max_chars` characters.
        BadRequest: no text, or nothing in it.
    """
    if not isinstance(value, str):
        raise BadRequest(f"`{field}` must be a string")
    text = clean_text(value).strip()
    if not text:
        raise BadRequest(f"`{field}` is empty")
    if len(text) > max_chars:
        raise TooLong(f"`{field}` has {len(text)} characters; at most {max_chars} are taken")
    return text


def customer_metadata(value: object) -> dict[str, Any]:
    """Rasa's message metadata as a customer may send it: storable, and never with an `identity`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadRequest("`metadata` must be an object")
    cleaned: dict[str, Any] = _storable(value, MAX_DEPTH)
    cleaned.pop("identity", None)
    return cleaned


def _storable(value: Any, depth: int) -> Any:
    if depth == 0:
        raise BadRequest(f"`metadata` is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _storable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest("`metadata` holds a number that JSON cannot carry")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
