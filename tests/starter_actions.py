"""Running one of the starter's custom actions: a tracker goes in, what was said and which slots were set come out."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher
from ruamel.yaml import YAML

from bot.settings import STARTER

DOMAIN: dict[str, Any] = YAML(typ="safe").load((STARTER / "domain/domain.yml").read_text(encoding="utf-8"))
ANNA = "anna.weber@example.com"


def tracker_with(
    *,
    slots: dict[str, Any] | None = None,
    candidates: dict[str, Any] | None = None,
    sender_id: str = "customer",
    message_id: str | None = "",
    identity: dict[str, Any] | None = None,
    key: str | None = None,
    text: str = "",
    intent: str | None = None,
    entities: Sequence[dict[str, Any]] = (),
    also: Sequence[str] = (),
    before: Sequence[dict[str, Any]] = (),
    form: str | None = "order_status_form",
) -> Tracker:
    """A tracker as a form sends it: the slots just extracted stand at the end of the events, `before` at the start.

    `key`: what Kefu names the call by, and Rasa does not.
    """
    message_id = uuid.uuid4().hex if message_id == "" else message_id
    metadata = {**({"identity": identity} if identity else {}), **({"idempotency_key": key} if key else {})}
    extracted = [{"event": "slot", "name": name, "value": value} for name, value in (candidates or {}).items()]
    return Tracker(
        sender_id=sender_id,
        slots={"language": None, "order_number": None, "order_contact": None, **(slots or {}), **(candidates or {})},
        latest_message={
            "message_id": message_id,
            "text": text,
            "intent": {"name": intent},
            "entities": list(entities),
            "metadata": metadata,
            **({"also": [{"name": name, "confidence": 0.9} for name in also]} if also else {}),
        },
        events=[*before, {"event": "user"}, {"event": "action", "name": form}, *extracted],
        paused=False,
        followup_action=None,
        active_loop={"name": form} if form else {},
        latest_action_name="action_listen",
    )


async def outcome(action: Any, tracker: Tracker) -> tuple[list[str], dict[str, Any]]:
    """Run an action; give the responses it asked for and the last value of each slot it set."""
    messages, slots = await said_by(action, tracker)
    return [message["response"] for message in messages], slots


async def said_by(action: Any, tracker: Tracker) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run an action; give its messages with what they fill in, and the last value of each slot it set."""
    dispatcher = CollectingDispatcher()
    events = await action.run(dispatcher, tracker, DOMAIN)
    slots = {event["name"]: event["value"] for event in events if event["event"] == "slot"}
    if any(event["event"] == "followup" for event in events):
        slots["followup"] = next(event["name"] for event in events if event["event"] == "followup")
    return list(dispatcher.messages), slots
