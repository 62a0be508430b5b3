"""What a project names and Kefu does not run: who depends on it, and where that is written.

What becomes of each component stands in `components.py`. Invariant: it is an error only where a slot, rule or story can
no longer happen; whatever else is lost is a warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.assistant.components import Kind, look_up
from bot.assistant.config import DucklingExtractor
from bot.assistant.domain import Slot
from bot.assistant.source import Node, Problems
from bot.assistant.stories import ActionStep, OrStep, Step, UserStep
from bot.errors import Where
from models.value_options import DUCKLINGS

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant

# Duckling's other dimensions; only its server finds them.
SERVER_ONLY = ("ordinal", "distance", "quantity", "temperature", "volume", "credit-card-number")
# What Rasa takes where `type` is missing.
_DEFAULTS: Mapping[Kind, str] = {
    "tracker_store": "InMemoryTrackerStore",
    "lock_store": "in_memory",
    "event_broker": "pika",
}
# What a project's own class is called says enough: these read words for others.
_FIND_NOTHING = ("Tokenizer", "Featurizer", "Classifier", "NLP")
_PAYLOAD_ENTITIES = re.compile(r"^/[^{]*(\{.*\})\s*$", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """Something that would have found entities: what it is, why it does not, what to do. `entities` None: unknown."""

    what: str
    why: str
    remedy: str
    entities: frozenset[str] | None


def check_pipeline(assistant: Assistant, problems: Problems) -> None:
    """Report components that are not run, and whatever their entities were needed for."""
    lost: list[_Lost] = []
    for entry in assistant.pipeline:
        component = look_up("component", entry.name)
        if component.verdict == "unsupported":
            message = f"{component.name} is not run: {component.what_happens}"
            problems.warning(entry.where, message, component.remedy or None)
            if component.finds_entities and not component.name.endswith(_FIND_NOTHING):
                lost.append(
                    _Lost(what=component.name, why=component.what_happens, remedy=component.remedy, entities=None)
                )
        elif component.name == "DucklingEntityExtractor" and assistant.duckling is not None:
            lost += _check_dimensions(assistant.duckling, entry.where, problems)
    if lost:
        _check_entities(assistant, lost, problems)
    for step in _steps(assistant):
        if isinstance(step, ActionStep) and step.name == "action_unlikely_intent":
            component = look_up("policy", "UnexpecTEDIntentPolicy")
            # A Rasa server that decides (`dialogue: rasa`) predicts it.
            report = problems.warning if assistant.config.rasa else problems.error
            report(step.where, "action_unlikely_intent is never predicted", component.remedy)


def check_settings(endpoints: Node | None, credentials: Node | None, problems: Problems) -> None:
    """Report channels of `credentials.yml`, and stores and brokers of `endpoints.yml`, that are not run."""
    for name, node in credentials.items() if credentials else ():
        _check_one("channel", name, node, problems)
    for kind, default in _DEFAULTS.items():
        if endpoints and (section := endpoints.get(kind)) and section.is_map:
            type_node = section.get("type")
            written = type_node.text(problems) if type_node and not type_node.is_null else None
            _check_one(kind, written or default, type_node or section, problems)


def _check_one(kind: Kind, name: str, node: Node, problems: Problems) -> None:
    found = look_up(kind, name)
    label = kind.replace("_", " ")
    if found.verdict == "unsupported":
        problems.warning(node, f"the {label} '{name}' is not run: {found.what_happens}", found.remedy or None)
    elif kind == "tracker_store" and found.remedy:
        problems.warning(node, f"the {label} '{name}' is not used: {found.what_happens}", found.remedy)


def _check_dimensions(duckling: DucklingExtractor, where: Where, problems: Problems) -> Iterator[_Lost]:
    """The dimensions that only a server finds, where there is none."""
    wanted = SERVER_ONLY if duckling.dimensions is None else duckling.dimensions
    for name in wanted:
        if name in DUCKLINGS:
            continue
        if duckling.url is not None:
            if duckling.dimensions is not None:
                problems.warning(where, f"Duckling's dimension '{name}' is found only while its server answers")
            continue
        why = "it is found by Duckling's server alone, and no `url` names one"
        remedy = f"Run Duckling and name its `url`, or do without. Found here are {', '.join(DUCKLINGS)}."
        if duckling.dimensions is not None:
            problems.warning(where, f"Duckling's dimension '{name}' is not served", remedy)
        yield _Lost(what=f"Duckling's {name}", why=why, remedy=remedy, entities=frozenset({name}))


def _check_entities(assistant: Assistant, lost: list[_Lost], problems: Problems) -> None:
    found = _findable(assistant)
    for slot in assistant.domain.slots.values():
        for entity, cause in _missing(slot, found, lost):
            where = next(m.where for m in slot.mappings if m.entity == entity)
            message = f"nothing fills the slot '{slot.name}': the entity '{entity}' comes from {cause.what}"
            problems.error(where, f"{message}, and {cause.why}", cause.remedy or None)
    for step in _steps(assistant):
        for awaited in step.entities if isinstance(step, UserStep) else ():
            entity = str(awaited["entity"])
            if entity not in found and (one := _cause(entity, lost)):
                message = f"this step waits for the entity '{entity}', which {one.what} would find"
                problems.error(step.where, f"{message}, and {one.why}", one.remedy or None)


def _missing(slot: Slot, found: frozenset[str], lost: list[_Lost]) -> Iterator[tuple[str, _Lost]]:
    """The first entity that a slot waits for in vain; nothing where another mapping fills it."""
    entities = [mapping.entity for mapping in slot.mappings if mapping.type == "from_entity" and mapping.entity]
    if len(entities) < len(slot.mappings) or any(entity in found for entity in entities):
        return
    for entity in entities[:1]:
        if cause := _cause(entity, lost):
            yield entity, cause


def _cause(entity: str, lost: list[_Lost]) -> _Lost | None:
    return next((one for one in lost if one.entities is None or entity in one.entities), None)


def _findable(assistant: Assistant) -> frozenset[str]:
    """The entities that examples, patterns, lookups, values or a button's payload give."""
    nlu, duckling = assistant.nlu, assistant.duckling
    annotated = {span.entity for example in nlu.examples for span in example.entities}
    patterns = {name for name, _ in nlu.regexes}
    values = set(assistant.config.values) | set(duckling.found_here if duckling else ())
    if duckling and duckling.url:
        values |= set((*DUCKLINGS, *SERVER_ONLY) if duckling.dimensions is None else duckling.dimensions)
    return frozenset(annotated | patterns | set(nlu.lookups) | values | _pressed(assistant))


def _pressed(assistant: Assistant) -> set[str]:
    """The entities that buttons send."""
    entities: set[str] = set()
    for variations in assistant.domain.responses.values():
        for variation in variations:
            for key in ("buttons", "quick_replies"):
                for button in variation.body.get(key) or ():
                    entities |= _sent(button)
    return entities


def _sent(button: object) -> set[str]:
    payload = button.get("payload") if isinstance(button, Mapping) else None
    written = _PAYLOAD_ENTITIES.match(payload) if isinstance(payload, str) else None
    try:
        values: Any = json.loads(written[1]) if written else {}
    except ValueError:
        return set()
    return set(values) if isinstance(values, dict) else set()


def _steps(assistant: Assistant) -> Iterator[Step]:
    for steps in (*(rule.steps for rule in assistant.rules), *(story.steps for story in assistant.stories)):
        for step in steps:
            yield from step.alternatives if isinstance(step, OrStep) else (step,)
