"""A conversation for tests of the dialogue core: files as text, understanding and actions scripted."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.assistant.loader import Assistant, load_assistant
from bot.dialogue.effects import ActionCrashed, AskNlg, Effect, EffectResult, Rephrase, RunAction
from bot.dialogue.manager import DialogueModel, Turn, UserMessage, compile_assistant, turn
from bot.dialogue.parsing import parse_payload
from bot.dialogue.tracker import Tracker

START = 1_700_000_000.0
Action = Callable[[RunAction], EffectResult]


def assistant_of(folder: Path, files: Mapping[str, str], *, disclosure: bool = False) -> Assistant:
    """The assistant whose files are these."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assistant = load_assistant(folder, {})
    return replace(assistant, brand=replace(assistant.brand, disclosure_enabled=disclosure))


class Conversation:
    """Plays turns one second apart.

    Attributes:
        effects: what was asked for, in order.
        nlg: words responses.
        rephraser: says them in other words.
    """

    def __init__(self, model: DialogueModel, actions: Mapping[str, Action] | None = None) -> None:
        self.model = model
        self.actions = dict(actions or {})
        self.tracker = Tracker.empty(model.assistant.domain, "customer")
        self.now = START
        self.nlg: Callable[[AskNlg], EffectResult] | None = None
        self.rephraser: Callable[[Rephrase], EffectResult] | None = None
        self.effects: list[Effect] = []
        self.count = 0

    @staticmethod
    def of(assistant: Assistant, actions: Mapping[str, Action] | None = None) -> Conversation:
        return Conversation(compile_assistant(assistant), actions)

    def say(
        self,
        text: str,
        intent: str | None = None,
        *,
        entities: list[dict[str, Any]] | None = None,
        channel: str = "rest",
        metadata: Mapping[str, Any] | None = None,
        language: str | None = None,
        sentiment: str | None = None,
        **parse: Any,
    ) -> Turn:
        """One turn; `/intent{…}` is read as such, else `intent` and `entities` are what was understood."""
        self.now += 1
        self.count += 1
        read = {"name": intent, "confidence": 0.9}
        scripted = {"text": text, "intent": read, "intent_ranking": [read], "entities": entities or [], **parse}
        payload = parse_payload(text, self.model.assistant.domain) if intent is None else None
        message = UserMessage(
            text=text,
            parse_data=payload or scripted,
            input_channel=channel,
            message_id=str(self.count),
            metadata=metadata or {},
            language=language,
            sentiment=sentiment,
        )
        steps = turn(self.tracker, message, self.model, self.now, random.Random(self.count))
        try:
            effect = next(steps)
            while True:
                self.effects.append(effect)
                effect = steps.send(self._answer(effect))
        except StopIteration as end:
            outcome: Turn = end.value
        self.tracker = outcome.tracker
        return outcome

    def _answer(self, effect: Effect) -> EffectResult:
        if isinstance(effect, AskNlg):
            assert self.nlg is not None, "the domain words the responses"
            return self.nlg(effect)
        if isinstance(effect, Rephrase):
            assert self.rephraser is not None, "responses are said as they are written"
            return self.rephraser(effect)
        action = self.actions.get(effect.name)
        return action(effect) if action else ActionCrashed(error="no such action")


def words(outcome: Turn) -> list[str | None]:
    """What the bot said."""
    return [message.body.get("text") for message in outcome.messages]


def actions_of(outcome: Turn) -> list[str]:
    """The actions of a turn, without listening and the session's start."""
    names = [event.to_json().get("name") for event in outcome.events if event.type_name == "action"]
    return [name for name in names if name not in ("action_listen", "action_session_start")]


def failures(outcome: Turn) -> list[str]:
    """What went wrong in a turn without ending it, as `kefu chat --debug` says it."""
    return [decision.why for decision in outcome.decisions if not decision.action]
