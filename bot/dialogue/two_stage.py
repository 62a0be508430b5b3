"""Two-stage fallback: "did you mean …?", then "please rephrase", then give up. A loop of its own, without slots.

Invariant: as forms: reads the tracker, changes nothing, returns the events of one run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.dialogue.effects import Events, Steps
from bot.dialogue.events import (
    ACTION_LISTEN,
    ActionExecuted,
    ActiveLoop,
    BotUttered,
    Restarted,
    UserUtteranceReverted,
    UserUttered,
)
from bot.dialogue.forms import AskAction
from bot.dialogue.responses import bot_uttered
from bot.dialogue.tracker import Tracker

TWO_STAGE = "action_two_stage_fallback"
ASK_AFFIRMATION = "action_default_ask_affirmation"
ASK_REPHRASE = "action_default_ask_rephrase"
DEFAULT_FALLBACK = "action_default_fallback"
_FALLBACK, _OUT_OF_SCOPE = "nlu_fallback", "out_of_scope"


def run_two_stage(tracker: Tracker, ask: AskAction) -> Steps[Events]:
    """The events of one run of the loop."""
    is_new = tracker.situation.loop_name != TWO_STAGE
    events: Events = [ActiveLoop(name=TWO_STAGE)] if is_new else []
    intent = tracker.situation.message.intent if tracker.situation.message else None
    gives_up = _gives_up(tracker)
    if intent in (_FALLBACK, _OUT_OF_SCOPE) and not gives_up:
        question = ASK_AFFIRMATION if is_new or intent == _FALLBACK else ASK_REPHRASE
        return events + (yield from ask(question, tracker))
    events.append(ActiveLoop(name=None))
    if gives_up:
        return events + (yield from ask(DEFAULT_FALLBACK, tracker))
    events.append(UserUtteranceReverted())
    if tracker.situation.message is not None:
        events += [ActionExecuted(name=ACTION_LISTEN), _clarified(tracker.situation.message)]
    return events


def _gives_up(tracker: Tracker) -> bool:
    two, three = _last_intents(tracker, 2), _last_intents(tracker, 3)
    return two == [_FALLBACK, _FALLBACK] or three == [_OUT_OF_SCOPE, _FALLBACK, _OUT_OF_SCOPE]


def _last_intents(tracker: Tracker, count: int) -> list[str | None]:
    """Intents of the last messages, latest first; a message that was taken back counts as none."""
    intents: list[str | None] = []
    seen = 0
    for event in reversed(tracker.events_of_turn):
        if seen == count or isinstance(event, Restarted):
            break
        if isinstance(event, UserUttered):
            intents.append(event.intent)
            seen += 1
        elif isinstance(event, UserUtteranceReverted):
            seen += 1
    return intents


def _clarified(message: UserUttered) -> UserUttered:
    intent: dict[str, Any] = {**message.parse_data.get("intent", {}), "confidence": 1.0}
    return replace(message, parse_data={**message.parse_data, "intent": intent})


def ask_affirmation(tracker: Tracker) -> BotUttered:
    """Did you mean the most likely intent? Buttons: yes, no."""
    message = tracker.situation.message
    intent = message.intent if message else None
    ranking = message.parse_data.get("intent_ranking") or [] if message else []
    if intent == _FALLBACK and len(ranking) > 1:
        intent = ranking[1].get("name")
    return bot_uttered(
        {
            "text": f"Did you mean '{intent}'?",
            "buttons": [{"title": "Yes", "payload": f"/{intent}"}, {"title": "No", "payload": f"/{_OUT_OF_SCOPE}"}],
            "utter_action": ASK_AFFIRMATION,
        }
    )
