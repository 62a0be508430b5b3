"""One turn of a conversation: session, message, slots, actions until the bot listens. The whole of it on one screen.

Invariant: a turn never raises for what a customer or a custom action did, changes nothing it was given, and ends with
the bot listening. Its events carry strictly increasing timestamps.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.assistant.domain import SESSION_METADATA_SLOT
from bot.assistant.loader import Assistant
from bot.assistant.source import Problems
from bot.dialogue.actions import ActionRun, is_waiting
from bot.dialogue.effects import Effect, EffectResult, Steps
from bot.dialogue.events import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActionExecutionRejected,
    BotUttered,
    Event,
    LoopInterrupted,
    SessionStarted,
    SlotSet,
    UserFeaturization,
    UserUttered,
    at,
)
from bot.dialogue.forms import form_outcome
from bot.dialogue.parsing import FALLBACK_INTENT
from bot.dialogue.policies import Policies, Policy, compile_policies
from bot.dialogue.predictions import Choice
from bot.dialogue.remote import Crash, Rejection, RemoteCall
from bot.dialogue.responses import message_body, response_channels
from bot.dialogue.slots import extract_slots
from bot.dialogue.tracker import DISCLOSURE, Tracker

__all__ = [
    "BotMessage",
    "Decision",
    "DialogueModel",
    "Effect",
    "EffectResult",
    "Turn",
    "UserMessage",
    "append_events",
    "compile_assistant",
    "execute_action",
    "external_message",
    "log_message",
    "turn",
]

MAX_ACTIONS = 10
"""Actions between two listens, as in Rasa: more is taken for a loop that never ends."""
_MAX_STEPS = 50
"""Decisions of one turn, also of those that end in a rejection or begin a session in the middle of it."""
_TICK_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class DialogueModel:
    """What decides for one assistant; built once by `compile_assistant`.

    Attributes:
        is_exact: do as Rasa does also where that leaves a customer without an answer; for comparisons with it.
        asks_nlg: an nlg server words the responses.
        rephrases: a generator says responses in other words, where they ask for it.
    """

    assistant: Assistant
    policies: Policies
    is_exact: bool = False
    asks_nlg: bool = False
    rephrases: bool = False


@dataclass(frozen=True, kw_only=True)
class UserMessage:
    """What the customer sent and how it was read. `language` "und" or None leaves the conversation's as it is.

    `is_external`: nobody wrote it; see `external_message`.
    """

    text: str
    parse_data: Mapping[str, Any]
    input_channel: str
    message_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    language: str | None = None
    sentiment: str | None = None
    is_external: bool = False


def external_message(tracker: Tracker, intent: str, entities: object, message_id: str) -> UserMessage:
    """A message that the company's own systems (`trigger_intent`) or a reminder send in the customer's place.

    Args:
        entities: Rasa's list of entities, or the short {name: value}; anything else counts as none.
    """
    if isinstance(entities, Mapping):
        entities = [{"entity": name, "value": value} for name, value in entities.items()]
    listed = [dict(one) for one in entities if isinstance(one, Mapping)] if isinstance(entities, list | tuple) else []
    return UserMessage(
        text=f"EXTERNAL: {intent}",
        parse_data={"intent": {"name": intent}, "entities": listed},
        input_channel=tracker.latest_input_channel or "",
        message_id=message_id,
        metadata={"is_external": True},
        is_external=True,
    )


@dataclass(frozen=True, kw_only=True)
class BotMessage:
    """`body` is Rasa's bot message, only what is set; `metadata` is the event's (`utter_action` …)."""

    body: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was done and why, for people."""

    action: str
    policy: str
    confidence: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Everything a turn leads to. `tracker` is the conversation after it."""

    events: tuple[Event, ...]
    messages: tuple[BotMessage, ...]
    decisions: tuple[Decision, ...]
    tracker: Tracker


def compile_assistant(assistant: Assistant, learned: Sequence[Policy] = (), *, is_exact: bool = False) -> DialogueModel:
    """Compile rules and stories into policies, joined by those that were `learned`.

    Raises:
        AssistantError: rules or stories contradict each other or are incomplete; the first problem, with both names.
    """
    problems = Problems()
    policies = compile_policies(assistant, problems, learned)
    error = problems.first_error
    if error:
        raise error.as_error()
    return DialogueModel(assistant=assistant, policies=policies, is_exact=is_exact)


def turn(tracker: Tracker, message: UserMessage, model: DialogueModel, now: float, rng: random.Random) -> Steps[Turn]:
    """Answer one message.

    Args:
        tracker: the conversation so far; it is not changed.
        now: seconds since the epoch; decides whether the session expired, and stamps the events.
        rng: picks between equally fitting variations of a response.
    Yields:
        effects, and expects their results to be sent in.
    """
    run = _TurnRun(tracker.copy(), message, model, now, rng)
    if run.is_session_over():
        yield from run.start_session()
    run.log_message()
    yield from run.extract_slots()
    while run.may_go_on():
        yield from run.next_action()
    yield from run.close()
    return run.result()


# ---- what the company's own systems do in a conversation: Rasa's HTTP API ----


def log_message(
    tracker: Tracker, message: UserMessage, model: DialogueModel, now: float, rng: random.Random
) -> Steps[Turn]:
    """Take a message in, slots filled, without answering it."""
    run = _TurnRun(tracker.copy(), message, model, now, rng)
    if run.is_session_over():
        yield from run.start_session()
    run.log_message()
    yield from run.extract_slots()
    return run.result()


def execute_action(
    tracker: Tracker, executed: ActionExecuted, model: DialogueModel, now: float, rng: random.Random
) -> Steps[Turn]:
    """Run one action, whatever the policies say; nothing follows it."""
    run = _TurnRun(tracker.copy(), _nobody(tracker), model, now, rng)
    if run.is_session_over():
        yield from run.start_session()
    yield from run.execute(executed)
    return run.result()


def append_events(
    tracker: Tracker, events: Sequence[Event], model: DialogueModel, now: float, rng: random.Random
) -> Steps[Turn]:
    """Write events into the log as they are; one without a timestamp happens now. A first session starts by itself."""
    run = _TurnRun(tracker.copy(), _nobody(tracker), model, now, rng)
    begins = [event.to_json().get("name") or event.type_name for event in events[:2]]
    if events and not tracker.events and begins != [ACTION_SESSION_START, SessionStarted.type_name]:
        yield from run.start_session()
    for event in events:
        run.write(event)
    return run.result()


def _nobody(tracker: Tracker) -> UserMessage:
    return UserMessage(text="", parse_data={}, input_channel=tracker.latest_input_channel or "", message_id="")


class _TurnRun:
    """The turn while it happens."""

    def __init__(
        self, tracker: Tracker, message: UserMessage, model: DialogueModel, now: float, rng: random.Random
    ) -> None:
        self._tracker, self._message, self._model, self._now = tracker, message, model, now
        tracker.begin_turn()
        self._clock = max(now, tracker.last_timestamp + _TICK_S)
        key = f"{tracker.sender_id}:{message.message_id}"
        channels = response_channels(message.input_channel)
        self._call = RemoteCall(
            channels=channels,
            rng=rng,
            turn_key=key,
            asks_nlg=model.asks_nlg,
            rephrases=model.rephrases,
            language=model.assistant.language,
        )
        self._actions = ActionRun(call=self._call, texts=model.assistant.action_texts)
        self._events: list[Event] = []
        self._messages: list[BotMessage] = []
        self._decisions: list[Decision] = []
        self._step_count = 0
        self._has_crashed = False
        self._is_done = False

    # ---- logging ----

    def _log(self, event: Event) -> None:
        if isinstance(event, BotUttered):
            self._disclose()
        self._append(event)

    def _append(self, event: Event) -> None:
        stamped = at(event, self._clock)
        self._clock = self._clock + _TICK_S
        self._events.append(stamped)
        self._tracker.apply(stamped)
        if isinstance(stamped, BotUttered):
            self._messages.append(BotMessage(body=message_body(stamped), metadata=stamped.metadata))

    def write(self, event: Event) -> None:
        """Log an event of others with its own time, where it has one."""
        if event.timestamp <= 0:
            self._append(event)
            return
        self._events.append(event)
        self._tracker.apply(event)
        if isinstance(event, BotUttered):
            self._messages.append(BotMessage(body=message_body(event), metadata=event.metadata))

    def _disclose(self) -> None:
        """Before the first word of a session: that it is a machine that speaks."""
        brand = self._model.assistant.brand
        if brand.disclosure_enabled and not self._tracker.is_disclosed:
            text = brand.disclosure(self._language())
            self._append(BotUttered(text=text, metadata={"utter_action": DISCLOSURE}))

    def _language(self) -> str | None:
        slot = self._tracker.situation.slots.get("language")
        if slot is not None:
            return str(slot)
        spoken = self._message.language
        return spoken if spoken and spoken != "und" else self._model.assistant.language

    def _decide(self, action: str, policy: str, confidence: float, why: str) -> None:
        self._decisions.append(Decision(action=action, policy=policy, confidence=confidence, why=why))

    # ---- the parts of a turn ----

    def is_session_over(self) -> bool:
        """Whether a new session begins: nothing has happened yet, or the last message is too long ago."""
        tracker = self._tracker
        if not tracker.applied_events:
            return True
        expiration_s = tracker.domain.session_expiration_min * 60
        last = tracker.last_applied_user
        return expiration_s > 0 and last is not None and self._now - last.timestamp > expiration_s

    def start_session(self) -> Steps[None]:
        if self._message.metadata and not self._message.is_external:
            self._log(SlotSet(name=SESSION_METADATA_SLOT, value=dict(self._message.metadata)))
        yield from self._execute(ACTION_SESSION_START, ActionExecuted(name=ACTION_SESSION_START, confidence=1.0), ())

    def log_message(self) -> None:
        message = self._message
        parse_data = {
            "intent": {"name": None, "confidence": 0.0},
            "entities": [],
            "text": message.text,
            "message_id": message.message_id,
            "metadata": dict(message.metadata),
            **message.parse_data,
        }
        self._log(
            UserUttered(
                text=message.text,
                parse_data=parse_data,
                input_channel=message.input_channel or None,
                message_id=message.message_id,
                metadata=dict(message.metadata),
            )
        )
        self._set_own_slot("language", message.language if message.language != "und" else None)
        self._set_own_slot("sentiment", message.sentiment)

    def _set_own_slot(self, name: str, value: str | None) -> None:
        """Set `language` or `sentiment` where the domain declares it and knows the value."""
        slot = self._tracker.domain.slots.get(name)
        if slot is None or value is None or self._tracker.situation.slots.get(name) == value:
            return
        if slot.type != "categorical" or value.lower() in slot.values:
            self._log(SlotSet(name=name, value=value))

    def extract_slots(self) -> Steps[None]:
        for event in (yield from extract_slots(self._tracker, self._call)):
            self._log(event)

    def may_go_on(self) -> bool:
        situation = self._tracker.situation
        intent = situation.message.intent if situation.message else None
        return not self._is_done and (not situation.paused or intent == "restart")

    def next_action(self) -> Steps[None]:
        self._step_count += 1
        # As in Rasa: a conversation that was taken back to where the bot listens may go on, whatever ran before.
        has_listened = self._model.is_exact and is_waiting(self._tracker.situation.latest_action or "")
        is_full = not has_listened and self._tracker.actions_since_listen() >= MAX_ACTIONS
        if is_full or self._step_count > _MAX_STEPS:
            self._break_circuit()
            return
        followup = self._tracker.situation.followup_action
        if followup is not None and followup in self._tracker.domain.action_names:
            executed = ActionExecuted(name=followup, policy="followup_action", confidence=1.0)
            yield from self._take(executed, (), "asked for by the action before")
            return
        choice = self._model.policies.predict(self._tracker)
        if choice.prediction.is_text:
            # As in Rasa: words decided, so they may fill what their intent did not.
            yield from self.extract_slots()
        before: list[Event] = [LoopInterrupted(is_interrupted=True)] if choice.interrupts_loop else []
        if self._tracker.situation.latest_action == ACTION_LISTEN:
            before.append(UserFeaturization(use_text_for_featurization=choice.prediction.is_text))
        is_said = choice.action in self._actions.texts and choice.action not in self._tracker.domain.action_names
        executed = ActionExecuted(
            name=None if is_said else choice.action,
            action_text=choice.action if is_said else None,
            policy=choice.prediction.policy,
            confidence=choice.confidence,
            hide_rule_turn=choice.prediction.hides_turn,
        )
        yield from self._take(executed, before, self._reason(choice))

    def _reason(self, choice: Choice) -> str:
        """The policy's reason, with why the message was not understood where that is the reason behind it."""
        message = self._tracker.situation.message
        reason = message.parse_data.get("fallback_reason") if message else None
        why = choice.prediction.why
        if message is not None and message.intent == FALLBACK_INTENT and reason:
            return f"fallback: {reason} ({why})"
        return why if choice.confidence > 0 else f"{why}, and there is no fallback"

    def _take(self, executed: ActionExecuted, before: Sequence[Event], why: str) -> Steps[None]:
        """Run what was decided, and note the decision with what came of it."""
        name = executed.name or executed.action_text or ""
        outcome = yield from self._execute(name, executed, before)
        why = f"{why}: {outcome}" if outcome else why
        self._decide(name, executed.policy or "", executed.confidence or 0.0, why)
        self._is_done = is_waiting(name)

    def _execute(self, name: str, executed: ActionExecuted, before: Sequence[Event]) -> Steps[str]:
        """Run an action and log it: policy events, the action, its events. A rejection is logged alone.

        Returns:
            what came of it in words, where the action's name alone does not tell.
        """
        trial = self._tracker.copy() if before else self._tracker
        for event in before:
            trial.apply(at(event, self._clock))
        try:
            events = yield from self._actions.run(name, trial)
        except Rejection as rejection:
            self._log(ActionExecutionRejected(name=name, policy=executed.policy, confidence=executed.confidence))
            return f"declined: {rejection}"
        except Crash as crash:
            self._has_crashed = True
            events, outcome = [], f"crashed: {crash}"
        else:
            outcome = form_outcome(events) if name in self._tracker.domain.forms else ""
        if not any(isinstance(event, ActionExecutionRejected) for event in events):
            for event in before:
                self._log(event)
            self._log(executed)
        for event in events:
            self._log(event)
        if any(isinstance(event, UserUttered) for event in events):
            yield from self.extract_slots()
        return outcome

    def execute(self, executed: ActionExecuted) -> Steps[None]:
        """Run an action that no policy chose."""
        outcome = yield from self._execute(executed.name or "", executed, ())
        self._decide(executed.name or "", executed.policy or "", executed.confidence or 0.0, outcome or "asked for")

    def _break_circuit(self) -> None:
        """Stop a turn that does not end."""
        self._decide(ACTION_LISTEN, "circuit_breaker", 1.0, f"{MAX_ACTIONS} actions without listening")
        self._is_done = True

    def close(self) -> Steps[None]:
        """Say that something failed where a crash left the customer without a word, and listen in any case.

        Rasa does neither: after its circuit breaker or a pause the next message meets a bot that does not listen.
        """
        if self._has_crashed and not self._messages and not self._model.is_exact:
            for event in (yield from self._actions.utter("utter_default", self._tracker)):
                self._log(event)
        for failure in self._call.failures:
            self._decide("", "", 0.0, failure)
        if self._model.is_exact:
            return
        if self._tracker.situation.latest_action != ACTION_LISTEN:
            self._log(ActionExecuted(name=ACTION_LISTEN))

    def result(self) -> Turn:
        return Turn(
            events=tuple(self._events),
            messages=tuple(self._messages),
            decisions=tuple(self._decisions),
            tracker=self._tracker,
        )
