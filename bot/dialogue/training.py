"""Rules and stories as conversations that could have happened: what the policies learn from.

Checkpoints and `or` multiply: each way through the steps is one conversation.
Invariant: a conversation's events are a valid fold; `unpredictable` names the actions no policy may learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.assistant.domain import Domain, Slot
from bot.assistant.source import Problems
from bot.assistant.stories import (
    ActionStep,
    CheckpointStep,
    LoopStep,
    OrStep,
    Rule,
    SlotStep,
    Step,
    Story,
    UserStep,
)
from bot.dialogue.events import (
    ACTION_LISTEN,
    SHOULD_NOT_BE_SET,
    ActionExecuted,
    ActiveLoop,
    Event,
    SlotSet,
    UserUttered,
)
from bot.errors import Where

SNIPPET = "..."
"""Marks where a rule's own steps begin (or end): what lies beyond may be any conversation."""
MAX_PATHS = 20_000


@dataclass(frozen=True, kw_only=True)
class TrainingConversation:
    """`unpredictable`: indices into `events` of actions with nothing before them to predict them from."""

    name: str
    is_rule: bool
    events: tuple[Event, ...]
    unpredictable: frozenset[int]
    where: Where

    def is_unpredictable(self, event: Event) -> bool:
        """Whether this very event of the conversation is one that no policy may learn."""
        return any(self.events[index] is event for index in self.unpredictable)


@dataclass(kw_only=True)
class _Part:
    """Steps between two checkpoints (also those that an `or` makes)."""

    name: str
    where: Where
    starts: list[CheckpointStep | None]
    ends: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def copy(self) -> _Part:
        return _Part(
            name=self.name, where=self.where, starts=self.starts, ends=list(self.ends), events=list(self.events)
        )


def expand_rules(rules: Iterable[Rule], domain: Domain, problems: Problems) -> list[TrainingConversation]:
    """Each rule as a conversation; what must be empty in it is marked `should_not_be_set`."""
    parts = [part for rule in rules for part in _Builder(domain, rule.name, rule.where, is_rule=True).rule(rule)]
    return list(_expand(parts, domain, is_rule=True, problems=problems))


def expand_stories(stories: Iterable[Story], domain: Domain, problems: Problems) -> list[TrainingConversation]:
    """Each way through the stories as a conversation."""
    parts = [
        part for story in stories for part in _Builder(domain, story.name, story.where, is_rule=False).story(story)
    ]
    return list(_expand(parts, domain, is_rule=False, problems=problems))


class _Builder:
    """Turns the steps of one rule or story into parts."""

    def __init__(self, domain: Domain, name: str, where: Where, *, is_rule: bool) -> None:
        self._domain, self._is_rule = domain, is_rule
        self._name, self._where = name, where
        self._done: list[_Part] = []
        self._current: list[_Part] = []
        self._starts: list[CheckpointStep | None] = []
        self._or_count = 0

    def rule(self, rule: Rule) -> list[_Part]:
        snippet = [] if rule.is_conversation_start else [ActionStep(where=rule.where, name=SNIPPET)]
        ending = [] if rule.waits_for_user else [ActionStep(where=rule.where, name=SNIPPET)]
        return self._steps((*rule.conditions, *snippet, *rule.steps, *ending))

    def story(self, story: Story) -> list[_Part]:
        return self._steps(story.steps)

    def _steps(self, steps: Sequence[Step]) -> list[_Part]:
        for step in steps:
            match step:
                case CheckpointStep():
                    self._checkpoint(step)
                case OrStep():
                    self._branch([self._events(alternative) for alternative in step.alternatives])
                case _:
                    self._open()
                    for part in self._current:
                        part.events += self._events(step)
        return [*self._done, *self._current]

    def _open(self) -> None:
        """Make sure there is a part that can take events."""
        self._done += [part for part in self._current if part.ends]
        unfinished = [part for part in self._current if not part.ends]
        if not unfinished:
            ends = list(dict.fromkeys(end for part in self._current for end in part.ends))
            starts: list[CheckpointStep | None] = (
                [CheckpointStep(where=self._where, name=end) for end in ends] if self._current else self._starts
            )
            unfinished = [_Part(name=self._name, where=self._where, starts=starts or [None])]
        self._current = unfinished

    def _checkpoint(self, step: CheckpointStep) -> None:
        if not self._current:
            self._starts.append(step)
            return
        more = []
        for part in self._current:
            if part.ends:
                copied = part.copy()
                copied.ends = [step.name]
                more.append(copied)
            else:
                part.ends = [step.name]
        self._current += more

    def _branch(self, alternatives: list[list[Event]]) -> None:
        self._open()
        if len(alternatives) == 1:
            for part in self._current:
                part.events += alternatives[0]
            return
        self._or_count += 1
        joined = f"or {self._or_count} of {'rule' if self._is_rule else 'story'} {self._name}"
        branches = []
        for part in self._current:
            for events in alternatives:
                copied = part.copy()
                copied.events += events
                copied.ends = [joined]
                branches.append(copied)
        self._current = branches

    def _events(self, step: Step) -> list[Event]:
        match step:
            case UserStep():
                intent: dict[str, Any] = {"name": step.intent, "confidence": 1.0}
                if step.response is not None:
                    intent["full_retrieval_intent_name"] = step.response
                return [UserUttered(text=step.text, parse_data={"intent": intent, "entities": list(step.entities)})]
            case ActionStep():
                return [ActionExecuted(name=step.name, action_text=step.text)]
            case SlotStep():
                value = step.value if step.has_value else _default_value(self._domain.slots.get(step.name))
                return [SlotSet(name=step.name, value=self._empty_if_rule(value))]
            case LoopStep():
                return [ActiveLoop(name=self._empty_if_rule(step.name))]
            case _:
                return []

    def _empty_if_rule(self, value: Any) -> Any:
        return SHOULD_NOT_BE_SET if value is None and self._is_rule else value


def _default_value(slot: Slot | None) -> Any:
    """What `- slot_was_set: - name` without a value stands for."""
    return {"text": "filled", "list": ["filled"]}.get(slot.type) if slot else None


def _expand(parts: list[_Part], domain: Domain, *, is_rule: bool, problems: Problems) -> Iterator[TrainingConversation]:
    following: dict[str, list[tuple[_Part, CheckpointStep]]] = {}
    for part in parts:
        for start in part.starts:
            if start is not None:
                following.setdefault(start.name, []).append((part, start))
    _report_loose_ends(parts, following, problems)
    count = 0
    for part in parts:
        if None not in part.starts:
            continue
        for path in _paths([part], following, domain):
            count += 1
            if count > MAX_PATHS:
                message = f"more than {MAX_PATHS} ways lead through the checkpoints and `or` steps"
                problems.error(part.where, message, "Use fewer `or` steps in one story, or split the story.")
                return
            yield _conversation(path, domain, is_rule=is_rule)


def _paths(
    path: list[_Part], following: dict[str, list[tuple[_Part, CheckpointStep]]], domain: Domain
) -> Iterator[list[_Part]]:
    """Every way on from here; a checkpoint that leads back into the way taken ends it."""
    last = path[-1]
    if not last.ends:
        yield path
        return
    onward = [
        part
        for end in last.ends
        for part, start in following.get(end, ())
        if not any(part is taken for taken in path) and _conditions_hold(path, start, domain)
    ]
    if not onward:
        yield path
    for part in onward:
        yield from _paths([*path, part], following, domain)


def _conditions_hold(path: list[_Part], start: CheckpointStep, domain: Domain) -> bool:
    if not start.conditions:
        return True
    values: dict[str, Any] = {name: slot.initial_value for name, slot in domain.slots.items()}
    values |= {event.name: event.value for part in path for event in part.events if isinstance(event, SlotSet)}
    return all(values.get(name) == value for name, value in start.conditions)


def _report_loose_ends(
    parts: list[_Part], following: dict[str, list[tuple[_Part, CheckpointStep]]], problems: Problems
) -> None:
    ends = {end for part in parts for end in part.ends}
    for part in parts:
        for start in part.starts:
            if start is not None and start.name not in ends:
                message = f"'{part.name}' starts at the checkpoint '{start.name}', where nothing ends"
                problems.warning(start.where, message, "It is never reached.")
        for end in part.ends:
            if end not in following and not end.startswith("or "):
                problems.warning(part.where, f"'{part.name}' ends at the checkpoint '{end}', where nothing starts")


def _conversation(path: list[_Part], domain: Domain, *, is_rule: bool) -> TrainingConversation:
    events: list[Event] = []
    unpredictable: set[int] = set()
    is_first_action_open = True
    for part in path:
        for event in part.events:
            if isinstance(event, UserUttered):
                is_first_action_open = False
                if not _is_listen(events[-1] if events else None):
                    events.append(ActionExecuted(name=ACTION_LISTEN))
                events.append(event)
                events += _entity_slots(event, domain)
                continue
            if isinstance(event, ActionExecuted) and is_first_action_open:
                is_first_action_open = False
                unpredictable.add(len(events))
            events.append(event)
        # Only the part a conversation starts with can hold an action that nothing precedes.
        is_first_action_open = False
    if not path[-1].ends and not _is_listen(events[-1] if events else None):
        events.append(ActionExecuted(name=ACTION_LISTEN))
    return TrainingConversation(
        name=" > ".join(dict.fromkeys(part.name for part in path)),
        is_rule=is_rule,
        events=tuple(events),
        unpredictable=frozenset(unpredictable),
        where=path[0].where,
    )


def _is_listen(event: Event | None) -> bool:
    return isinstance(event, ActionExecuted) and event.name == ACTION_LISTEN


def _entity_slots(user: UserUttered, domain: Domain) -> Iterator[SlotSet]:
    """The slots that a step's entities fill by their mappings; mappings bound to a form do not count in training.

    `store_entities_as_slots: false` does not count either: Rasa trains on a domain that has lost this setting.
    """
    for slot in domain.slots.values():
        values = [
            entity.get("value")
            for mapping in slot.mappings
            if mapping.type == "from_entity"
            and not (mapping.conditions and mapping.conditions[0].active_loop is not None)
            for entity in user.entities
            if (entity.get("entity"), entity.get("role"), entity.get("group"))
            == (mapping.entity, mapping.role, mapping.group)
        ]
        if values:
            yield SlotSet(name=slot.name, value=values if slot.type == "list" else values[-1])
