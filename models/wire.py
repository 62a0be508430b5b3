"""What a replica (`serving.py`) and its client (`client.py`) say to each other: JSON over HTTP, one path an assistant.

POST a list of texts: 200 and their readings, 503 (safe to retry) or 422 (the model broke on a text) with a reason.
GET: what that replica serves. No transport here, and nothing of Ray: the client needs none of it.
Invariant: a reading arrives as it left, to the last bit of every confidence; nothing that arrives is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from models.base import Understanding
from models.runtime import ServingStatus

OK, MALFORMED, BROKE, UNAVAILABLE = 200, 400, 422, 503


@dataclass(frozen=True, kw_only=True)
class Report:
    """One replica's state.

    Attributes:
        replicas: how many the deployment has when all live.
    """

    replica: str
    node: str
    pid: int
    replicas: int
    status: ServingStatus


class Unreadable(Exception):
    """The other side speaks otherwise: another release of Kefu, or no Kefu at all."""


_TEXTS = TypeAdapter(list[str])
_READINGS = TypeAdapter(list[Understanding])
_REPORT = TypeAdapter(Report)


def write_texts(texts: Sequence[str]) -> bytes:
    return json.dumps(list(texts)).encode()  # ASCII, so that half of a surrogate pair travels too


def read_texts(body: bytes) -> list[str]:
    """Raises Unreadable."""
    try:
        return _TEXTS.validate_python(json.loads(body), strict=True)
    except (ValueError, RecursionError) as error:  # pydantic's ValidationError is a ValueError
        raise Unreadable("the body is no JSON list of texts") from error


def write_readings(readings: Sequence[Understanding]) -> bytes:
    return json.dumps(_READINGS.dump_python(list(readings))).encode()


def read_readings(body: bytes, texts: Sequence[str]) -> list[Understanding]:
    """The readings of exactly these texts; raises Unreadable."""
    try:
        readings = _READINGS.validate_python(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise Unreadable("the answer holds no readings; does the same release of Kefu serve the models?") from error
    if [reading.text for reading in readings] != list(texts):
        raise Unreadable("the answer is about other texts")
    return readings


def write_report(report: Report) -> bytes:
    return _REPORT.dump_json(report)


def read_report(body: bytes) -> Report:
    """Raises Unreadable."""
    try:
        return _REPORT.validate_json(body)
    except ValidationError as error:
        raise Unreadable("the answer is no report of a model; does the same release of Kefu serve there?") from error


def write_problem(reason: str) -> bytes:
    return json.dumps({"reason": reason}).encode()


def read_problem(body: bytes) -> str | None:
    """The reason that a replica gave; None where something in between answered in its place."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    reason = found.get("reason") if isinstance(found, dict) else None
    return reason if isinstance(reason, str) else None
