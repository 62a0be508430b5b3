"""Conversations recorded from Rasa 3.6.21, replayed: every event and the state after every turn must be the same.

What the model read, and what TED decided, is taken from the recording, so that only the dialogue is compared. moodbot,
formbot and concertbot are Rasa's own examples and stay outside the repository (KEFU_RASA); labbot is ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.assistant.loader import load_assistant
from bot.dialogue.events import ActionExecuted, ActionExecutionRejected, Event, from_json
from bot.dialogue.manager import DialogueModel, Turn, UserMessage, compile_assistant, external_message, turn
from bot.dialogue.parsing import parse_payload
from bot.dialogue.predictions import Prediction
from bot.dialogue.states import RuleOnly
from bot.dialogue.tracker import Tracker
from bot.rasa.action_server import InProcessActions

TESTS = Path(__file__).parent.parent
RASA = Path(os.environ.get("KEFU_RASA", TESTS.parent.parent / "shared" / "rasa"))
START = 1_700_000_000.0

RECORDED = {
    "moodbot": ["happy", "off_story", "restart_session", "sad_no", "sad_yes", "session_expiry", "text"],
    "formbot": [
        "happy",
        "interrupt_chitchat",
        "interrupt_rule_intent",
        "nlu_text",
        "prefilled",
        "restart_in_form",
        "slot_rejected",
        "stop_affirm",
        "stop_deny",
    ],
    "concertbot": ["fallback", "music_no", "music_yes", "search_compare_concerts", "search_compare_venues"],
}
LABBOT = sorted(path.stem.removeprefix("labbot_") for path in (TESTS / "traces").glob("labbot_*.json"))


class RecordedTed:
    """TED as the recording has it: proposes what it decided there, at the same place of the turn, else nothing."""

    def __init__(self) -> None:
        self._decisions: list[dict[str, Any]] = []
        self._before: list[Event] = []

    def expect(self, recorded: list[dict[str, Any]], tracker: Tracker) -> None:
        """What the next turn's actions were in the recording."""
        self._decisions = [event for event in recorded if event["event"] in ("action", "action_execution_rejected")]
        self._before = list(tracker.events)

    def predict(self, tracker: Tracker, rule_only: RuleOnly) -> Prediction:
        known = {id(event) for event in self._before}
        done = sum(
            isinstance(event, ActionExecuted | ActionExecutionRejected)
            for event in tracker.events
            if id(event) not in known
        )
        recorded = self._decisions[done] if done < len(self._decisions) else {}
        scores = {recorded["name"]: recorded["confidence"]} if recorded.get("policy") == "TEDPolicy" else {}
        return Prediction(policy="TEDPolicy", priority=1, scores=scores)


class Stage:
    """A bot with its real custom actions, and one conversation with it."""

    def __init__(self, folder: Path, *, is_exact: bool = True) -> None:
        assistant = load_assistant(folder, {})
        brand = replace(assistant.brand, disclosure_enabled=False)
        self.ted = RecordedTed()
        learned = [self.ted] if is_exact else []
        self.model: DialogueModel = compile_assistant(replace(assistant, brand=brand), learned, is_exact=is_exact)
        self.actions = InProcessActions.load(folder)
        self.domain = assistant.domain
        self.tracker = Tracker.empty(assistant.domain, "<SENDER>")
        self.rng = random.Random(1)
        self.now = START
        self.count = 0

    async def say(self, text: str, recorded: list[dict[str, Any]], metadata: dict[str, Any] | None = None) -> Turn:
        """One turn; `recorded` are the trace's events, which tell what Rasa's own model read."""
        parse_data = parse_payload(text, self.domain) or _parse_of(text, recorded)
        message = UserMessage(
            text=text,
            parse_data=parse_data,
            input_channel="rest",
            message_id=str(self.count),
            metadata=metadata or {},
        )
        return await self._turn(message, recorded)

    async def trigger(self, intent: dict[str, Any], recorded: list[dict[str, Any]]) -> Turn:
        """`POST /conversations/{id}/trigger_intent`."""
        message = external_message(self.tracker, intent["name"], intent.get("entities") or [], str(self.count))
        return await self._turn(message, recorded)

    async def _turn(self, message: UserMessage, recorded: list[dict[str, Any]]) -> Turn:
        self.count += 1
        self.now += 1
        self.ted.expect(recorded, self.tracker)
        steps = turn(self.tracker, message, self.model, self.now, self.rng)
        try:
            effect = next(steps)
            while True:
                effect = steps.send(await self.actions.run(effect, 10.0))
        except StopIteration as end:
            outcome: Turn = end.value
        self.tracker = outcome.tracker
        return outcome

    def inject(self, bodies: list[dict[str, Any]]) -> list[Event]:
        """Log events from outside; `{"ago": s}` is a time before now."""
        events = []
        for body in bodies:
            stamp = body.get("timestamp")
            ago = stamp["ago"] if isinstance(stamp, dict) else 0.0
            events.append(from_json({**body, "timestamp": self.now - ago}))
            self.tracker.apply(events[-1])
        return events


def _parse_of(text: str, recorded: list[dict[str, Any]]) -> dict[str, Any]:
    """What Rasa's model read, as far as the recorded events tell: also the intent behind a fallback."""
    user = next((event for event in recorded if event["event"] == "user"), {})
    intent = {"name": user.get("intent"), "confidence": 1.0}
    asked = (re.match("Did you mean '(.+)'", event.get("text") or "") for event in recorded if event["event"] == "bot")
    behind = [{"name": found[1], "confidence": 0.2} for found in asked if found]
    return {"text": text, "intent": intent, "intent_ranking": [intent, *behind], "entities": user.get("entities", [])}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def clean(event: Event) -> dict[str, Any]:
    """The event as the recorder writes it: no timestamps, ids or nulls; of a message what was understood."""
    body = event.to_json()
    cleaned: dict[str, Any] = {"event": body["event"]}
    if body["event"] == "user":
        parse = body["parse_data"]
        cleaned |= {"text": body["text"], "intent": (parse.get("intent") or {}).get("name")}
        entities = [
            {key: value for key, value in entity.items() if key in ("entity", "value", "role", "group")}
            for entity in parse.get("entities") or []
        ]
        if entities:
            cleaned["entities"] = entities
        if body["input_channel"]:
            cleaned["input_channel"] = body["input_channel"]
    else:
        for key, value in body.items():
            if key in ("event", "timestamp", "metadata") or value is None or (key, value) == ("hide_rule_turn", False):
                continue
            if key == "data" and not value:
                continue
            cleaned[key] = "<time>" if key == "date_time" else value
    if event.metadata:
        cleaned["metadata"] = dict(event.metadata)
    return _rounded(json.loads(json.dumps(cleaned)))


def state(tracker: Tracker) -> dict[str, Any]:
    found = tracker.current_state()
    loop = {key: value for key, value in found["active_loop"].items() if key != "trigger_message"}
    keys = ("slots", "latest_action", "latest_input_channel", "paused", "followup_action")
    return _rounded({**{key: found[key] for key in keys}, "active_loop": loop})


def recorded_state(body: dict[str, Any]) -> dict[str, Any]:
    loop = {key: value for key, value in body["active_loop"].items() if key != "trigger_message"}
    return {**body, "active_loop": loop}


async def replay(stage: Stage, trace: dict[str, Any]) -> None:
    for index, recorded in enumerate(trace["turns"]):
        given = recorded["input"]
        if "inject" in given:
            stage.inject(given["inject"])
            continue
        if "predict" in given:
            choice = stage.model.policies.predict(stage.tracker)
            found = {"policy": choice.prediction.policy, "confidence": choice.confidence, "action": choice.action}
            assert found == recorded["predict"], f"{trace['name']}, turn {index + 1}"
        if "trigger_intent" in given:
            outcome = await stage.trigger(given["trigger_intent"], recorded["events"])
        elif "user" in given:
            outcome = await stage.say(given["user"], recorded["events"], given.get("metadata"))
        else:
            continue
        place = f"{trace['name']}, turn {index + 1}: {given}"
        assert [clean(event) for event in outcome.events] == recorded["events"], place
        assert state(stage.tracker) == recorded_state(recorded["state"]), place


def run(stage: Stage, trace: dict[str, Any]) -> None:
    async def play() -> None:
        try:
            await replay(stage, trace)
        finally:
            await stage.actions.close()

    asyncio.run(play())


def _example(bot: str, tmp_path: Path) -> Path:
    """One of Rasa's examples with our equivalent of its actions; skipped where the examples are not at hand."""
    if not (RASA / "bots" / bot).is_dir():
        pytest.skip(f"KEFU_RASA has no bot {bot}")
    folder = tmp_path / bot
    shutil.copytree(RASA / "bots" / bot, folder, copy_function=shutil.copyfile)
    actions = TESTS / "bots" / f"{bot}_actions.py"
    if actions.exists():
        shutil.copyfile(actions, folder / "actions.py")
    return folder


def _trace(path: Path) -> dict[str, Any]:
    trace: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return trace


@pytest.mark.parametrize(("bot", "name"), [(bot, name) for bot, names in RECORDED.items() for name in names])
def test_example_bot_does_what_rasa_did(bot: str, name: str, tmp_path: Path) -> None:
    run(Stage(_example(bot, tmp_path)), _trace(RASA / "traces" / f"{bot}_{name}.json"))


@pytest.mark.parametrize("name", LABBOT)
def test_labbot_does_what_rasa_did(name: str) -> None:
    run(Stage(TESTS / "bots" / "labbot"), _trace(TESTS / "traces" / f"labbot_{name}.json"))


def test_every_recording_of_the_examples_is_replayed() -> None:
    if not (RASA / "traces").is_dir():
        pytest.skip("KEFU_RASA has no traces")
    recorded = {path.stem for path in (RASA / "traces").glob("*.json")}
    assert recorded == {f"{bot}_{name}" for bot, names in (RECORDED | {"labbot": LABBOT}).items() for name in names}
    assert len(recorded) == 56


async def test_bot_answers_again_after_a_turn_that_did_not_end() -> None:
    """Rasa's circuit breaker leaves the conversation dead (trace labbot_action_limit); ours listens."""
    trace = _trace(TESTS / "traces" / "labbot_action_limit.json")
    stage = Stage(TESTS / "bots" / "labbot", is_exact=False)
    broken = await stage.say("/loop_forever", [])
    answered = await stage.say("/ask_hours", [])
    await stage.actions.close()
    assert [clean(event) for event in broken.events] == [
        *trace["turns"][0]["events"],
        {"event": "action", "name": "action_listen"},
    ]
    assert [message.body["text"] for message in answered.messages] == ["we are open 9-5"]


async def test_paused_conversation_can_be_restarted() -> None:
    """In Rasa `restart` does not wake a paused conversation (trace labbot_pause)."""
    stage = Stage(TESTS / "bots" / "labbot", is_exact=False)
    said = [await stage.say(text, []) for text in ("/do_pause", "/ask_hours", "/restart", "/ask_hours")]
    await stage.actions.close()
    words = [[message.body["text"] for message in outcome.messages] for outcome in said]
    assert words == [["pausing"], [], ["restarted ok"], ["we are open 9-5"]]
