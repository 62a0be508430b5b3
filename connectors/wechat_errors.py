"""What WeChat's error numbers mean for a message on its way, as a table, and what becomes of the message.

Invariant: a call ends as one of the errors below or with an answer; only `Unclear` leaves open whether WeChat has the
message.

ConnectorError
├── Refused     WeChat answered with an error number: it does not have the message
│   └── NoToken it was the access token that WeChat did not give
├── NotSent     there was no connection: WeChat does not have the message
└── Unclear     the connection ended before the answer: WeChat may have the message
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from connectors.base import ConnectorError, DeliveryUnknown, RetryLater, SendResult, Undeliverable

Remedy = Literal[
    "refresh",  # the access token is no good: fetch another, once
    "retry",  # WeChat is busy: soon again
    "pause",  # a quota or a setting of the account: much later again, and somebody should look
    "keep",  # the customer may not be written to now: wait for the next visit
    "drop",  # this message will never pass
]

STALE_CALL = 95007
REMEDIES: Mapping[int, Remedy] = {
    -1: "retry",
    40001: "refresh",  # invalid credential
    40014: "refresh",  # invalid access token
    42001: "refresh",  # access token expired
    42007: "refresh",  # access token revoked
    41001: "refresh",  # access token missing
    40003: "drop",  # invalid openid
    40005: "drop",
    40008: "drop",  # invalid message type
    44004: "drop",  # empty content
    45002: "drop",  # content too long
    45008: "drop",  # article too long
    40013: "pause",  # invalid app id
    40125: "pause",  # invalid app secret
    40164: "pause",  # our address is not on the account's list
    50001: "pause",  # the account may not call this
    50002: "pause",  # the account is frozen
    45009: "pause",  # daily quota
    45011: "retry",  # too many calls a minute
    45015: "keep",  # the customer has not been here for 48 hours
    45047: "keep",  # too many messages since he was
    43004: "keep",  # does not follow the account
    43019: "keep",  # blocked the account
    48001: "keep",  # the account may not send customer-service messages
    48006: "pause",  # the interface was closed for too many calls
    # 微信客服
    95001: "keep",  # too many messages since the customer wrote
    95018: "keep",  # 48 hours are over, or a person has the conversation
    STALE_CALL: "drop",  # the token of a callback ran out
}
ALERTS = frozenset({"pause", "drop"})
NO_PERMISSION = 48001

RETRY_S = 5.0
PAUSE_S = 3_600.0
KEEP_S = 24 * 3_600.0
"""A kept message is collected by the customer's next one; until then nothing is tried but once a day."""


class Refused(ConnectorError):
    """WeChat answered with an error number."""

    http_status = 502

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"WeChat answered {code}: {message[:120]}")
        self.code = code

    @property
    def remedy(self) -> Remedy:
        """What the table says; a number that is not in it is this message's own fault."""
        return REMEDIES.get(self.code, "drop")


class NoToken(Refused):
    """No access token is given out: a matter of the account's settings, whatever the number."""

    @property
    def remedy(self) -> Remedy:
        return "retry" if self.code == -1 else "pause"


class NotSent(ConnectorError):
    """WeChat was not reached."""

    http_status = 502


class Unclear(ConnectorError):
    """WeChat was reached, and did not say what became of it."""

    http_status = 502


def send_result(error: Refused | NotSent | Unclear) -> SendResult:
    """What the outbox is told of a message that met this error."""
    if isinstance(error, Unclear):
        return DeliveryUnknown(reason=str(error))
    if isinstance(error, NotSent):
        return RetryLater(reason=str(error))
    match error.remedy:
        case "retry" | "refresh":
            return RetryLater(reason=str(error), after_s=RETRY_S if error.remedy == "retry" else 60.0)
        case "pause":
            return RetryLater(reason=str(error), after_s=PAUSE_S)
        case "keep":
            return RetryLater(reason=str(error), after_s=KEEP_S)
        case "drop":
            return Undeliverable(reason=str(error))
