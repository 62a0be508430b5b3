"""The tracker: a conversation is the fold of its events, whatever way it was reached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.assistant.domain import Domain
from bot.dialogue.events import (
    ActionExecuted,
    ActionExecutionRejected,
    ActionReverted,
    ActiveLoop,
    AllSlotsReset,
    BotUttered,
    ConversationPaused,
    Event,
    FollowupAction,
    LoopInterrupted,
    Restarted,
    SessionStarted,
    SlotSet,
    UserFeaturization,
    UserUtteranceReverted,
    UserUttered,
    at,
)
from bot.dialogue.tracker import DISCLOSURE, MOST_EVENTS, SnapshotOutdated, Tracker
from tests.dialogue import assistant_of

DOMAIN = """
intents: [greet, inform, stop]
entities: [city]
slots:
  city: {type: text, influence_conversation: true, mappings: [{type: from_entity, entity: city}]}
  tags: {type: list, influence_conversation: true, mappings: [{type: custom}]}
  agreed: {type: bool, initial_value: false, mappings: [{type: custom}]}
forms:
  trip: {required_slots: [city]}
responses:
  utter_ask_city: [{text: Where?}]
  utter_hi: [{text: Hi}]
"""


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    return assistant_of(tmp_path_factory.mktemp("bot"), {"domain.yml": DOMAIN}).domain


def user(intent: str, **fields: Any) -> UserUttered:
    return UserUttered(text=f"/{intent}", parse_data={"intent": {"name": intent, "confidence": 1.0}}, **fields)


LISTEN = ActionExecuted(name="action_listen")
START = [ActionExecuted(name="action_session_start"), SessionStarted(), LISTEN]


def fold(domain: Domain, events: Sequence[Event]) -> Tracker:
    return Tracker.fold(domain, "c", events)


def test_rewind_takes_back_the_message_and_the_listen_before_it(domain: Domain) -> None:
    hi = ActionExecuted(name="utter_hi")
    before = [*START, user("greet"), hi, SlotSet(name="city", value="Rome")]
    after = fold(domain, [*before, LISTEN, user("inform"), SlotSet(name="city", value="Bonn"), UserUtteranceReverted()])
    assert after.slots["city"] == "Rome"
    assert after.situation.latest_action == "utter_hi"
    assert after.situation.message is not None
    assert after.situation.message.intent == "greet"
    assert list(after.applied_events) == before[2:]


def test_rewind_of_the_first_message_leaves_a_bot_that_listens(domain: Domain) -> None:
    after = fold(domain, [*START, user("greet"), UserUtteranceReverted()])
    assert list(after.applied_events) == []
    assert after.situation.followup_action == "action_listen"
    assert after.situation.latest_action is None


def test_undo_takes_back_the_last_action(domain: Domain) -> None:
    after = fold(domain, [*START, user("greet"), ActionExecuted(name="utter_hi"), ActionReverted()])
    assert after.situation.latest_action == "action_listen"


def test_restart_forgets_slots_and_asks_for_a_new_session(domain: Domain) -> None:
    after = fold(domain, [*START, SlotSet(name="city", value="Rome"), ActiveLoop(name="trip"), Restarted()])
    assert after.slots == {
        "city": None,
        "tags": None,
        "agreed": False,
        "requested_slot": None,
        "session_started_metadata": None,
    }
    assert after.situation.followup_action == "action_session_start"
    assert after.situation.loop is None


def test_a_session_keeps_only_its_own_events(domain: Domain) -> None:
    first = [*START, user("greet"), ActionExecuted(name="utter_hi"), SlotSet(name="city", value="Rome"), LISTEN]
    after = fold(domain, [*first, *START])
    assert [event.type_name for event in after.events] == ["action", "session_started", "action"]
    assert after.slots["city"] is None
    assert after.event_count == len(first) + 3


def test_list_slot_wraps_a_single_value_and_unknown_slots_change_nothing(domain: Domain) -> None:
    after = fold(domain, [SlotSet(name="tags", value="x"), SlotSet(name="no_such", value=1)])
    assert after.slots["tags"] == ["x"]
    assert "no_such" not in after.slots
    assert fold(domain, [*after.events, AllSlotsReset()]).slots["tags"] is None


def test_policies_see_a_happily_filled_form_as_one_turn(domain: Domain) -> None:
    form = ActionExecuted(name="trip")
    opened = [LISTEN, user("greet"), form, ActiveLoop(name="trip"), LISTEN]
    filled = [
        user("inform"),
        SlotSet(name="city", value="Rome"),
        UserFeaturization(use_text_for_featurization=False),
        form,
    ]
    after = fold(domain, [*START[:2], *opened, *filled, ActiveLoop(name=None)])
    assert list(after.applied_events) == [*opened[:4], SlotSet(name="city", value="Rome"), ActiveLoop(name=None)]
    interrupted = [user("stop"), ActionExecutionRejected(name="trip"), ActionExecuted(name="utter_hi"), LISTEN]
    unhappy = fold(domain, [*START[:2], *opened, *interrupted, *filled])
    assert list(unhappy.applied_events) == [*opened, *interrupted, *filled]


def test_form_state_follows_rejection_and_interruption(domain: Domain) -> None:
    events: list[Event] = [*START, user("greet"), ActiveLoop(name="trip"), ActionExecutionRejected(name="trip")]
    assert fold(domain, events).current_state()["active_loop"]["rejected"] is True
    events.append(LoopInterrupted(is_interrupted=True))
    assert fold(domain, events).current_state()["active_loop"]["is_interrupted"] is True
    events.append(ActionExecuted(name="trip"))
    loop = fold(domain, events).current_state()["active_loop"]
    assert (loop["rejected"], loop["is_interrupted"]) == (False, False)
    assert loop["trigger_message"]["intent"]["name"] == "greet"


def test_current_state_is_rasa_s_tracker_json(domain: Domain) -> None:
    state = fold(domain, [*START, user("greet", input_channel="web", timestamp=2.0)]).current_state()
    assert state["latest_message"]["intent"]["name"] == "greet"
    assert state["latest_message"]["entities"] == []
    assert (state["latest_input_channel"], state["latest_event_time"], state["paused"]) == ("web", 2.0, False)
    assert state["latest_action"] == {"action_name": "action_listen"}
    assert [event["event"] for event in state["events"]] == ["action", "session_started", "action", "user"]
    json.dumps(state)


def _same(one: Tracker, other: Tracker) -> bool:
    return (
        one.current_state() == other.current_state()
        and list(one.applied_events) == list(other.applied_events)
        and one.moments() == other.moments()
        and (one.event_count, one.is_disclosed) == (other.event_count, other.is_disclosed)
        and one.carried_slots == other.carried_slots
        and one.situation.followup_action == other.situation.followup_action
    )


_NAMES = st.sampled_from(["action_listen", "utter_hi", "trip", "action_session_start"])
_EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(user, st.sampled_from(["greet", "inform", "stop"])),
    st.builds(ActionExecuted, name=_NAMES, hide_rule_turn=st.booleans()),
    st.builds(SlotSet, name=st.sampled_from(["city", "tags", "agreed"]), value=st.sampled_from([None, "Rome", True])),
    st.builds(ActiveLoop, name=st.sampled_from([None, "trip"])),
    st.builds(ActionExecutionRejected, name=st.just("trip")),
    st.builds(UserFeaturization, use_text_for_featurization=st.booleans()),
    st.builds(LoopInterrupted),
    st.builds(FollowupAction, name=_NAMES),
    st.builds(BotUttered, text=st.just("x"), metadata=st.just({"utter_action": DISCLOSURE})),
    st.sampled_from(
        [
            Restarted(),
            SessionStarted(),
            UserUtteranceReverted(),
            ActionReverted(),
            AllSlotsReset(),
            ConversationPaused(),
        ]
    ),
)


def test_a_restart_from_outside_is_forgotten_by_a_restored_conversation_too(domain: Domain) -> None:
    events: list[Event] = [*START, user("greet"), Restarted(), ActiveLoop(name=None)]
    for cut in range(len(events) + 1):
        restored = Tracker.restore(domain, fold(domain, events[:cut]).snapshot(), [e.to_json() for e in events[cut:]])
        assert restored.situation.followup_action == "action_listen"
        assert _same(restored, fold(domain, events))


@given(st.lists(_EVENTS, max_size=40), st.data())
def test_any_snapshot_and_the_rest_is_the_full_fold(domain: Domain, events: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    snapshot = json.loads(json.dumps(fold(domain, events[:cut]).snapshot()))
    restored = Tracker.restore(domain, snapshot, [event.to_json() for event in events[cut:]])
    assert _same(restored, fold(domain, events))


@settings(max_examples=30)
@given(st.lists(_EVENTS, min_size=20, max_size=40), st.data())
def test_the_same_holds_where_old_events_are_let_go(domain: Domain, events: list[Event], data: st.DataObject) -> None:
    tail = [event for event in events if not isinstance(event, (SessionStarted, Restarted))]
    chat = [user("greet"), ActionExecuted(name="utter_hi"), SlotSet(name="city", value="Rome"), LISTEN]
    long = [*START, *chat * 60, *tail, *chat * 60, *tail]
    cut = data.draw(st.integers(0, len(long)))
    snapshot = json.loads(json.dumps(fold(domain, long[:cut]).snapshot()))
    assert _same(Tracker.restore(domain, snapshot, [e.to_json() for e in long[cut:]]), fold(domain, long))


@given(st.lists(_EVENTS, max_size=30))
def test_a_copy_goes_its_own_way(domain: Domain, events: list[Event]) -> None:
    original = fold(domain, events)
    expected = fold(domain, events)
    copied = original.copy()
    for event in [*START, user("greet"), SlotSet(name="city", value="Rome")]:
        copied.apply(event)
    assert _same(original, expected)
    assert copied.slots["city"] == "Rome"


def test_what_is_kept_is_bounded_within_a_session_and_over_many(domain: Domain) -> None:
    chat = [user("greet"), ActionExecuted(name="utter_hi"), SlotSet(name="city", value="Rome"), LISTEN]
    session = [*START[:2], LISTEN]
    one = fold(domain, [*session, *chat * 2_000])
    assert len(one.events) <= MOST_EVENTS + len(chat)
    many = Tracker(domain, "c")
    for _ in range(500):
        carried = many.carried_slots
        for event in [*session[:2], *carried, LISTEN, *chat * 3]:
            many.apply(event)
    assert len(many.events) <= MOST_EVENTS + len(chat)
    assert len(many.carried_slots) < 150
    assert many.slots["city"] == "Rome"


@pytest.mark.parametrize("before", [0, 20, 40])
@pytest.mark.parametrize("between", [1, 15, 25])
def test_a_rewind_undoes_the_same_where_old_events_are_let_go(domain: Domain, before: int, between: int) -> None:
    """A form that is filled and then taken back is undone as a whole, with the turn that opened it long ago."""
    taken_back = [user("stop"), ActionExecuted(name="utter_hi"), UserUtteranceReverted(), UserFeaturization(), LISTEN]
    opened = [user("greet"), ActionExecuted(name="trip"), ActiveLoop(name="trip"), LISTEN]
    filled = [user("inform"), ActionExecuted(name="trip"), ActiveLoop(name=None), UserUtteranceReverted(), LISTEN]
    log = [*START, *taken_back * before, *opened, *taken_back * between, *filled, *taken_back * 20]
    log = [at(event, float(index)) for index, event in enumerate(log, 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.dialogue.tracker.MAX_EVENTS", 1_000_000)
        whole = fold(domain, log)
    assert whole.situation.loop is None
    assert fold(domain, log).situation.to_json() == whole.situation.to_json()


def test_a_turn_that_begins_a_session_still_sees_the_one_before_and_the_next_does_not(domain: Domain) -> None:
    before = [*START, user("greet"), LISTEN]
    tracker = fold(domain, [*before, *START])
    assert tracker.events_of_turn == [*before, *START]
    assert tracker.events == START
    tracker.begin_turn()
    assert tracker.events_of_turn == START


def test_the_turn_after_a_restart_that_was_logged_asks_for_nothing(domain: Domain) -> None:
    tracker = fold(domain, [*START, Restarted()])
    tracker.begin_turn()
    assert tracker.situation.followup_action == "action_listen"
    wished = fold(domain, [*START, FollowupAction(name="action_session_start")])
    wished.begin_turn()
    assert wished.situation.followup_action == "action_session_start"


def test_snapshot_of_another_domain_is_refused(domain: Domain, tmp_path: Path) -> None:
    other = assistant_of(tmp_path, {"domain.yml": DOMAIN.replace("initial_value: false", "initial_value: true")}).domain
    snapshot = fold(domain, START).snapshot()
    with pytest.raises(SnapshotOutdated):
        Tracker.restore(other, snapshot, [])
    with pytest.raises(SnapshotOutdated):
        Tracker.restore(domain, {**snapshot, "fold_version": 0}, [])
