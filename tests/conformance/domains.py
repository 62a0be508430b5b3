"""Small random Rasa projects: slots of every type and mapping, forms, rules, stories, policies and their settings.

Nothing here promises that a project is free of contradictions: whether both engines refuse the same ones is compared,
too. Invariant: one seed, one project; of a response never two variations fit at once, since either would be right.
"""

from __future__ import annotations

import random
from typing import Any

from tests.conformance.project import Json, Project

INTENTS = ("greet", "ask", "order", "yes", "no", "stop", "tell", "thank")
ENTITIES = ("city", "size", "colour", "count")
VALUES: dict[str, list[Any]] = {
    "city": ["rome", "oslo", "Rome"],
    "size": ["small", "large"],
    "colour": ["red", "blue", "RED"],
    "count": [1, 3, "2", 0],
}
LABELS = {"city": ("role", ["from", "to"]), "size": ("group", ["1", "2"])}
SLOT_TYPES = ("text", "bool", "float", "list", "categorical", "any")
SLOT_VALUES: dict[str, list[Any]] = {
    "text": ["x", "rome", ""],
    "bool": [True, False],
    "float": [0.0, 0.25, 1.0, 7],
    "list": [["a"], [], ["a", "b"]],
    "categorical": ["red", "blue", "green"],
    "any": [{"a": 1}, "x"],
}


class Draft:
    """A project in the making; `rng` decides everything."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.intents = rng.sample(INTENTS, rng.randint(3, 8))
        self.entities = rng.sample(ENTITIES, rng.randint(1, 4))
        self.forms = [f"form_{name}" for name in "ab"[: rng.choice([0, 1, 1, 1, 2])]]
        self.types = {f"slot_{name}": rng.choice(SLOT_TYPES) for name in "pqrstuv"[: rng.randint(2, 7)]}
        names = list(self.types)
        self.required = {form: rng.sample(names, min(len(names), rng.randint(1, 3))) for form in self.forms}
        mixed = rng.sample(self.intents, len(self.intents))
        cut = rng.randint(1, len(mixed) - 1)
        self.by_rule, self.by_story = mixed[:cut], mixed[cut:]
        self.triggers = dict(zip(self.forms, mixed, strict=False))
        self.responses: dict[str, list[Json]] = {}
        self.behaviour: dict[str, Json] = {}
        self.slots = {name: self._slot(name) for name in names}
        self.influencing = [
            name for name, slot in self.slots.items() if slot.get("influence_conversation") is not False
        ]
        self.influencing = [name for name in self.influencing if self.types[name] != "any"]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # ---- slots ----

    def _slot(self, name: str) -> Json:
        kind = self.types[name]
        slot: Json = {"type": kind, "mappings": [self._mapping(name) for _ in range(self.rng.choice([1, 1, 2, 3]))]}
        if kind != "any":
            slot["influence_conversation"] = self.chance(0.4)
        if kind == "categorical":
            slot["values"] = ["red", "Blue"]
        if kind == "float" and self.chance(0.5):
            slot |= {"min_value": -1.0, "max_value": 4.0}
        if self.chance(0.15):
            slot["initial_value"] = self.rng.choice(SLOT_VALUES[kind])
        return slot

    def _mapping(self, name: str) -> Json:
        rng = self.rng
        mapping: Json = {"type": rng.choice(["from_entity"] * 4 + ["from_intent"] * 3 + ["from_text", "custom"])}
        in_forms = [form for form, required in self.required.items() if name in required]
        if self.chance(0.08):
            mapping["type"] = "from_trigger_intent"
        if mapping["type"] == "from_entity":
            mapping["entity"] = entity = rng.choice(self.entities)
            if entity in LABELS and self.chance(0.5):
                label, choices = LABELS[entity]
                mapping[label] = rng.choice(choices)
        elif mapping["type"] in ("from_intent", "from_trigger_intent"):
            mapping |= {"intent": self._intents(), "value": rng.choice(SLOT_VALUES[self.types[name]])}
        elif mapping["type"] == "custom":
            if self.chance(0.5):
                mapping["action"] = self.action(f"action_extract_{name}", events=[self._slot_event(name)])
            return mapping
        if mapping["type"] != "from_trigger_intent" and "intent" not in mapping and self.chance(0.3):
            mapping[rng.choice(["intent", "not_intent"])] = self._intents()
        if in_forms and (mapping["type"] == "from_text" or self.chance(0.5)):
            mapping["conditions"] = [self._condition(name, rng.choice(in_forms))]
            if self.chance(0.1):
                mapping["conditions"].append({"active_loop": None})
        elif mapping["type"] == "from_text":
            mapping["intent"] = self._intents()
        return mapping

    def _condition(self, name: str, form: str) -> Json:
        return {"active_loop": form, **({"requested_slot": name} if self.chance(0.7) else {})}

    def _intents(self) -> str | list[str]:
        some = self.rng.sample(self.intents, self.rng.choice([1, 1, 2]))
        return some[0] if len(some) == 1 else some

    def value(self, name: str) -> Any:
        return self.rng.choice(SLOT_VALUES[self.types[name]])

    def _slot_event(self, name: str) -> Json:
        return {"event": "slot", "name": name, "value": None if self.chance(0.2) else self.value(name)}

    # ---- responses and actions ----

    def response(self, name: str) -> str:
        """The response of that name, made where it is new."""
        if name not in self.responses:
            shown = f" {{{self.rng.choice(list(self.types))}}}" if self.chance(0.3) else ""
            self.responses[name] = [{"text": name.removeprefix("utter_") + shown}]
            if self.chance(0.15):
                slot = self.rng.choice(list(self.types))
                condition = [{"type": "slot", "name": slot, "value": self.value(slot)}]
                self.responses[name].append({"text": f"{name} if", "condition": condition})
            if self.chance(0.1):
                self.responses[name].append(
                    {"text": f"{name} there", "channel": self.rng.choice(["slack", "collector"])}
                )
        return name

    def action(self, name: str, **how: Any) -> str:
        self.behaviour.setdefault(name, how)
        return name

    def some_action(self) -> str:
        """A response mostly, else a custom action that does a little."""
        rng = self.rng
        if self.chance(0.65):
            return self.response(f"utter_{rng.choice('abcdef')}")
        if self.chance(0.5):
            name = rng.choice(list(self.types))
            return self.action(
                f"action_set_{name}", events=[{"event": "slot", "name": name, "value": self.value(name)}]
            )
        return self._odd_action()

    def _odd_action(self) -> str:
        """One that does what few do: it declines, crashes, takes back, names the next action, starts a form.

        None answers for the customer: where its answer leads back to it, Rasa's turn never ends (labbot has one that
        does not).
        """
        rng = self.rng
        kinds: dict[str, list[Json]] = {
            "say": [],
            "reset": [{"event": "reset_slots"}],
            "follow": [{"event": "followup", "name": self.response("utter_b")}],
            "undo": [{"event": "undo"}],
            "rewind": [{"event": "rewind"}],
            "restart": [{"event": "restart"}],
            "pause": [{"event": "pause"}],
            "decline": [{"event": "action_execution_rejected", "name": "action_decline"}],
        }
        if self.forms:
            form = rng.choice(self.forms)
            kinds["start"] = [{"event": "active_loop", "name": form}, {"event": "followup", "name": form}]
            kinds["leave"] = [{"event": "active_loop", "name": None}]
        kind = rng.choice([*kinds, "say", "follow", "reject", "crash"])
        if kind in ("reject", "crash"):
            return self.action(f"action_{kind}", **{"rejects" if kind == "reject" else "crashes": True})
        says = [{"response": self.response("utter_a")}] if self.chance(0.3) else [{"text": kind}]
        return self.action(f"action_{kind}", says=says, events=kinds[kind])

    def _validation(self, form: str) -> None:
        validates: dict[str, Json] = {}
        for name in self.required[form]:
            if self.chance(0.6):
                validates[name] = {"refuses": self.rng.sample(["rome", "red", 1, "small"], 1)}
                if self.chance(0.3):
                    other = self.rng.choice([*self.types, "requested_slot"])
                    value = None if other == "requested_slot" else self.value(other)
                    validates[name]["beside"] = {str(self.value(name)): {other: value}}
        how: Json = {"validates": validates}
        if self.chance(0.25):
            name = self.rng.choice(self.required[form])
            extra = [other for other in self.types if other not in self.required[form]][:1]
            how["adds"] = [name, self.value(name), extra]
        self.action(f"validate_{form}", **how)

    # ---- rules ----

    def user(self, intent: str) -> Json:
        step: Json = {"intent": intent}
        if self.chance(0.15):
            entity = self.rng.choice(self.entities)
            described: Json = {entity: self.rng.choice(VALUES[entity])}
            if entity in LABELS and self.chance(0.4):
                label, choices = LABELS[entity]
                described[label] = self.rng.choice(choices)
            step["entities"] = [described]
        return step

    def actions(self, count: int) -> list[Json]:
        """Action steps, each followed by the slots it sets where they count."""
        steps: list[Json] = []
        for _ in range(count):
            name = self.some_action()
            steps.append({"action": name})
            slot = name.removeprefix("action_set_")
            if slot in self.influencing and name != slot:
                steps.append({"slot_was_set": [{slot: self.behaviour[name]["events"][0]["value"]}]})
        return steps

    def condition(self) -> list[Json]:
        conditions: list[Json] = []
        if self.influencing and self.chance(0.6):
            name = self.rng.choice(self.influencing)
            # `null` for a list slot: a rule of Rasa's then applies where the list is set; ours does not follow.
            is_null = self.chance(0.3) and self.types[name] != "list"
            conditions.append({"slot_was_set": [{name: None if is_null else self.value(name)}]})
        if self.forms and self.chance(0.3):
            conditions.append({"active_loop": None})
        return conditions

    def answer_rule(self, intent: str) -> Json:
        rule: Json = {"steps": [self.user(intent), *self.actions(self.rng.choice([1, 1, 2]))]}
        if self.chance(0.25) and (condition := self.condition()):
            rule["condition"] = condition
        if self.chance(0.05):
            rule["steps"][0] = {"or": [{"intent": intent}, {"intent": self.rng.choice(self.intents)}]}
        if self.chance(0.1):
            rule["wait_for_user_input"] = False
        if self.chance(0.08):
            rule["conversation_start"] = True
            rule.pop("condition", None)
        return rule

    def form_rules(self, form: str, trigger: str) -> list[Json]:
        begin: Json = {"steps": [self.user(trigger), {"action": form}, {"active_loop": form}]}
        ending: list[Json] = [{"action": form}, {"active_loop": None}]
        if self.chance(0.4):
            ending.append({"slot_was_set": [{"requested_slot": None}]})
        submit: Json = {"condition": [{"active_loop": form}], "steps": [*ending, *self.actions(1)]}
        rules = [begin, submit] if self.chance(0.9) else [begin]
        if self.chance(0.4):
            rules.append(self._interruption(form))
        return rules

    def _interruption(self, form: str) -> Json:
        """An answer in the middle of the form, which then goes on (or is left)."""
        condition: list[Json] = [{"active_loop": form}]
        if self.chance(0.3):
            condition.append({"slot_was_set": [{"requested_slot": self.rng.choice(self.required[form])}]})
        steps = [{"intent": self.rng.choice(self.intents)}, *self.actions(1)]
        if self.chance(0.7):
            steps += [{"action": form}, {"active_loop": form}]
        elif self.chance(0.5):
            steps += [{"action": "action_deactivate_loop"}, {"active_loop": None}]
        return {"condition": condition, "steps": steps}

    # ---- stories ----

    def story(self, openers: list[str]) -> list[Json]:
        steps: list[Json] = [self._opening(openers), *self.actions(self.rng.choice([1, 1, 2]))]
        for _ in range(self.rng.choice([0, 1, 1, 2])):
            steps += self._form_in_story() if self.forms and self.chance(0.3) else self._exchange()
        return steps

    def _opening(self, openers: list[str]) -> Json:
        if len(openers) > 1 and self.chance(0.15):
            return {"or": [{"intent": intent} for intent in self.rng.sample(openers, 2)]}
        return self.user(self.rng.choice(openers))

    def _told(self) -> str:
        """An intent of the stories' own mostly; where rules answer it as well, they are likely to contradict."""
        return self.rng.choice(self.by_story if self.chance(0.85) else self.intents)

    def _exchange(self) -> list[Json]:
        steps = [self.user(self._told()), *self.actions(1)]
        if self.influencing and self.chance(0.2):
            steps.insert(1, self._slots_step())
        return steps

    def _slots_step(self) -> Json:
        name = self.rng.choice(self.influencing)
        if self.chance(0.25):
            values = [self.value(name) for _ in range(2)]
            return {"or": [{"slot_was_set": [{name: value}]} for value in values]}
        return {"slot_was_set": [{name: None if self.chance(0.2) else self.value(name)}]}

    def _form_in_story(self) -> list[Json]:
        """A form from its trigger on, mostly left for another answer; then it goes on, or is given up."""
        form = self.rng.choice(self.forms)
        trigger = self.triggers.get(form) if self.chance(0.8) else self._told()
        steps: list[Json] = [{"intent": trigger or self._told()}, {"action": form}, {"active_loop": form}]
        if self.chance(0.7):
            steps += [{"intent": self._told()}, *self.actions(1)]
            if self.chance(0.3):
                steps += [{"intent": self._told()}, {"action": "action_deactivate_loop"}]
                return [*steps, {"active_loop": None}, *self.actions(1)]
            steps += [{"action": form}] if self.chance(0.5) else [{"intent": self._told()}, {"action": form}]
        return [*steps, {"active_loop": None}, *self.actions(1)]

    def stories(self, openers: list[str]) -> list[Json]:
        bodies = [self.story(openers) for _ in range(self.rng.randint(1, 4))]
        stories = [{"story": f"story {count}", "steps": steps} for count, steps in enumerate(bodies)]
        if self.chance(0.25):
            stories[0]["steps"] += [{"checkpoint": "middle"}]  # type: ignore[operator]
            stories += [
                {"story": f"later {count}", "steps": [{"checkpoint": "middle"}, *self._exchange()]}
                for count in range(self.rng.choice([1, 2]))
            ]
        return stories

    # ---- the whole ----

    def policies(self) -> list[Json]:
        rng = self.rng
        rule: Json = {"name": "RulePolicy"}
        for key, value, probability in (
            ("core_fallback_threshold", rng.choice([0.1, 0.9]), 0.1),
            ("enable_fallback_prediction", False, 0.15),
            ("check_for_contradictions", False, 0.1),
            ("restrict_rules", False, 0.05),
            ("use_nlu_confidence_as_score", True, 0.1),
        ):
            if self.chance(probability):
                rule[key] = value
        if self.chance(0.1):
            rule["core_fallback_action_name"] = self.response("utter_fallback")
        memory: Json = {"name": rng.choice(["MemoizationPolicy", "AugmentedMemoizationPolicy"])}
        if self.chance(0.7):
            memory["max_history"] = rng.randint(1, 6)
        if self.chance(0.1):
            memory["use_nlu_confidence_as_score"] = True
        return [memory, rule] if self.chance(0.5) else [rule, memory]

    def finish(self) -> Project:
        rng = self.rng
        for form in self.forms:
            for name in self.required[form]:
                self._ask(form, name)
            if self.chance(0.4):
                self._validation(form)
        if self.chance(0.1):
            name = rng.choice(list(self.types))
            self.action("action_validate_slot_mappings", validates={name: {"refuses": ["rome", 1, "red"]}})
        for name in ("utter_default", "utter_restart", "utter_back", "utter_ask_rephrase"):
            if self.chance(0.7):
                self.responses[name] = [{"text": name}]
        self._override_default_actions()
        rules = [self.answer_rule(intent) for intent in self.by_rule[len(self.forms) :]]
        for form, trigger in self.triggers.items():
            rules += self.form_rules(form, trigger)
        if self.chance(0.3):
            rules.append(self._fallback_rule())
        stories = self.stories(self.by_story if self.chance(0.9) else self.intents)
        config = {"recipe": "default.v1", "assistant_id": "generated", "language": "en", "pipeline": []}
        config |= {"policies": self.policies()}
        return Project(
            domain=self._domain(),
            config=config,
            rules=[{"rule": f"rule {count}", **rule} for count, rule in enumerate(rules)],
            stories=stories,
            behaviour=self.behaviour,
        )

    def _override_default_actions(self) -> None:
        """A project may bring its own action under the name of a default one."""
        started: list[Json] = [{"event": "session_started"}, {"event": "action", "name": "action_listen"}]
        if self.chance(0.06):
            self.action("action_session_start", says=[{"text": "welcome"}], events=[started[0], started[1]])
        if self.chance(0.06):
            self.action("action_default_fallback", says=[{"text": "own fallback"}], events=[])
        if self.chance(0.04):
            self.action("action_back", says=[{"text": "own back"}], events=[{"event": "rewind"}])
        if self.chance(0.04):
            self.action("action_default_ask_affirmation", says=[{"text": "own question"}], events=[])

    def _fallback_rule(self) -> Json:
        if self.chance(0.5):
            loop = "action_two_stage_fallback"
            return {"steps": [{"intent": "nlu_fallback"}, {"action": loop}, {"active_loop": loop}]}
        return {"steps": [{"intent": "nlu_fallback"}, {"action": self.response("utter_f")}]}

    def _ask(self, form: str, name: str) -> None:
        """What asks for the slot, by one of the four names it may have."""
        kind = self.rng.choice(["utter_ask_{form}_{name}", "utter_ask_{name}", "utter_ask_{name}", "action_ask_{name}"])
        asking = kind.format(form=form, name=name)
        if asking.startswith("utter"):
            self.responses[asking] = [{"text": f"{asking}?"}]
        else:
            self.action(asking, says=[{"text": f"{name} please"}])

    def _domain(self) -> Json:
        entities = [self._entity(name) for name in self.entities]
        forms: dict[str, Json] = {form: {"required_slots": required} for form, required in self.required.items()}
        for form in forms.values():
            if self.chance(0.3):
                form["ignored_intents"] = self.rng.sample(self.intents, 1)
        session = {
            "session_expiration_time": self.rng.choice([60, 60, 60, 0, 5]),
            "carry_over_slots_to_new_session": True,
        }
        session["carry_over_slots_to_new_session"] = not self.chance(0.25)
        return {
            "intents": [self._intent(name) for name in self.intents],
            "entities": entities,
            "slots": self.slots,
            "forms": forms,
            "responses": self.responses,
            "actions": list(self.behaviour),
            "session_config": session,
            **({"config": {"store_entities_as_slots": False}} if self.chance(0.1) else {}),
        }

    def _entity(self, name: str) -> str | Json:
        described: Json = {f"{LABELS[name][0]}s": LABELS[name][1]} if name in LABELS else {}
        if self.chance(0.1):
            described["influence_conversation"] = False
        return {name: described} if described else name

    def _intent(self, name: str) -> str | Json:
        if self.chance(0.1):
            return {name: {"use_entities": self.rng.sample(self.entities, 1)}}
        if self.chance(0.1):
            return {name: {"ignore_entities": self.rng.sample(self.entities, 1)}}
        return name


def generate(seed: int) -> Project:
    """The project of this seed."""
    return Draft(seed).finish()
