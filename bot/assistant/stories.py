"""Rules and stories as written: steps in order. Their expansion into conversations is `bot.dialogue.training`.

Invariant: names are unique among rules and among stories; every step knows where it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from bot.assistant.source import Node, Problems
from bot.errors import Where
from training.annotations import split_annotations


@dataclass(frozen=True, kw_only=True)
class UserStep:
    """`intent`, in an end-to-end step `text`, in a test story both.

    Entities are {"entity", "value", "role", "group"} as far as given, with "start" and "end" where they stand in the
    text. `response` is the whole of `faq/ask_hours` where that is what the step says.
    """

    where: Where
    intent: str | None = None
    text: str | None = None
    entities: tuple[dict[str, Any], ...] = ()
    response: str | None = None


@dataclass(frozen=True, kw_only=True)
class ActionStep:
    """`name` of an action, or the `text` of an end-to-end bot message."""

    where: Where
    name: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class SlotStep:
    """`has_value` is False where only the slot's name is given."""

    where: Where
    name: str
    value: Any = None
    has_value: bool = True


@dataclass(frozen=True, kw_only=True)
class LoopStep:
    where: Where
    name: str | None


@dataclass(frozen=True, kw_only=True)
class OrStep:
    where: Where
    alternatives: tuple[UserStep | SlotStep, ...]


@dataclass(frozen=True, kw_only=True)
class CheckpointStep:
    where: Where
    name: str
    conditions: tuple[tuple[str, Any], ...] = ()


Step = UserStep | ActionStep | SlotStep | LoopStep | OrStep | CheckpointStep


@dataclass(frozen=True, kw_only=True)
class Story:
    name: str
    steps: tuple[Step, ...]
    where: Where


@dataclass(frozen=True, kw_only=True)
class Rule:
    name: str
    conditions: tuple[Step, ...]
    steps: tuple[Step, ...]
    where: Where
    is_conversation_start: bool = False
    waits_for_user: bool = True


_RULE_KEYS = frozenset({"rule", "steps", "condition", "conversation_start", "wait_for_user_input", "metadata"})
_STORY_KEYS = frozenset({"story", "steps", "metadata"})
_STEP_KEYS = frozenset(
    {"intent", "user", "entities", "action", "bot", "or", "checkpoint", "slot_was_set", "active_loop", "metadata"}
)


def read_stories(section: Node, problems: Problems) -> Iterator[Story]:
    """The stories of one `stories:` section."""
    for element in _named_items(section, "story", _STORY_KEYS, problems):
        name, steps = _name_and_steps(element, "story", problems)
        if name and steps:
            yield Story(name=name, steps=steps, where=element.where)


def read_rules(section: Node, problems: Problems) -> Iterator[Rule]:
    """The rules of one `rules:` section."""
    for element in _named_items(section, "rule", _RULE_KEYS, problems):
        name, steps = _name_and_steps(element, "rule", problems)
        if not name or not steps:
            continue
        start, waits = element.get("conversation_start"), element.get("wait_for_user_input")
        condition = element.get("condition")
        yield Rule(
            name=name,
            conditions=_read_steps(condition, problems) if condition else (),
            steps=steps,
            where=element.where,
            is_conversation_start=bool(start and start.flag(problems)),
            waits_for_user=not waits or waits.flag(problems) is not False,
        )


def _named_items(section: Node, key: str, known: frozenset[str], problems: Problems) -> Iterator[Node]:
    if not section.expect_list(problems):
        return
    for element in section.elements():
        if element.is_map and element.get(key) is not None:
            element.warn_unknown_keys(known, problems)
            yield element
        else:
            problems.error(element, f"an item without `{key}:`", f"Start it with `- {key}: <name>`.")


def _name_and_steps(element: Node, key: str, problems: Problems) -> tuple[str | None, tuple[Step, ...]]:
    name = cast(Node, element.get(key)).text(problems)
    steps = element.get("steps")
    if steps is None or steps.is_null:
        problems.error(element, f"the {key} '{name}' has no steps")
        return name, ()
    return name, _read_steps(steps, problems)


def _read_steps(section: Node, problems: Problems) -> tuple[Step, ...]:
    if not section.expect_list(problems):
        return ()
    return tuple(step for element in section.elements() for step in _read_step(element, problems))


def _read_step(node: Node, problems: Problems) -> Iterator[Step]:
    if not node.is_map:
        problems.error(node, "a step is a mapping such as `- intent: greet`")
        return
    node.warn_unknown_keys(_STEP_KEYS, problems)
    if node.get("intent") is not None or node.get("user") is not None:
        if step := _read_user(node, problems):
            yield step
    elif alternatives := node.get("or"):
        yield _read_or(node, alternatives, problems)
    elif action := node.get("action"):
        if name := action.text(problems):
            yield ActionStep(where=node.where, name=name)
    elif bot := node.get("bot"):
        if text := bot.text(problems):
            yield ActionStep(where=node.where, text=text)
    elif checkpoint := node.get("checkpoint"):
        if name := checkpoint.text(problems):
            yield CheckpointStep(where=node.where, name=name, conditions=_checkpoint_slots(node, problems))
    elif slots := node.get("slot_was_set"):
        yield from _read_slots(slots, problems)
    elif (loop := node.get("active_loop")) is not None:
        yield LoopStep(where=node.where, name=None if loop.is_null else loop.text(problems))
    elif node.get("metadata") is None:
        problems.error(node, "a step of no known kind", f"Known kinds: {', '.join(sorted(_STEP_KEYS))}.")


def _read_user(node: Node, problems: Problems) -> UserStep | None:
    intent_node, text_node = node.get("intent"), node.get("user")
    intent = intent_node.text(problems) if intent_node else None
    full = intent.strip().removeprefix("/") if intent is not None else None
    intent, slash, _ = (full or "").partition("/")
    said = {"intent": intent or None, "response": full if slash else None}
    if text_node is None:
        return UserStep(where=node.where, entities=_read_entities(node, problems), **said) if intent else None
    text = text_node.text(problems)
    if text is None:
        return None
    plain, spans = split_annotations(text.strip())
    annotated = tuple(span.as_entity() | {"start": span.start, "end": span.end} for span in spans)
    return UserStep(where=node.where, text=plain, entities=annotated or _payload_entities(plain), **said)


_PAYLOAD_ENTITIES = re.compile(r"^/[^{@]+(?:@[0-9.]+)?(?P<entities>\{.+\})")


def _payload_entities(text: str) -> tuple[dict[str, Any], ...]:
    found = _PAYLOAD_ENTITIES.match(text)
    if not found:
        return ()
    try:
        values = json.loads(found["entities"])
    except ValueError:
        return ()
    return tuple({"entity": name, "value": value} for name, value in values.items()) if isinstance(values, dict) else ()


def _read_entities(node: Node, problems: Problems) -> tuple[dict[str, Any], ...]:
    section = node.get("entities")
    if section is None or not section.expect_list(problems):
        return ()
    entities: list[dict[str, Any]] = []
    for element in section.elements():
        if not element.is_map:
            if name := element.text(problems):
                entities.append({"entity": name, "value": ""})
            continue
        entity: dict[str, Any] = {}
        for key, child in element.items():
            if key in ("role", "group"):
                entity[key] = child.text(problems)
            else:
                entity |= {"entity": key, "value": child.plain()}
        entities.append({key: value for key, value in entity.items() if value is not None})
    return tuple(entities)


def _read_or(node: Node, section: Node, problems: Problems) -> OrStep:
    alternatives: list[UserStep | SlotStep] = []
    if section.expect_list(problems):
        for element in section.elements():
            if element.get("intent") is not None or element.get("user") is not None:
                if step := _read_user(element, problems):
                    alternatives.append(step)
            elif slots := element.get("slot_was_set"):
                alternatives += _read_slots(slots, problems)
            else:
                problems.error(element, "`or` joins intents, or slot_was_set, and nothing else")
    return OrStep(where=node.where, alternatives=tuple(alternatives))


def _read_slots(section: Node, problems: Problems) -> Iterator[SlotStep]:
    if section.is_map:
        for name, value in section.items():
            yield SlotStep(where=value.where, name=name, value=value.plain())
        return
    if not section.expect_list(problems):
        return
    for element in section.elements():
        if element.is_map:
            for name, value in element.items():
                yield SlotStep(where=value.where, name=name, value=value.plain())
        elif name := element.text(problems):  # type: ignore[assignment]
            yield SlotStep(where=element.where, name=name, has_value=False)


def _checkpoint_slots(node: Node, problems: Problems) -> tuple[tuple[str, Any], ...]:
    section = node.get("slot_was_set")
    return tuple((step.name, step.value) for step in _read_slots(section, problems)) if section else ()
