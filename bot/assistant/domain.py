"""What an assistant knows: intents, entities, slots, forms, responses, actions. How they act: see `bot.dialogue`.

Invariant: names are unique; `Domain.raw` is the merged domain as custom actions receive it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast, get_args

from bot.assistant.source import Node, Problems
from bot.errors import Where

SlotType = Literal["text", "bool", "float", "list", "categorical", "any"]
MappingType = Literal["from_entity", "from_intent", "from_trigger_intent", "from_text", "custom"]

REQUESTED_SLOT = "requested_slot"
SESSION_METADATA_SLOT = "session_started_metadata"
BUILT_IN_SLOTS = frozenset({REQUESTED_SLOT, SESSION_METADATA_SLOT})
DEFAULT_INTENTS = ("restart", "back", "out_of_scope", "session_start", "nlu_fallback")
DEFAULT_ACTIONS = (
    "action_listen",
    "action_restart",
    "action_session_start",
    "action_default_fallback",
    "action_deactivate_loop",
    "action_revert_fallback_events",
    "action_default_ask_affirmation",
    "action_default_ask_rephrase",
    "action_two_stage_fallback",
    "action_unlikely_intent",
    "action_back",
    "...",
    "action_extract_slots",
)
HANDOFF_ACTION = "action_handoff"
ANSWER_ACTION = "action_answer"
"""Says what the documents under `knowledge/` answered to the last message."""
SUGGEST_ACTION = "action_suggest"
"""Shows what the customer may like."""
OTHER_CATEGORY = "__other__"


@dataclass(frozen=True, kw_only=True)
class MappingCondition:
    """`active_loop: null` (here None) means: while no form is active."""

    active_loop: str | None
    requested_slot: str | None = None


@dataclass(frozen=True, kw_only=True)
class SlotMapping:
    type: MappingType
    where: Where
    entity: str | None = None
    role: str | None = None
    group: str | None = None
    intents: tuple[str, ...] = ()
    not_intents: tuple[str, ...] = ()
    value: Any = None
    action: str | None = None
    conditions: tuple[MappingCondition, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Slot:
    """`values` are lower-cased; a categorical slot that influences the conversation ends with `__other__`."""

    name: str
    type: SlotType
    where: Where | None = None
    initial_value: Any = None
    influence_conversation: bool = True
    values: tuple[str, ...] = ()
    min_value: float = 0.0
    max_value: float = 1.0
    mappings: tuple[SlotMapping, ...] = ()

    @property
    def has_features(self) -> bool:
        return self.influence_conversation and self.type != "any"


@dataclass(frozen=True, kw_only=True)
class Form:
    name: str
    required_slots: tuple[str, ...]
    ignored_intents: tuple[str, ...]
    where: Where


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One way to say a response: `body` is everything written there, as Rasa's bot message keeps it.

    `is_rephrased`: a generator may say its text in other words (Rasa's `metadata: {rephrase: True}`).
    """

    body: Mapping[str, Any]
    conditions: tuple[tuple[str, Any], ...]
    is_conditional: bool
    channel: str | None
    where: Where
    is_rephrased: bool = False


@dataclass(frozen=True, kw_only=True)
class Intent:
    """`used_entities` are the entity labels (also `name#role`, `name#group`) that count with this intent."""

    name: str
    used_entities: frozenset[str]
    where: Where | None = None


@dataclass(frozen=True, kw_only=True)
class Domain:
    intents: Mapping[str, Intent]
    entities: Mapping[str, Where]
    slots: Mapping[str, Slot]
    forms: Mapping[str, Form]
    responses: Mapping[str, tuple[Variation, ...]]
    custom_actions: Mapping[str, Where]
    session_expiration_min: float
    carry_over_slots: bool
    store_entities_as_slots: bool
    raw: dict[str, Any] = field(compare=False)
    action_names: frozenset[str] = frozenset()
    retrieval_actions: Mapping[str, str] = field(default_factory=dict)
    """`utter_faq` → the retrieval intent `faq`: such an action says the response that was selected."""

    @cached_property
    def featurized_slots(self) -> tuple[Slot, ...]:
        """The slots that influence the conversation, in the order of the domain."""
        return tuple(slot for slot in self.slots.values() if slot.has_features)

    @cached_property
    def action_places(self) -> Mapping[str, int]:
        """The order in which Rasa counts the actions: its own, the domain's, responses by name, forms."""
        responses = sorted(name for name in self.responses if name not in self.custom_actions)
        ordered = dict.fromkeys([*DEFAULT_ACTIONS, *self.custom_actions, *responses, *self.forms])
        return {name: place for place, name in enumerate(ordered)}

    @cached_property
    def state_hash(self) -> str:
        """Changes when slots, forms or their initial values change: an older snapshot then means something else."""
        slots = [[slot.name, slot.type, slot.initial_value] for slot in self.slots.values()]
        described = json.dumps([slots, sorted(self.forms)], sort_keys=True, default=repr)
        return hashlib.sha256(described.encode()).hexdigest()[:16]


_KNOWN_KEYS = frozenset(
    {"version", "intents", "entities", "slots", "forms", "responses", "actions", "session_config", "config"}
    | {"e2e_actions", "templates"}
)
_SLOT_KEYS = frozenset(
    {"type", "initial_value", "influence_conversation", "mappings", "values", "min_value", "max_value"}
    | {"value_reset_delay"}
)
_MAPPING_KEYS = frozenset({"type", "entity", "role", "group", "intent", "not_intent", "value", "action", "conditions"})
_RESPONSE_KEYS = frozenset(
    {"text", "buttons", "image", "custom", "attachment", "quick_replies", "elements", "condition", "channel", "id"}
    | {"metadata", "button_type"}
)


def read_domain(
    roots: Iterable[Node],
    problems: Problems,
    *,
    responses: Iterable[Node] = (),
    retrieval: Iterable[str] = (),
) -> Domain:
    """Merge the domain files into one value; everything wrong in them lands in `problems`.

    Args:
        responses: the `responses:` sections of training data files, where those of retrieval intents often stand.
        retrieval: the retrieval intents; each becomes an intent, and `utter_<intent>` an action.
    """
    draft = _Draft(problems=problems)
    for root in roots:
        if root.expect_map(problems):
            root.warn_unknown_keys(_KNOWN_KEYS, problems)
            draft.add(root)
    for section in responses:
        draft.add_responses(section)
    return draft.finish(tuple(sorted(retrieval)))


@dataclass(kw_only=True)
class _Draft:
    problems: Problems
    intents: dict[str, Node | None] = field(default_factory=dict)
    intent_settings: dict[str, Node] = field(default_factory=dict)
    entities: dict[str, Where] = field(default_factory=dict)
    entity_labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    silent_entities: set[str] = field(default_factory=set)
    slots: dict[str, Slot] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    responses: dict[str, tuple[Variation, ...]] = field(default_factory=dict)
    actions: dict[str, Where] = field(default_factory=dict)
    session: dict[str, Node] = field(default_factory=dict)
    store_entities: bool = True
    raw: dict[str, Any] = field(default_factory=dict)

    def add(self, root: Node) -> None:
        readers = {
            "intents": self._add_intent,
            "entities": self._add_entity,
            "actions": self._add_action,
        }
        for key, read in readers.items():
            section = root.get(key)
            if section and section.expect_list(self.problems):
                for element in section.elements():
                    read(element)
        for key, read_named in (
            ("slots", self._add_slot),
            ("forms", self._add_form),
            ("responses", self._add_response),
        ):
            section = root.get(key)
            if section and section.expect_map(self.problems):
                for name, node in section.items():
                    read_named(name, node)
        self._add_session(root)
        _merge_raw(self.raw, cast("dict[str, Any]", root.plain()))

    def add_responses(self, section: Node) -> None:
        if section.expect_map(self.problems):
            for name, node in section.items():
                self._add_response(name, node)
            _merge_raw(self.raw, {"responses": section.plain()})

    def _name_and_settings(self, node: Node) -> tuple[str, Node | None] | None:
        """`- name` or `- name: {settings}`."""
        if node.is_map:
            entries = list(node.items())
            if len(entries) == 1:
                return entries[0]
            self.problems.error(node, "one name is expected per list item", "Indent the settings below the name.")
            return None
        name = node.text(self.problems)
        return (name, None) if name else None

    def _add_intent(self, node: Node) -> None:
        entry = self._name_and_settings(node)
        if not entry:
            return
        name, settings = entry
        if name in self.intents:
            self.problems.error(node, f"the intent '{name}' is listed twice", "Keep one of the two.")
        self.intents[name] = node
        if settings and settings.expect_map(self.problems):
            self.intent_settings[name] = settings

    def _add_entity(self, node: Node) -> None:
        entry = self._name_and_settings(node)
        if not entry:
            return
        name, settings = entry
        if name in self.entities:
            self.problems.error(node, f"the entity '{name}' is listed twice", "Keep one of the two.")
        self.entities[name] = node.where
        labels: list[str] = []
        if settings and settings.expect_map(self.problems):
            for key in ("roles", "groups"):
                if part := settings.get(key):
                    labels += [f"{name}#{label}" for label in part.texts(self.problems)]
            influence = settings.get("influence_conversation")
            if influence and influence.flag(self.problems) is False:
                self.silent_entities.add(name)
        self.entity_labels[name] = tuple(labels)

    def _add_action(self, node: Node) -> None:
        entry = self._name_and_settings(node)
        if not entry:
            return
        name, _ = entry
        if name in self.actions:
            self.problems.error(node, f"the action '{name}' is listed twice", "Keep one of the two.")
        self.actions[name] = node.where

    def _add_slot(self, name: str, node: Node) -> None:
        if name in self.slots:
            self.problems.error(node, f"the slot '{name}' is defined twice", "Keep one of the two.")
        elif slot := _read_slot(name, node, self.problems):
            self.slots[name] = slot

    def _add_form(self, name: str, node: Node) -> None:
        if name in self.forms:
            self.problems.error(node, f"the form '{name}' is defined twice", "Keep one of the two.")
            return
        if not node.is_null and not node.expect_map(self.problems):
            return
        node.warn_unknown_keys(frozenset({"required_slots", "ignored_intents"}), self.problems)
        required, ignored = node.get("required_slots"), node.get("ignored_intents")
        if required and required.is_map:
            hint = "Rasa 3 wants a list of slot names; the mappings belong to the slots."
            self.problems.error(required, f"required_slots of '{name}' is a mapping (Rasa 2 format)", hint)
            required = None
        self.forms[name] = Form(
            name=name,
            required_slots=required.texts(self.problems) if required else (),
            ignored_intents=ignored.texts(self.problems) if ignored else (),
            where=node.where,
        )

    def _add_response(self, name: str, node: Node) -> None:
        if name in self.responses:
            self.problems.error(node, f"the response '{name}' is defined twice", "Keep one of the two.")
        elif node.expect_list(self.problems):
            read = (_read_variation(element, self.problems) for element in node.elements())
            self.responses[name] = tuple(variation for variation in read if variation)

    def _add_session(self, root: Node) -> None:
        if (settings := root.get("session_config")) and settings.expect_map(self.problems):
            self.session |= dict(settings.items())
        if (config := root.get("config")) and (store := config.get("store_entities_as_slots")):
            self.store_entities = store.flag(self.problems) is not False

    def finish(self, retrieval: tuple[str, ...]) -> Domain:
        expiration = self.session.get("session_expiration_time")
        carry_over = self.session.get("carry_over_slots_to_new_session")
        minutes = expiration.number(self.problems) if expiration else None
        slots = dict(self.slots)
        if self.forms:
            slots.setdefault(REQUESTED_SLOT, Slot(name=REQUESTED_SLOT, type="text", influence_conversation=False))
        slots[SESSION_METADATA_SLOT] = Slot(name=SESSION_METADATA_SLOT, type="any", influence_conversation=False)
        retrieving = {f"utter_{intent}": intent for intent in retrieval}
        names = {
            *DEFAULT_ACTIONS,
            HANDOFF_ACTION,
            ANSWER_ACTION,
            SUGGEST_ACTION,
            *self.actions,
            *self.responses,
            *self.forms,
            *retrieving,
        }
        return Domain(
            intents=self._finish_intents(retrieval),
            entities=self.entities,
            slots=slots,
            forms=self.forms,
            responses=self.responses,
            custom_actions=self.actions,
            session_expiration_min=60.0 if minutes is None else minutes,
            carry_over_slots=not carry_over or carry_over.flag(self.problems) is not False,
            store_entities_as_slots=self.store_entities,
            raw=self.raw,
            action_names=frozenset(names),
            retrieval_actions=retrieving,
        )

    def _finish_intents(self, retrieval: tuple[str, ...]) -> dict[str, Intent]:
        names = {**self.intents, **{name: None for name in (*DEFAULT_INTENTS, *retrieval) if name not in self.intents}}
        return {
            name: Intent(name=name, used_entities=self._used_entities(name), where=node.where if node else None)
            for name, node in names.items()
        }

    def _used_entities(self, intent: str) -> frozenset[str]:
        """As Rasa reckons: an `ignore_entities` of the intent's own stands in the place of the entities that do not
        influence the conversation, which then still count by their roles and groups."""
        settings = self.intent_settings.get(intent)
        ignored, wanted = self.silent_entities, None
        if settings:
            settings.warn_unknown_keys(frozenset({"use_entities", "ignore_entities"}), self.problems)
            if (listed := settings.get("use_entities")) and listed.value is not True:
                wanted = set() if listed.value is False else set(listed.texts(self.problems))
            if listed := settings.get("ignore_entities"):
                ignored = set(listed.texts(self.problems))
        if wanted is None:
            used = set(self.entities) - self.silent_entities | self._labels_of(self.entities)
        else:
            used = wanted | self._labels_of(wanted)
        return frozenset(used - ignored - self._labels_of(ignored))

    def _labels_of(self, entities: Iterable[str]) -> set[str]:
        return {label for name in entities for label in self.entity_labels.get(name, ())}


def _merge_raw(into: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            into[key].update(value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key].extend(value)
        else:
            into[key] = value


def _read_slot(name: str, node: Node, problems: Problems) -> Slot | None:
    if not node.expect_map(problems):
        return None
    node.warn_unknown_keys(_SLOT_KEYS, problems)
    slot_type = _slot_type(name, node, problems)
    if slot_type is None:
        return None
    if slot_type == "categorical" and not node.get("values"):
        problems.warning(node, f"the categorical slot '{name}' lists no values", "Every value will count as 'other'.")
    influence = node.get("influence_conversation")
    is_influencing = influence.flag(problems) is not False if influence else slot_type != "any"
    if slot_type == "any" and influence and influence.value is True:
        problems.error(influence, f"the slot '{name}' of type any cannot influence the conversation")
    initial = node.get("initial_value")
    lowest, highest = _range(name, node, problems)
    return Slot(
        name=name,
        type=slot_type,
        where=node.where,
        initial_value=initial.plain() if initial else None,
        influence_conversation=is_influencing,
        values=_categories(node),
        min_value=lowest,
        max_value=highest,
        mappings=_read_mappings(name, node, problems),
    )


_RASAS_SLOTS: Mapping[str, SlotType] = {
    "rasa.shared.core.slots.TextSlot": "text",
    "rasa.shared.core.slots.BooleanSlot": "bool",
    "rasa.shared.core.slots.FloatSlot": "float",
    "rasa.shared.core.slots.ListSlot": "list",
    "rasa.shared.core.slots.CategoricalSlot": "categorical",
    "rasa.shared.core.slots.AnySlot": "any",
}


def _slot_type(name: str, node: Node, problems: Problems) -> SlotType | None:
    """The slot's type. One of the project's own classes holds any value, and cannot say how it counts in a dialogue."""
    type_node = node.get("type")
    written = type_node.text(problems) if type_node else "text"
    if written is None or written in get_args(SlotType):
        return cast("SlotType | None", written)
    if found := _RASAS_SLOTS.get(written):
        return found
    influence = node.get("influence_conversation")
    if "." in written and influence and influence.value is False:
        hint = "It holds values as they come, as a slot of type any does."
        problems.warning(type_node, f"the slot '{name}' has a type of this project's own, '{written}'", hint)
        return "any"
    if "." in written:
        hint = f"Set `influence_conversation: false`, or take one of {', '.join(get_args(SlotType))}."
        message = f"the slot '{name}' has a type of this project's own, '{written}', whose features are not known here"
        problems.error(type_node, message, hint)
        return None
    hint = f"One of {', '.join(get_args(SlotType))}."
    problems.error(type_node, f"the slot '{name}' has the unknown type '{written}'", hint)
    return None


def _range(name: str, node: Node, problems: Problems) -> tuple[float, float]:
    lowest, highest = node.get("min_value"), node.get("max_value")
    low = lowest.number(problems) if lowest else 0.0
    high = highest.number(problems) if highest else 1.0
    low, high = (0.0 if low is None else low), (1.0 if high is None else high)
    if low >= high:
        problems.error(lowest or highest, f"min_value of the slot '{name}' is not below its max_value")
        return 0.0, 1.0
    return low, high


def _categories(node: Node) -> tuple[str, ...]:
    values = node.get("values")
    if not values:
        return (OTHER_CATEGORY,)
    listed = [str(element.plain()).lower() for element in values.elements() if not element.is_null]
    return tuple(listed if OTHER_CATEGORY in listed else [*listed, OTHER_CATEGORY])


def _read_mappings(slot: str, node: Node, problems: Problems) -> tuple[SlotMapping, ...]:
    section = node.get("mappings")
    if section is None:
        hint = "Add `mappings:`; `- type: custom` for a slot that only actions set."
        problems.warning(node, f"the slot '{slot}' has no mappings", hint)
        return ()
    if not section.expect_list(problems):
        return ()
    read = (_read_mapping(slot, element, problems) for element in section.elements())
    return tuple(mapping for mapping in read if mapping)


_REQUIRED_MAPPING_KEY = {"from_entity": "entity", "from_intent": "value", "from_trigger_intent": "value"}


def _read_mapping(slot: str, node: Node, problems: Problems) -> SlotMapping | None:
    if not node.expect_map(problems):
        return None
    node.warn_unknown_keys(_MAPPING_KEYS, problems)
    type_node = node.get("type")
    kind = type_node.text(problems) if type_node else None
    if kind is None or kind not in get_args(MappingType):
        hint = f"One of {', '.join(get_args(MappingType))}."
        problems.error(type_node or node, f"a mapping of the slot '{slot}' has no known type", hint)
        return None
    needed = _REQUIRED_MAPPING_KEY.get(kind)
    if needed and ((given := node.get(needed)) is None or given.is_null):
        problems.error(node, f"the {kind} mapping of the slot '{slot}' lacks `{needed}`")
        return None
    names = {key: part.text(problems) for key in ("entity", "role", "group", "action") if (part := node.get(key))}
    intents, not_intents, value = node.get("intent"), node.get("not_intent"), node.get("value")
    return SlotMapping(
        type=cast(MappingType, kind),
        where=node.where,
        intents=intents.texts(problems) if intents else (),
        not_intents=not_intents.texts(problems) if not_intents else (),
        value=value.plain() if value else None,
        conditions=_read_conditions(node.get("conditions"), problems),
        **names,
    )


def _read_conditions(node: Node | None, problems: Problems) -> tuple[MappingCondition, ...]:
    if node is None or not node.expect_list(problems):
        return ()
    conditions = []
    for element in node.elements():
        if element.expect_map(problems):
            loop, requested = element.get("active_loop"), element.get("requested_slot")
            conditions.append(
                MappingCondition(
                    active_loop=loop.text(problems) if loop and not loop.is_null else None,
                    requested_slot=requested.text(problems) if requested and not requested.is_null else None,
                )
            )
    return tuple(conditions)


def _read_variation(node: Node, problems: Problems) -> Variation | None:
    if not node.expect_map(problems):
        return None
    node.warn_unknown_keys(_RESPONSE_KEYS, problems)
    if (text := node.get("text")) and not text.is_null:
        text.text(problems)
    conditions: list[tuple[str, Any]] = []
    if (section := node.get("condition")) and section.expect_list(problems):
        for element in section.elements():
            name = element.get("name")
            if name is None or element.get("value") is None:
                hint = "Write `- type: slot`, `name: <slot>` and `value: <value>`."
                problems.error(element, "a response condition lacks name or value", hint)
            elif slot := name.text(problems):
                conditions.append((slot, cast(Node, element.get("value")).plain()))
    channel = node.get("channel")
    return Variation(
        body=cast("dict[str, Any]", node.plain()),
        conditions=tuple(conditions),
        is_conditional=node.get("condition") is not None,
        channel=channel.text(problems) if channel else None,
        where=node.where,
        is_rephrased=_read_rephrase(node, problems),
    )


def _read_rephrase(node: Node, problems: Problems) -> bool:
    """`metadata: {rephrase: True}`; what else stands there is the author's own."""
    metadata, text = node.get("metadata"), node.get("text")
    asked = metadata.get("rephrase") if metadata else None
    if asked is None or asked.is_null:
        return False
    if not isinstance(asked.value, bool):
        problems.warning(asked, "`rephrase` is neither true nor false", "The response is said as it is written.")
        return False
    return asked.value and text is not None and isinstance(text.value, str)
