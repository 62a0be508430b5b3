"""Asking others from inside a turn: a custom action, the nlg server, a generator; the effect, and its answer as events.

Invariant: `Rejection` and `Crash` never leave the turn; whatever failed is remembered in `failures`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.assistant.domain import Variation
from bot.dialogue.effects import (
    ActionCrashed,
    ActionRejected,
    ActionResult,
    AskNlg,
    Events,
    NlgAnswer,
    NlgFailed,
    NotRephrased,
    Rephrase,
    Rephrased,
    RunAction,
    Steps,
)
from bot.dialogue.events import BotUttered, from_json
from bot.dialogue.parsing import SAFETY
from bot.dialogue.responses import choose_variation, generate, inserted, response_id, uttered_by_action
from bot.dialogue.tracker import Tracker

IDEMPOTENCY_KEY = "idempotency_key"
REPHRASED = "rephrased"
"""In the metadata of a bot's message: the `model` that worded it, and the response that it words (`from`)."""
_LANGUAGE_SLOT = "language"
_NO_CHANNEL = "collector"
"""What Rasa calls the output of a message that came over no channel."""


class Rejection(Exception):
    """An action declined to run (also a form that could extract nothing)."""


class Crash(Exception):
    """An action failed; it counts as executed, without events."""


@dataclass(kw_only=True)
class RemoteCall:
    """How this turn calls actions and words responses: for which channel, and what went wrong on the way.

    Attributes:
        turn_key: names the turn, and stays the same when it has to run again.
        asks_nlg: responses are worded by an nlg server, and by the domain only where that fails.
        rephrases: a generator says responses of the domain in other words, where they ask for it.
        language: the assistant's; a response that is said on condition of a language is in that one.
    """

    channels: Sequence[str]
    rng: random.Random
    turn_key: str = ""
    asks_nlg: bool = False
    rephrases: bool = False
    language: str | None = None
    failures: list[str] = field(default_factory=list)
    calls: int = 0

    def run(self, name: str, tracker: Tracker) -> Steps[Events]:
        """Its messages, then its events; an event that cannot be read is left out.

        Raises:
            Rejection: the action declined.
            Crash: the action failed, hung, or does not exist.
        """
        result = yield RunAction(name=name, tracker=self._state(tracker), domain=tracker.domain.raw)
        if isinstance(result, ActionRejected):
            raise Rejection(result.reason)
        if isinstance(result, ActionCrashed):
            self.failures.append(f"{name} crashed: {result.error}")
            raise Crash(result.error)
        assert isinstance(result, ActionResult)
        events: Events = []
        for response in result.responses:
            said = yield from self._said(name, response, tracker)
            events += [said] if said else []
        for body in result.events:
            try:
                events.append(from_json(body))
            except ValueError as error:
                self.failures.append(f"{name} returned an event that is left out: {error}")
        return events

    def worded(
        self, name: str, tracker: Tracker, values: Mapping[str, Any] | None = None
    ) -> Steps[dict[str, Any] | None]:
        """The message of a response, from the nlg server or else from the domain; None where neither has one.

        Args:
            values: what a custom action says it with; None where the bot says it by itself.
        """
        if self.asks_nlg:
            message = yield from self._nlg_message(name, tracker, values)
            if message is not None:
                return message
        slots = tracker.situation.slots
        variation = choose_variation(tracker.domain, name, slots, self.channels, self.rng)
        if variation is None:
            return None
        known = {**slots, **(values or {})}
        draft = generate(variation, known)
        has_own_words = bool(values and values.get("text"))
        if self.rephrases and variation.is_rephrased and not has_own_words and not _is_guarded(tracker):
            draft |= yield from self._rephrased(name, variation, draft["text"], known)
        return draft

    def _rephrased(
        self, name: str, variation: Variation, text: str, values: Mapping[str, Any]
    ) -> Steps[dict[str, Any]]:
        """The text in other words, and what it was; empty where it is said as it is."""
        filled = inserted(variation.body["text"], values)
        if filled is None:
            return {}
        language = dict(variation.conditions).get(_LANGUAGE_SLOT, self.language)
        answer = yield Rephrase(text=text, inserted=filled, language=language and str(language))
        if isinstance(answer, Rephrased):
            return {"text": answer.text, REPHRASED: {"model": answer.model, "from": text}}
        assert isinstance(answer, NotRephrased)
        self.failures.append(f"'{name}' is said as it is written: {answer.why}")
        return {}

    def _nlg_message(
        self, name: str, tracker: Tracker, values: Mapping[str, Any] | None
    ) -> Steps[dict[str, Any] | None]:
        known_id = None
        if values is None:
            known_id = response_id(tracker.domain, name, tracker.situation.slots, self.channels)
        answer = yield AskNlg(
            response=name,
            response_id=known_id,
            arguments=dict(values or {}),
            tracker=tracker.current_state(),
            channel=self.channels[0] if self.channels else _NO_CHANNEL,
        )
        if isinstance(answer, NlgAnswer):
            return answer.message
        assert isinstance(answer, NlgFailed)
        self.failures.append(f"the nlg server did not word '{name}': {answer.why}")
        return None

    def _said(self, action: str, response: Mapping[str, Any], tracker: Tracker) -> Steps[BotUttered | None]:
        """One message of a custom action; None where it names a response that nobody words."""
        own = dict(response)
        name = own.pop("response", None)
        if not isinstance(name, str) or not name:
            return uttered_by_action(own, {})
        draft = yield from self.worded(name, tracker, own)
        if draft is None:
            self.failures.append(f"{action} says '{name}', which is no response of the domain")
            return None
        return uttered_by_action(own, {**draft, "utter_action": name})

    def _state(self, tracker: Tracker) -> dict[str, Any]:
        """The tracker for the action; in its latest message's metadata a key of this very call.

        A turn that dies before it is committed runs again, and calls the action again with the same key.
        """
        self.calls += 1
        state = tracker.current_state()
        latest = state["latest_message"]
        metadata = latest.get("metadata")
        known = metadata if isinstance(metadata, dict) else {}
        state["latest_message"] = {**latest, "metadata": {**known, IDEMPOTENCY_KEY: f"{self.turn_key}-{self.calls}"}}
        return state


def _is_guarded(tracker: Tracker) -> bool:
    """Whether the message needs care: then only written words are said (`bot.safety`)."""
    message = tracker.situation.message
    return message is not None and SAFETY in message.parse_data
