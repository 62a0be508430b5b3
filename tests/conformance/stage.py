"""Playing the steps of a walk with our own engine, and what of a turn is compared: events and the state after it.

Both sides' events go through the same `comparable`, which drops what is bound to differ: timestamps, message ids, model
ids and absent values. Invariant: what the model read is given, so that only the dialogue is compared.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.assistant.loader import load_assistant
from bot.dialogue.effects import Steps
from bot.dialogue.events import Event, from_json
from bot.dialogue.manager import (
    DialogueModel,
    Turn,
    UserMessage,
    append_events,
    compile_assistant,
    external_message,
    turn,
)
from bot.dialogue.parsing import parse_payload
from bot.dialogue.tracker import Tracker
from bot.rasa.action_server import InProcessActions

Json = dict[str, Any]
STATE_KEYS = ("slots", "latest_action", "latest_input_channel", "paused", "followup_action")
CHANNEL = "rest"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one step led to, ready to compare."""

    events: list[Json]
    state: Json


class Bot:
    """One compiled project with its custom actions.

    Raises:
        AssistantError: we refuse the project.
    """

    def __init__(self, folder: Path) -> None:
        assistant = load_assistant(folder, {})
        quiet = replace(assistant, brand=replace(assistant.brand, disclosure_enabled=False))
        self.model: DialogueModel = compile_assistant(quiet, is_exact=True)
        self.actions = InProcessActions.load(folder)


class Talk:
    """One conversation with a bot."""

    def __init__(self, bot: Bot, sender: str) -> None:
        self._bot = bot
        self._domain = bot.model.assistant.domain
        self.tracker = Tracker.empty(self._domain, sender)

    async def play(self, step: Json) -> Outcome:
        """Carry out one step of a walk."""
        if step["op"] == "append":
            logged = [from_json(body) for body in step["events"]]
            events = await self._carry_out(append_events(self.tracker, logged, self._bot.model, step["now"], _rng()))
        else:
            message = self._message(step)
            events = await self._carry_out(turn(self.tracker, message, self._bot.model, step["now"], _rng()))
        return Outcome(events=[comparable(event.to_json()) for event in events], state=comparable_state(self._state()))

    def _message(self, step: Json) -> UserMessage:
        if step["op"] == "trigger_intent":
            return external_message(self.tracker, step["intent"], step["entities"], "external")
        parsed = step.get("parse_data") or parse_payload(step["text"], self._domain)
        assert parsed is not None, f"neither parse data nor a payload: {step['text']}"
        return UserMessage(
            text=step["text"],
            parse_data=parsed,
            input_channel=CHANNEL,
            message_id=step["message_id"],
            metadata=step.get("metadata") or {},
        )

    async def _carry_out(self, steps: Steps[Turn]) -> tuple[Event, ...]:
        try:
            effect = next(steps)
            while True:
                effect = steps.send(await self._bot.actions.run(effect, 10.0))
        except StopIteration as end:
            self.tracker = end.value.tracker
            events: tuple[Event, ...] = end.value.events
            return events

    def _state(self) -> Json:
        return self.tracker.current_state()


def _rng() -> random.Random:
    return random.Random(1)


def comparable(body: Mapping[str, Any]) -> Json:
    """An event of either side without what is bound to differ."""
    kept: Json = {"event": body["event"]}
    metadata = {k: v for k, v in (body.get("metadata") or {}).items() if k not in ("model_id", "assistant_id")}
    if body["event"] == "user":
        parsed = body.get("parse_data") or {}
        kept |= {"text": body.get("text"), "intent": (parsed.get("intent") or {}).get("name")}
        names = ("entity", "value", "role", "group")
        kept["entities"] = [{k: v for k, v in each.items() if k in names} for each in parsed.get("entities") or []]
        kept["input_channel"] = body.get("input_channel") or None
    else:
        for key, value in body.items():
            if key in ("event", "timestamp", "metadata") or value is None or (key, value) == ("hide_rule_turn", False):
                continue
            if key == "data":
                value = {name: part for name, part in value.items() if part is not None}
                if not value:
                    continue
            kept[key] = "<time>" if key == "date_time" else value
    if metadata:
        kept["metadata"] = metadata
    return rounded(json.loads(json.dumps(kept)))


def comparable_state(state: Mapping[str, Any]) -> Json:
    """Slots, form, last action and flags; the form's trigger message holds what the events say already."""
    loop = {key: value for key, value in (state.get("active_loop") or {}).items() if key != "trigger_message"}
    kept = {key: state.get(key) for key in STATE_KEYS} | {"active_loop": loop}
    return rounded(json.loads(json.dumps({**kept, "latest_action": kept["latest_action"] or None})))


def rounded(value: Any) -> Any:
    """Floats to six places, at any depth."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value
