"""One test story, step by step: what was read in each message, which action was decided. No files, no model's loading.

As in Rasa the story leads: a message or action that was taken for another counts as an error and the conversation goes
on as written; no custom action runs, the story's own slots and forms are what it left behind.
Invariant: the dialogue's own policies decide, over the tracker that the story so far makes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.assistant.domain import Domain
from bot.dialogue.events import ActionExecuted, ActionExecutionRejected, ActiveLoop, SlotSet, UserUttered
from bot.dialogue.manager import MAX_ACTIONS
from bot.dialogue.policies import Policies
from bot.dialogue.tracker import Tracker
from bot.dialogue.training import TrainingConversation

UNLIKELY_INTENT = "action_unlikely_intent"
TRIPPED = "circuit breaker tripped"
"""Rasa's word for an action that nobody decides, after ten without a customer's message."""

Parse = Callable[[str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class MessageStep:
    """A customer's message. Entities have `text`, `start`, `end`, `entity`, `value`, as far as the annotation has."""

    said: UserUttered
    intent: str | None
    entities: tuple[Mapping[str, Any], ...]
    predicted_intent: str | None
    predicted_entities: tuple[Mapping[str, Any], ...]

    @property
    def is_right(self) -> bool:
        """Intent and entities; neither the order of entities counts nor that one was found twice."""
        return self.intent == self.predicted_intent and _as_set(self.entities) == _as_set(self.predicted_entities)


@dataclass(frozen=True, kw_only=True)
class ActionStep:
    """An action. `was_unlikely`: `action_unlikely_intent` was decided first, and then asked again."""

    expected: str
    is_text: bool
    predicted: str
    policy: str | None
    confidence: float
    was_unlikely: bool

    @property
    def is_right(self) -> bool:
        return self.expected == self.predicted


Step = MessageStep | ActionStep | SlotSet | ActiveLoop


@dataclass(frozen=True, kw_only=True)
class StoryResult:
    """How one way through a test story went."""

    name: str
    source: str
    steps: tuple[Step, ...]

    @property
    def messages(self) -> list[MessageStep]:
        return [step for step in self.steps if isinstance(step, MessageStep)]

    @property
    def actions(self) -> list[ActionStep]:
        return [step for step in self.steps if isinstance(step, ActionStep)]

    @property
    def passed(self) -> bool:
        return all(step.is_right for step in self.messages) and all(step.is_right for step in self.actions)

    @property
    def has_warning(self) -> bool:
        return any(step.was_unlikely for step in self.actions)


async def play_story(
    story: TrainingConversation, policies: Policies, domain: Domain, parse: Parse, source: str
) -> StoryResult:
    """Play the story to its end.

    Args:
        parse: a message's text to Rasa's parse data.
        source: the file, as a person should read it.
    """
    tracker = Tracker.empty(domain, story.name)
    tracker.apply(story.events[0])
    steps: list[Step] = []
    for event in story.events[1:]:
        if isinstance(event, ActionExecuted):
            steps.append(_decide(event, tracker, policies, domain))
            tracker.apply(ActionExecuted(name=event.name, action_text=event.action_text))
            continue
        if isinstance(event, UserUttered):
            steps.append(await _read(event, parse))
        elif isinstance(event, SlotSet | ActiveLoop):
            steps.append(event)
        tracker.apply(event)
    return StoryResult(name=story.name, source=source, steps=tuple(steps))


# ---- messages ----


async def _read(event: UserUttered, parse: Parse) -> MessageStep:
    # A step without words is not read: there is only its intent.
    predicted = await parse(event.text) if event.text else event.parse_data
    said = event.text or ""
    gold, found = _intent_of(event.parse_data), predicted.get("intent") or {}
    named = found.get("name")
    return MessageStep(
        said=event,
        intent=gold,
        entities=_spans(said, event.entities),
        # A story that names only `faq` does not ask which response was selected.
        predicted_intent=named if named == gold else _intent_of(predicted),
        predicted_entities=_spans(said, predicted.get("entities") or ()),
    )


def _intent_of(parse_data: Mapping[str, Any]) -> str | None:
    """The whole name where a response was selected (`faq/ask_hours`), else the intent's."""
    intent = parse_data.get("intent") or {}
    name: str | None = intent.get("full_retrieval_intent_name") or intent.get("name")
    return name


def _spans(text: str, entities: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    found = []
    for entity in entities:
        span = {"text": text} | {key: entity[key] for key in ("start", "end", "entity", "value") if key in entity}
        if "value" in span and "extractor" in entity:
            span["value"] = str(span["value"])  # what is annotated is always text
        found.append(span)
    return tuple(found)


def _as_set(entities: Iterable[Mapping[str, Any]]) -> set[str]:
    return {repr(tuple(entity.items())) for entity in entities}


# ---- actions ----


def _decide(event: ActionExecuted, tracker: Tracker, policies: Policies, domain: Domain) -> ActionStep:
    expected = event.name or event.action_text or ""
    predicted, policy, confidence = _predict(expected, tracker, policies, domain)
    was_unlikely = predicted == UNLIKELY_INTENT != expected
    if was_unlikely:
        tracker.apply(ActionExecuted(name=UNLIKELY_INTENT))
        predicted, policy, confidence = _predict(expected, tracker, policies, domain)
    return ActionStep(
        expected=expected,
        is_text=event.name is None,
        predicted=predicted,
        policy=policy,
        confidence=confidence,
        was_unlikely=was_unlikely,
    )


def _predict(expected: str, tracker: Tracker, policies: Policies, domain: Domain) -> tuple[str, str | None, float]:
    predicted, policy, confidence = _next_action(tracker, policies, domain)
    is_form = predicted in domain.forms and predicted == tracker.situation.loop_name
    if policy is not None and predicted != expected and is_form:
        # The story goes on with something else than its form: the form must have declined.
        tracker.apply(ActionExecutionRejected(name=predicted))
        return _next_action(tracker, policies, domain)
    return predicted, policy, confidence


def _next_action(tracker: Tracker, policies: Policies, domain: Domain) -> tuple[str, str | None, float]:
    if tracker.actions_since_listen() >= MAX_ACTIONS:
        return TRIPPED, None, 0.0
    followup = tracker.situation.followup_action
    if followup is not None and followup in domain.action_names:
        return followup, "followup_action", 1.0
    choice = policies.predict(tracker)
    return choice.action, choice.prediction.policy, choice.confidence
