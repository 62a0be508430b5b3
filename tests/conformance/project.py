"""A Rasa project as a value: what the generator makes, the shrinker cuts and a kept counterexample holds.

Its custom actions are described, not programmed: `ACTIONS` turns a description into rasa-sdk classes, so that a project
fits into one JSON file. Invariant: `Project.from_json(project.to_json()) == project`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Json = dict[str, Any]

ACTIONS = '''\
"""Custom actions of a generated project; `BEHAVIOUR` says what each of them does."""

from rasa_sdk import Action, ActionExecutionRejection
from rasa_sdk.forms import FormValidationAction, ValidationAction

BEHAVIOUR = {behaviour!r}


def _plain(name, how):
    def run(self, dispatcher, tracker, domain):
        if how.get("rejects"):
            raise ActionExecutionRejection(name, "declined")
        if how.get("crashes"):
            raise RuntimeError("crashed")
        for message in how.get("says", []):
            dispatcher.utter_message(**message)
        return [dict(event) for event in how.get("events", [])]

    return type(name, (Action,), {{"name": lambda self: name, "run": run, "__module__": __name__}})


def _method(slot, how):
    def validate(self, value, dispatcher, tracker, domain):
        if value in how.get("refuses", []):
            dispatcher.utter_message(text="not " + str(value))
            return {{slot: None}}
        return {{slot: value, **how.get("beside", {{}}).get(str(value), {{}})}}

    return validate


def _validation(name, how):
    body = {{"validate_" + slot: _method(slot, each) for slot, each in how["validates"].items()}}
    body["__module__"] = __name__
    if name == "action_validate_slot_mappings":
        return type(name, (ValidationAction,), body)
    body["name"] = lambda self: name
    if "adds" in how:
        async def required_slots(self, domain_slots, dispatcher, tracker, domain):
            when, value, slots = how["adds"]
            return domain_slots + slots if tracker.get_slot(when) == value else domain_slots

        body["required_slots"] = required_slots
    return type(name, (FormValidationAction,), body)


for _name, _how in BEHAVIOUR.items():
    globals()["_" + _name] = _validation(_name, _how) if "validates" in _how else _plain(_name, _how)
'''


@dataclass(frozen=True, kw_only=True)
class Project:
    """`behaviour`: action → what it does; the names are those of `domain["actions"]`."""

    domain: Json
    config: Json
    rules: list[Json] = field(default_factory=list)
    stories: list[Json] = field(default_factory=list)
    behaviour: dict[str, Json] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the project's files and return the folder."""
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("domain.yml", self.domain),
            ("config.yml", self.config),
            ("data/rules.yml", {"rules": self.rules}),
            ("data/stories.yml", {"stories": self.stories}),
        ):
            YAML().dump({"version": "3.1", **content}, folder / name)
        (folder / "actions.py").write_text(ACTIONS.format(behaviour=self.behaviour), encoding="utf-8")
        return folder

    def to_json(self) -> Json:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @staticmethod
    def from_json(body: Json) -> Project:
        return Project(**body)
