"""Who is in the web chat: an opaque signed visitor token, and the shop's signed word for who that visitor is.

A visitor's id is random and says nothing about the person; the token proves that we gave it. The identity token is made
by the shop's own website for its signed-in customers (HS256, `exp` required).

Invariant: no conversation is opened without a token that this secret signed, and no identity is believed without the
widget secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from connectors.base import Unauthorized
from connectors.inbound import clean_text

SENDER_PREFIX = "web:"
_VISITOR_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_IDENTITY_FIELDS = ("email", "phone", "name")
# What tells one customer from another, best first; a name does not.
_SUBJECT_FIELDS = ("sub", "email", "phone")


def new_visitor_id() -> str:
    """128 random bits: not guessed, not counted."""
    return secrets.token_urlsafe(16)


def visitor_token(visitor_id: str, secret: bytes) -> str:
    """`<id>.<signature>`, what the widget keeps."""
    digest = hmac.new(secret, f"kefu-visitor:1:{visitor_id}".encode(), hashlib.sha256).digest()
    return f"{visitor_id}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def read_visitor(token: str, secret: bytes) -> str | None:
    """The visitor's id, or None when this secret did not sign the token."""
    visitor_id = token.partition(".")[0]
    if not _VISITOR_ID.fullmatch(visitor_id) or not token.isascii():
        return None
    return visitor_id if hmac.compare_digest(token, visitor_token(visitor_id, secret)) else None


class IdentityRefused(Unauthorized):
    """The identity token is not valid."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the shop says the visitor is, until `expires_at`; `subject` is "" where only a name is known."""

    claims: dict[str, Any]
    expires_at: datetime
    subject: str = ""

    def metadata(self, now: datetime) -> dict[str, Any]:
        """Rasa's message metadata while the identity holds, else nothing."""
        return {"identity": dict(self.claims)} if now < self.expires_at else {}

    def visitor_id(self, secret: bytes) -> str | None:
        """The same for this customer on every device and after every sign-in; says nothing about the person."""
        if not self.subject:
            return None
        digest = hmac.new(secret, f"kefu-customer:1:{self.subject}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def read_identity(token: str, widget_secret: str | None) -> Identity:
    """Verify the shop's identity token.

    Args:
        token: a JWT, HS256, with `exp` and any of `email`, `phone`, `name`.
    Raises:
        IdentityRefused: no widget secret is set, or the token is forged, expired, or names nobody.
    """
    if not widget_secret:
        raise IdentityRefused("this server has no widget secret (KEFU_WIDGET_SECRET), so it can verify no identity")
    try:
        claims = jwt.decode(
            token, widget_secret, algorithms=["HS256"], options={"require": ["exp"], "verify_aud": False}
        )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    except jwt.ExpiredSignatureError as error:
        raise IdentityRefused("the identity token has expired") from error
    # Huge `exp` values pass the library and overflow in the calendar.
    except (jwt.PyJWTError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise IdentityRefused("the identity token is not valid") from error
    known = {name: clean_text(claims[name])[:200] for name in _IDENTITY_FIELDS if isinstance(claims.get(name), str)}
    if not any(known.values()):
        raise IdentityRefused("the identity token names no email, phone or name")
    subject = next((f"{name}:{claims[name]}" for name in _SUBJECT_FIELDS if isinstance(claims.get(name), str)), "")
    return Identity(claims={**known, "verified": True}, expires_at=expires_at, subject=clean_text(subject))
