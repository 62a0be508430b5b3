"""Slack's signature over a request's raw bytes.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack

Invariant: nothing that a stranger sends raises anything but Unauthorized: it is compared as bytes, never decoded.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from connectors.base import Unauthorized

REPLAY_WINDOW_S = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def signature_of(body: bytes, timestamp: str, secret: str) -> str:
    """`v0=` and the HMAC-SHA256 of `v0:<timestamp>:<body>`."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def verify(body: bytes, timestamp: str | None, signature: str | None, *, secret: str, now: float) -> None:
    """Raises Unauthorized unless Slack signed this body within five minutes of `now`."""
    if timestamp is None or not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > REPLAY_WINDOW_S:
        raise Unauthorized("the request is not signed by Slack, or it is too old")
    given = (signature or "").encode(errors="replace")
    if not hmac.compare_digest(given, signature_of(body, timestamp, secret).encode()):
        raise Unauthorized("the request is not signed by Slack, or it is too old")
