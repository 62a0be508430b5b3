"""A conversation written as Rasa's test story (YAML): what `GET /conversations/{id}/story` answers.

Invariant: pure; every event that a story has a word for becomes one step, in the order of the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from bot.dialogue.events import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActiveLoop,
    Event,
    SlotSet,
    UserFeaturization,
    UserUttered,
)

_UNWRITTEN = (ACTION_LISTEN, ACTION_SESSION_START, "action_unlikely_intent")
_WIDTH = 4096
"""Characters of a line: a customer's message is never wrapped."""


class _Representer(RoundTripRepresenter):
    """Writes None as `null`; ruamel's own way is an empty value."""


def _represent_none(representer: _Representer, _: None) -> ScalarNode:
    node: ScalarNode = representer.represent_scalar("tag:yaml.org,2002:null", "null")
    return node


_Representer.add_representer(type(None), _represent_none)


def story_file(name: str, sessions: Sequence[Sequence[Event]]) -> str:
    """One story a session; where there are several they are numbered behind the name."""
    stories = [
        {"story": f"{name}, story {place}" if len(sessions) > 1 else name, "steps": list(_steps(events))}
        for place, events in enumerate(sessions, start=1)
    ]
    document: dict[str, Any] = {"version": DoubleQuotedScalarString("3.1")}
    if stories:
        document["stories"] = stories
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = _WIDTH
    stream = StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def sessions_of(events: Sequence[Event]) -> list[list[Event]]:
    """The log cut before each `action_session_start`."""
    sessions: list[list[Event]] = [[]]
    for event in events:
        if isinstance(event, ActionExecuted) and event.name == ACTION_SESSION_START and sessions[-1]:
            sessions.append([])
        sessions[-1].append(event)
    return [session for session in sessions if session]


def _steps(events: Sequence[Event]) -> Iterator[dict[str, Any]]:
    for place, event in enumerate(events):
        match event:
            case UserUttered():
                yield _user(event, is_by_text=_is_by_text(events[place + 1 :]))
            case ActionExecuted() if event.name not in _UNWRITTEN:
                yield {"action": event.name} if event.name else {"bot": event.action_text}
            case SlotSet():
                yield {"slot_was_set": [{event.name: event.value}]}
            case ActiveLoop():
                yield {"active_loop": event.name}
            case _:
                pass


def _is_by_text(following: Sequence[Event]) -> bool:
    """Whether the bot decided on the words of a message instead of its intent."""
    for event in following:
        if isinstance(event, UserFeaturization):
            return bool(event.use_text_for_featurization)
        if isinstance(event, UserUttered):
            return False
    return False


def _user(event: UserUttered, *, is_by_text: bool) -> dict[str, Any]:
    step: dict[str, Any] = {}
    if event.intent and not is_by_text:
        intent = event.parse_data["intent"]
        step["intent"] = intent.get("full_retrieval_intent_name") or event.intent
    if event.text:
        step["user"] = LiteralScalarString(annotated(event.text, event.entities))
    return step


def annotated(text: str, entities: Sequence[Mapping[str, Any]]) -> str:
    """The message with its entities written into it: `to [Berlin](city)`; a `/intent{…}` stays as it is."""
    if text.startswith("/"):
        return text
    by_start: dict[int, list[Mapping[str, Any]]] = {}
    for entity in entities:
        start, end = entity.get("start"), entity.get("end")
        if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text):
            by_start.setdefault(start, []).append(entity)
    written, place = "", 0
    for start, found in sorted(by_start.items()):
        if start < place:
            continue  # it lies inside the one before, and a story has no way to write that
        end = found[0]["end"]
        written += f"{text[place:start]}[{text[start:end]}]{_attributes(text[start:end], found)}"
        place = end
    return written + text[place:]


def _attributes(words: str, entities: Sequence[Mapping[str, Any]]) -> str:
    described = []
    for entity in entities:
        value = entity.get("value")
        attributes = {
            "entity": entity["entity"],
            "role": entity.get("role"),
            "group": entity.get("group"),
            "value": None if value == words else value,
        }
        described.append({key: value for key, value in attributes.items() if value is not None})
    if len(described) > 1:
        return f"[{', '.join(json.dumps(one) for one in described)}]"
    [only] = described
    return f"({only['entity']})" if set(only) == {"entity"} else json.dumps(only)
