"""What customers see of one message of every kind, channel by channel, word for word: tests/goldens/rendering.yml."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from connectors.base import ChannelLimits, OutboundMessage, Part, Text
from connectors.rendering import degrade, parts
from connectors.telegram_messages import calls
from tests.rich_messages import GOLDENS, RICH

TEXT_ONLY = ChannelLimits(has_buttons=False, has_images=False, has_cards=False)


def as_web(message: OutboundMessage) -> list[Any]:
    return [part.model_dump(mode="json", exclude_none=True) for part in parts(message.body)]


def as_text(message: OutboundMessage) -> list[Any]:
    shown = [piece for part in parts(message.body) for piece in degrade(part, TEXT_ONLY)]
    return [piece.text for piece in shown if isinstance(piece, Text)]


def as_telegram(message: OutboundMessage) -> list[Any]:
    return [{method: call} for method, call in calls(message, webhook_url="")]


RENDERERS: Mapping[str, Callable[[OutboundMessage], list[Any]]] = {
    "web": as_web,
    "text": as_text,
    "telegram": as_telegram,
}


@pytest.mark.parametrize("channel", list(RENDERERS))
@pytest.mark.parametrize("kind", list(GOLDENS))
def test_a_message_looks_as_it_did(kind: str, channel: str) -> None:
    message = OutboundMessage(
        outbox_id=1, conversation_id=1, sender_id="any:1", seq=3, author="bot", body=RICH[kind],
        created_at=datetime(2026, 11, 29, tzinfo=UTC),
    )  # fmt: skip
    assert json.loads(json.dumps(RENDERERS[channel](message))) == GOLDENS[kind][channel]


def test_every_kind_of_part_has_a_golden() -> None:
    union = get_args(get_args(Part)[0])
    assert {type(part) for body in RICH.values() for part in parts(body)} == set(union)
