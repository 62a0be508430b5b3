"""Events keep Rasa's JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dialogue import events
from bot.dialogue.events import Event, from_json

_text = st.none() | st.text(max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_object = st.dictionaries(st.sampled_from(["a", "b"]), _json, max_size=2)
_set_object = st.dictionaries(st.sampled_from(["text", "image"]), st.text(max_size=4), max_size=2)
_parse = st.fixed_dictionaries({"intent": st.fixed_dictionaries({"name": st.text(max_size=4)})})
_entities = st.lists(st.fixed_dictionaries({"entity": st.text(max_size=3), "value": _json}), max_size=2)

FIELDS: dict[type[Event], dict[str, st.SearchStrategy[object]]] = {
    events.UserUttered: {"text": _text, "parse_data": _parse, "input_channel": _text, "message_id": _text},
    events.BotUttered: {"text": _text, "data": _set_object},
    events.ActionExecuted: {"name": _text, "policy": _text, "confidence": st.none() | st.floats(0, 1)},
    events.ActionExecutionRejected: {"name": _text, "confidence": st.none() | st.floats(0, 1)},
    events.SlotSet: {"name": st.text(max_size=5), "value": _json},
    events.AllSlotsReset: {},
    events.ActiveLoop: {"name": _text},
    events.LoopInterrupted: {"is_interrupted": st.booleans()},
    events.UserFeaturization: {"use_text_for_featurization": st.none() | st.booleans()},
    events.EntitiesAdded: {"entities": _entities},
    events.FollowupAction: {"name": _text},
    events.Restarted: {},
    events.SessionStarted: {},
    events.UserUtteranceReverted: {},
    events.ActionReverted: {},
    events.ConversationPaused: {},
    events.ConversationResumed: {},
    events.StoryExported: {"path": _text},
    events.ReminderScheduled: {"intent": _text, "date_time": _text, "kill_on_user_msg": st.booleans()},
    events.ReminderCancelled: {"name": _text, "intent": _text},
    events.AgentUttered: {"text": _text},
    events.HandoffRequested: {"contact": _text, "reason": _text},
    events.OperatorUttered: {"text": _text, "operator": _text},
}


def any_event() -> st.SearchStrategy[Event]:
    stamp = st.floats(0, 2e9, allow_nan=False)
    return st.one_of(
        *(
            st.builds(kind, timestamp=stamp, metadata=_object, **fields)  # type: ignore[arg-type]
            for kind, fields in FIELDS.items()
        )
    )


def test_every_kind_of_event_is_covered_here() -> None:
    kinds = {kind.type_name for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert {kind.type_name for kind in FIELDS} == kinds - {""}


@given(any_event())
def test_json_and_back(event: Event) -> None:
    assert from_json(json.loads(json.dumps(event.to_json()))) == event


def test_rasa_s_json_is_read_with_its_extra_keys_and_legacy_names() -> None:
    bot = from_json(
        {"event": "bot", "timestamp": 1.5, "text": "hi", "data": {"buttons": None, "image": "x"}, "surplus": 1}
    )
    assert bot.to_json() == {"event": "bot", "timestamp": 1.5, "text": "hi", "data": {"image": "x"}}
    assert from_json({"event": "form", "name": "f"}) == events.ActiveLoop(name="f")
    assert from_json({"event": "form_validation", "validate": False}) == events.LoopInterrupted(is_interrupted=True)


@pytest.mark.parametrize("body", [{}, {"event": "nothing"}, {"event": "slot"}, {"event": "slot", "timestamp": "x"}])
def test_what_is_no_event_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"event"):
        from_json(body)
