"""A customer who says random things: follows stories, fills forms, leaves them, comes back hours later, taps a button.

The next step depends on where our own conversation stands, so that forms do get finished. A step is a request of
`bot.rasa.oracle` without its sender. Invariant: one seed and one assistant, one walk.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bot.assistant.domain import REQUESTED_SLOT, SlotMapping
from bot.assistant.loader import Assistant
from bot.assistant.stories import OrStep, Step, UserStep
from bot.dialogue.tracker import Tracker

Json = dict[str, Any]

START_S = 1_700_000_000.0
TEXTS = ("hi", "ok", "rome", "what do you mean?", "@bob", "@x", "3", "outside please")
GENERIC = ("rome", "red", 3, "0", "", True)


class Walker:
    """`values`: what its entities may be; others take generic ones. `is_served`: for `served.py`."""

    def __init__(
        self,
        assistant: Assistant,
        seed: int,
        values: Mapping[str, Sequence[Any]] | None = None,
        *,
        is_served: bool = False,
    ) -> None:
        self._rng = random.Random(seed)
        self._is_served = is_served
        self._assistant, self._values = assistant, values or {}
        self._domain = assistant.domain
        self._intents = [name for name, intent in self._domain.intents.items() if intent.where is not None]
        self._scripts = [users for item in (*assistant.stories, *assistant.rules) if (users := _users(item.steps))]
        self._script: list[UserStep] = []
        self._now = time.time() if is_served else START_S
        self._count = 0
        self.length = self._rng.choice([5, 5, 5, 6, 6, 6, 7, 7, 8, 8, 9, 10, 12, 15, 20, 25])

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def next(self, tracker: Tracker) -> Json:
        """What happens next in the conversation that stands like this."""
        self._count += 1
        self._now += self._pause_s()
        step = self._append(tracker) if self._count > 1 and self._chance(0.04) else None
        step = step or (self._trigger() if self._count > 1 and self._chance(0.02) else None) or self._say(tracker)
        return {**step, "now": self._now}

    def _pause_s(self) -> float:
        if self._is_served:
            return 0.001
        if self._chance(0.04):
            return self._rng.choice([200.0, 400.0, 4_000.0, 100_000.0])
        return self._rng.choice([1.0, 2.0, 30.0])

    # ---- what the customer says ----

    def _say(self, tracker: Tracker) -> Json:
        intent, entities, text = self._meaning(tracker)
        step: Json = {"op": "turn", "message_id": f"m{self._count}"}
        if self._chance(0.08):
            step["metadata"] = {"origin": "walk", "n": self._rng.randint(1, 3)}
        if self._is_served and intent not in self._domain.intents:
            intent, entities = self._rng.choice(self._intents), []
        if self._is_served or (intent in self._domain.intents and text is None and self._chance(0.25)):
            return step | {"text": self._payload(intent, entities)}
        confidence = self._rng.choice([1.0, 1.0, 0.9, 0.75, 0.31, 0.2])
        text = self._rng.choice(TEXTS) if text is None else text
        others = [name for name in self._rng.sample(self._intents, min(2, len(self._intents))) if name != intent]
        ranking = [{"name": intent, "confidence": confidence}]
        ranking += [{"name": name, "confidence": 0.1} for name in others]
        parse = {"text": text, "intent": ranking[0], "entities": entities, "intent_ranking": ranking}
        return step | {"text": text, "parse_data": parse}

    def _payload(self, intent: str, entities: list[Json]) -> str:
        given: dict[str, Any] = {}
        for entity in entities:
            given.setdefault(entity["entity"], []).append(entity["value"])
        plain = {name: values[0] if len(values) == 1 else values for name, values in given.items()}
        return f"/{intent}" + (json.dumps(plain) if plain else "")

    def _meaning(self, tracker: Tracker) -> tuple[str, list[Json], str | None]:
        """Intent, entities and, where it matters, the words."""
        if self._chance(0.07):
            return self._rng.choice(["restart", "back", "back", "session_start"]), [], None
        if self._chance(0.09):
            return self._rng.choice(["nlu_fallback", "nlu_fallback", "out_of_scope", "unheard_of"]), [], None
        requested = tracker.slots.get(REQUESTED_SLOT)
        if tracker.situation.loop is not None and requested in self._domain.slots and self._chance(0.55):
            answer = self._answer(str(requested))
            if answer:
                return answer
        if tracker.situation.loop is not None and self._chance(0.1):
            return self._rng.choice(["nlu_fallback", "out_of_scope"]), [], None
        if not self._script and self._scripts and self._chance(0.75):
            self._script = list(self._rng.choice(self._scripts))
        if self._script and self._chance(0.9):
            step = self._script.pop(0)
            return step.intent or self._rng.choice(self._intents), self._of_step(step), step.text
        return self._rng.choice(self._intents), self._some_entities(), None

    def _of_step(self, step: UserStep) -> list[Json]:
        """The step's own entities mostly; a story is also left by naming others."""
        return [dict(entity) for entity in step.entities] if self._chance(0.8) else self._some_entities()

    def _some_entities(self) -> list[Json]:
        names = list(self._domain.entities)
        count = self._rng.choice([0, 0, 0, 1, 1, 2]) if names else 0
        return [self._entity(self._rng.choice(names)) for _ in range(count)]

    def _entity(self, name: str, role: str | None = None, group: str | None = None) -> Json:
        entity: Json = {"entity": name, "value": self._rng.choice(self._values.get(name) or GENERIC)}
        labels = _labels(self._domain.raw.get("entities", []), name)
        for key, given, choices in (("role", role, labels["roles"]), ("group", group, labels["groups"])):
            chosen = given or (self._rng.choice(choices) if choices and self._chance(0.4) else None)
            if chosen:
                entity[key] = chosen
        return entity

    def _answer(self, slot: str) -> tuple[str, list[Json], str | None] | None:
        """Something that fills the slot by one of its mappings."""
        fitting = [mapping for mapping in self._domain.slots[slot].mappings if mapping.type != "custom"]
        if not fitting:
            return None
        mapping = self._rng.choice(fitting)
        allowed = mapping.intents or tuple(name for name in self._intents if name not in mapping.not_intents)
        if not allowed:
            return None
        return self._rng.choice(allowed), self._filling(mapping), None

    def _filling(self, mapping: SlotMapping) -> list[Json]:
        if mapping.type != "from_entity" or mapping.entity not in self._domain.entities:
            return []
        entity = self._entity(mapping.entity, mapping.role, mapping.group)
        if mapping.role is None and self._chance(0.8):
            entity.pop("role", None)
        if mapping.group is None and self._chance(0.8):
            entity.pop("group", None)
        return [entity, *(self._some_entities() if self._chance(0.15) else [])]

    # ---- what others do to the conversation ----

    def _trigger(self) -> Json:
        intent = self._rng.choice(self._intents)
        return {"op": "trigger_intent", "intent": intent, "entities": self._some_entities()}

    def _append(self, tracker: Tracker) -> Json:
        slots = [name for name in self._domain.slots if name not in ("session_started_metadata",)] or ["nothing"]
        loops = [None, *self._domain.forms]
        bodies = [
            {"event": "slot", "name": self._rng.choice(slots), "value": self._rng.choice([*GENERIC, None])},
            {"event": "slot", "name": "no_such_slot", "value": 1},
            {"event": "reset_slots"},
            {"event": "active_loop", "name": self._rng.choice(loops)},
            {"event": "followup", "name": self._rng.choice(sorted(self._domain.responses) or ["action_listen"])},
            {"event": "undo"},
            {"event": "rewind"},
            {"event": "restart"},
            {"event": "bot", "text": "by hand", "data": {}},
            {"event": "pause"},
            {"event": "resume"},
        ]
        if self._is_served:
            bodies = [body for body in bodies if body["event"] not in ("pause", "resume")]
        if tracker.situation.paused:
            bodies = bodies[-1:]
        return {"op": "append", "events": [{**self._rng.choice(bodies), "timestamp": self._now}]}


def _users(steps: Sequence[Step]) -> list[UserStep]:
    users: list[UserStep] = []
    for step in steps:
        if isinstance(step, UserStep):
            users.append(step)
        elif isinstance(step, OrStep):
            users += [each for each in step.alternatives if isinstance(each, UserStep)][:1]
    return users


def _labels(written: list[Any], entity: str) -> dict[str, list[str]]:
    for item in written:
        if isinstance(item, dict) and entity in item:
            return {key: (item[entity] or {}).get(key) or [] for key in ("roles", "groups")}
    return {"roles": [], "groups": []}
