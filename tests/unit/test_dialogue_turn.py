"""A turn as a whole: what it promises whatever a customer says and a custom action does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.assistant.config import FallbackClassifier
from bot.dialogue.effects import ActionCrashed, ActionRejected, ActionResult, EffectResult
from bot.dialogue.events import HandoffRequested, from_json
from bot.dialogue.manager import DialogueModel, compile_assistant
from bot.dialogue.parsing import parse_payload, to_parse_data
from bot.dialogue.tracker import MOST_EVENTS, Tracker
from models.base import Entity, IntentScore, Understanding
from tests.dialogue import Conversation, actions_of, assistant_of, words

DOMAIN = """
intents: [hi, bye, order, inform, cancel, person, crash, reject, odd, again, weather]
entities: [number]
slots:
  language: {type: categorical, values: [en, zh], influence_conversation: false, mappings: [{type: custom}]}
  sentiment:
    type: categorical
    values: [negative, neutral, positive]
    influence_conversation: false
    mappings: [{type: custom}]
  number:
    type: text
    influence_conversation: true
    mappings:
    - {type: from_entity, entity: number}
    - {type: from_text, intent: inform, conditions: [{active_loop: order_form, requested_slot: number}]}
  handoff_contact: {type: text, influence_conversation: false, mappings: [{type: from_entity, entity: number}]}
forms:
  order_form: {required_slots: [number], ignored_intents: [hi]}
actions: [validate_order_form, action_crash, action_reject, action_odd, action_again, action_handoff]
responses:
  utter_hi:
  - {text: 您好, condition: [{type: slot, name: language, value: zh}]}
  - {text: Hello}
  utter_bye: [{text: Bye}]
  utter_ask_number: [{text: Which number?}]
  utter_done: [{text: "Order {number}"}]
  utter_wrong: [{text: "Not {number}"}]
  utter_default: [{text: Sorry?}]
session_config: {session_expiration_time: 60, carry_over_slots_to_new_session: true}
"""
RULES = """
rules:
- {rule: hi, steps: [{intent: hi}, {action: utter_hi}]}
- {rule: bye, steps: [{intent: bye}, {action: utter_bye}]}
- {rule: not understood, steps: [{intent: nlu_fallback}, {action: utter_hi}]}
- {rule: crash, steps: [{intent: crash}, {action: action_crash}]}
- {rule: reject, steps: [{intent: reject}, {action: action_reject}]}
- {rule: odd, steps: [{intent: odd}, {action: action_odd}]}
- {rule: again, steps: [{intent: again}, {action: action_again}]}
- {rule: person, steps: [{intent: person}, {action: action_handoff}, {action: utter_bye}]}
- {rule: order, steps: [{intent: order}, {action: order_form}, {active_loop: order_form}]}
- rule: done
  condition: [{active_loop: order_form}]
  steps: [{action: order_form}, {active_loop: null}, {slot_was_set: [{requested_slot: null}]}, {action: utter_done}]
- rule: cancel
  condition: [{active_loop: order_form}]
  steps: [{intent: cancel}, {action: action_deactivate_loop}, {active_loop: null}, {action: utter_bye}]
"""
CONFIG = "policies: [{name: MemoizationPolicy}, {name: RulePolicy}]\n"
FILES = {"domain.yml": DOMAIN, "data/rules.yml": RULES, "config.yml": CONFIG}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, DialogueModel]:
    """With and without the disclosure."""
    folder = tmp_path_factory.mktemp("bot")
    return {told: compile_assistant(assistant_of(folder, FILES, disclosure=told)) for told in (True, False)}


@pytest.fixture
def chat(models: dict[bool, DialogueModel]) -> Conversation:
    return Conversation(models[False], {"validate_order_form": lambda _: ActionResult()})


# ---- language, sentiment, disclosure, hand-over ----


def test_language_sticks_and_an_unknown_one_is_not_taken(chat: Conversation) -> None:
    assert words(chat.say("你好", "hi", language="zh")) == ["您好"]
    assert words(chat.say("👍", "hi", language="und")) == ["您好"]
    assert words(chat.say("bonjour", "hi", language="fr")) == ["您好"]
    assert words(chat.say("hello", "hi", language="en")) == ["Hello"]


def test_sentiment_is_a_slot_where_the_domain_declares_it(chat: Conversation) -> None:
    chat.say("hello", "hi", sentiment="negative")
    assert chat.tracker.slots["sentiment"] == "negative"


def test_disclosure_is_said_once_a_session_before_the_first_word(models: dict[bool, DialogueModel]) -> None:
    chat = Conversation(models[True])
    brand = models[True].assistant.brand
    first = chat.say("你好", "hi", language="zh")
    assert words(first) == [brand.disclosure_text["zh"], "您好"]
    assert first.messages[0].metadata == {"utter_action": "utter_disclosure"}
    assert len(chat.say("/hi").messages) == 1
    chat.now += 2 * 3600
    assert words(chat.say("/hi"))[0] == brand.disclosure_text["zh"]


def test_disclosure_is_not_repeated_after_a_fallback_took_the_turn_back(models: dict[bool, DialogueModel]) -> None:
    chat = Conversation(models[True])
    assert len(chat.say("rain?", "weather").messages) == 2
    assert words(chat.say("rain?", "weather")) == ["Sorry?"]


def test_handoff_logs_the_contact(chat: Conversation) -> None:
    outcome = chat.say("call me", "person", entities=[{"entity": "number", "value": "+49 30 1"}])
    [event] = [event for event in outcome.events if isinstance(event, HandoffRequested)]
    assert (event.contact, event.reason) == ("+49 30 1", None)
    assert words(outcome) == ["Bye"]
    assert chat.effects == []


# ---- sessions ----


def test_an_idle_hour_begins_a_new_session_with_the_old_slots(chat: Conversation) -> None:
    chat.say("A-1", "order", entities=[{"entity": "number", "value": "A-1"}], language="zh")
    chat.now += 3599
    same = chat.say("/hi")
    assert "session_started" not in [event.type_name for event in same.events]
    chat.now += 3601
    outcome = chat.say("/hi", metadata={"page": "/x"})
    kinds = [event.type_name for event in outcome.events]
    assert kinds[:3] == ["slot", "action", "session_started"]
    assert chat.tracker.slots["number"] == "A-1"
    assert chat.tracker.slots["session_started_metadata"] == {"page": "/x"}
    assert chat.tracker.situation.loop is None
    assert words(outcome) == ["您好"]


# ---- forms ----


def test_form_asks_validates_completes(chat: Conversation) -> None:
    def validate(effect: Any) -> ActionResult:
        value = effect.tracker["slots"]["number"]
        if not value or value.startswith("A"):
            return ActionResult()
        wrong = {"response": "utter_wrong", "number": value}
        return ActionResult(events=({"event": "slot", "name": "number", "value": None},), responses=(wrong,))

    chat.actions["validate_order_form"] = validate
    asked = chat.say("/order")
    assert words(asked) == ["Which number?"]
    assert asked.decisions[0].why == "rule 'order': asks number"
    assert words(chat.say("{language}", "inform")) == ["Not {language}", "Which number?"]
    done = chat.say("A-7", "inform")
    assert words(done) == ["Order A-7"]
    assert done.decisions[0].why == "form order_form: complete"


def test_interruption_is_answered_and_the_form_asks_again_and_cancel_leaves(chat: Conversation) -> None:
    chat.say("/order")
    assert words(chat.say("/hi")) == ["Hello", "Which number?"]
    assert words(chat.say("/cancel")) == ["Bye"]
    assert chat.tracker.situation.loop is None
    assert words(chat.say("/hi")) == ["Hello"]


# ---- when things go wrong ----


@pytest.mark.parametrize(
    "answer", [ActionCrashed(error="boom"), ActionResult(events=({"event": "x"}, {}), responses=())]
)
def test_crashed_action_counts_as_executed(chat: Conversation, answer: EffectResult) -> None:
    chat.actions["action_crash"] = lambda _: answer
    outcome = chat.say("/crash")
    assert actions_of(outcome) == ["action_crash"]
    assert any("boom" in d.why or "'x'" in d.why for d in outcome.decisions)
    assert words(chat.say("/hi")) == ["Hello"]


def test_customer_hears_something_when_a_crash_leaves_the_turn_silent(chat: Conversation) -> None:
    assert words(chat.say("/crash")) == ["Sorry?"]


def test_declined_action_lets_the_next_best_decide(chat: Conversation) -> None:
    chat.actions["action_reject"] = lambda _: ActionRejected(reason="not now")
    outcome = chat.say("/reject")
    assert actions_of(outcome) == ["action_default_fallback"]
    assert outcome.decisions[0].why == "rule 'reject': declined: not now"
    assert words(outcome) == ["Sorry?"]


@pytest.mark.parametrize(
    "event",
    [
        {"event": "followup", "name": "action_again"},
        {"event": "undo"},
        {"event": "session_started"},
        {"event": "active_loop", "name": "action_again"},
    ],
)
def test_turn_ends_whatever_an_action_keeps_asking_for(chat: Conversation, event: dict[str, Any]) -> None:
    chat.actions["action_again"] = lambda _: ActionResult(events=(event,))
    outcome = chat.say("/again")
    assert len(outcome.events) < 500
    assert chat.tracker.situation.latest_action == "action_listen"


def test_taking_actions_back_wakes_what_the_circuit_breaker_stopped(tmp_path: Path) -> None:
    """Rasa counts actions only where the bot does not listen; `is_exact`, since serving always listens."""
    chat = Conversation(compile_assistant(assistant_of(tmp_path, FILES), is_exact=True))
    chat.actions["action_again"] = lambda _: ActionResult(events=({"event": "followup", "name": "action_again"},))
    chat.say("/again")
    assert words(chat.say("/hi")) == []
    for _ in range(10):
        chat.tracker.apply(from_json({"event": "undo"}))
    assert words(chat.say("/hi")) == ["Hello"]


def test_not_understood_says_why(chat: Conversation) -> None:
    seen = _understanding(0.21)
    reason = to_parse_data(seen, FallbackClassifier())["fallback_reason"]
    outcome = chat.say("hm", "nlu_fallback", fallback_reason=reason)
    assert outcome.decisions[0].why == "fallback: confidence 0.21 < 0.30 (rule 'not understood')"


# ---- reading messages ----


def _understanding(best: float, second: float = 0.05, **more: Any) -> Understanding:
    fields: dict[str, Any] = {
        "text": "where is A-1",
        "ranking": (IntentScore(name="order", confidence=best), IntentScore(name="hi", confidence=second)),
        "out_of_scope_score": 0.1,
        "is_out_of_scope": False,
        "sentiment": "neutral",
        "sentiment_confidence": 0.8,
        "language": "en",
        "model_version": "v1",
    }
    return Understanding(**{**fields, **more})


@pytest.mark.parametrize(
    ("seen", "intent", "confidence"),
    [
        (_understanding(0.9), "order", 0.9),
        (_understanding(0.39), "nlu_fallback", 0.4),
        (_understanding(0.5, 0.45), "nlu_fallback", 0.4),
        (_understanding(0.95, is_out_of_scope=True), "nlu_fallback", 0.4),
    ],
)
def test_fallback_classifier_s_rule(seen: Understanding, intent: str, confidence: float) -> None:
    data = to_parse_data(seen, FallbackClassifier(threshold=0.4, ambiguity_threshold=0.1))
    assert data["intent"] == {"name": intent, "confidence": confidence}
    assert data["intent_ranking"][0] == data["intent"]
    assert [score["name"] for score in data["intent_ranking"]][-2:] == ["order", "hi"]
    assert ("fallback_reason" in data) == (intent == "nlu_fallback")


def test_an_assistant_s_own_intent_for_what_is_out_of_scope_is_answered() -> None:
    ranking = (IntentScore(name="out_of_scope", confidence=0.97), IntentScore(name="hi", confidence=0.01))
    seen = _understanding(0.97, ranking=ranking, is_out_of_scope=True)
    assert to_parse_data(seen, FallbackClassifier())["intent"] == {"name": "out_of_scope", "confidence": 0.97}
    unsure = (IntentScore(name="out_of_scope", confidence=0.2), IntentScore(name="hi", confidence=0.01))
    seen = _understanding(0.2, ranking=unsure, is_out_of_scope=True)
    assert to_parse_data(seen, FallbackClassifier())["intent"]["name"] == "nlu_fallback"


def test_without_a_classifier_only_the_scope_decides() -> None:
    assert to_parse_data(_understanding(0.1), None)["intent"]["name"] == "order"
    assert to_parse_data(_understanding(0.1, is_out_of_scope=True), None)["intent"]["name"] == "nlu_fallback"
    entity = Entity(entity="number", value="A-1", start=9, end=12, role="x")
    read = to_parse_data(_understanding(0.9, entities=(entity,)), None)["entities"]
    assert read == [
        {"entity": "number", "value": "A-1", "start": 9, "end": 12, "extractor": "RegexEntityExtractor", "role": "x"}
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/hi", ("hi", 1.0, [])),
        (" /hi@0.5 ", ("hi", 0.5, [])),
        ("/hi@7", ("hi", 1.0, [])),
        ('/inform{"number": "A-1"}', ("inform", 1.0, [("number", "A-1")])),
        ('/inform{"number": ["a", 2], "unknown": 1}', ("inform", 1.0, [("number", "a"), ("number", 2)])),
        ("/inform{broken}", ("inform", 1.0, [])),
        ("/inform[1]", None),
        ("/nothing", None),
        ("hi", None),
        ("/", None),
        ("/@{}", None),
    ],
)
def test_payload(models: dict[bool, DialogueModel], text: str, expected: tuple[str, float, list[Any]] | None) -> None:
    read = parse_payload(text, models[False].assistant.domain)
    if expected is None:
        assert read is None
    else:
        assert read is not None
        found = [(entity["entity"], entity["value"]) for entity in read["entities"]]
        assert (read["intent"]["name"], read["intent"]["confidence"], found) == expected


# ---- properties ----

_INTENTS = ["hi", "bye", "order", "inform", "cancel", "person", "crash", "reject", "odd", "again", "weather", "restart"]
_ACTIONS = ["crash", "reject", "odd", "again"]
_SLOT_NAMES = ["number", "language", "zzz", None, 4]
_NAMES = ["order_form", "utter_hi", "no_such", None, {}]
_PARSED: list[dict[str, Any]] = [{}, {"intent": {"name": "hi"}}, {"intent": 3}, {"entities": [1]}]
_PARSED += [{"intent": {"name": "hi"}, "entities": [{"entity": "number", "value": "B-2"}]}]
_PLAIN = ["restart", "rewind", "undo", "session_started", "pause", "resume", "reset_slots", "export", "x", 5]
_VALUE = st.sampled_from([None, "A-1", 3, True, ["x"], {"a": 1}, "{number}"])


def _event(*kinds: object, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"event": st.sampled_from(kinds), **fields})


_ODD_EVENT = st.one_of(
    _event("slot", name=st.sampled_from(_SLOT_NAMES), value=_VALUE),
    _event("followup", "active_loop", "action", name=st.sampled_from(_NAMES)),
    _event("user", text=st.just("x"), parse_data=st.sampled_from(_PARSED)),
    _event(*_PLAIN),
)
_ODD_RESPONSES: list[dict[str, Any]] = [{"text": "ok"}, {"text": 5}, {"response": "utter_done"}, {"response": []}, {}]
_ODD_RESPONSES += [{"response": "no", "buttons": 3}, {"custom": {"a": [1]}}]
_ANSWER: st.SearchStrategy[EffectResult] = st.one_of(
    st.builds(
        ActionResult,
        events=st.lists(_ODD_EVENT, max_size=4).map(tuple),
        responses=st.lists(st.sampled_from(_ODD_RESPONSES), max_size=2).map(tuple),
    ),
    st.just(ActionRejected(reason="no")),
    st.just(ActionCrashed(error="boom")),
)
_MESSAGE = st.tuples(
    st.sampled_from([*_INTENTS, None]),
    st.text(max_size=20),
    st.sampled_from([[], [{"entity": "number", "value": "A-1"}]]),
    st.sampled_from([0, 10, 4000]),
)


@settings(max_examples=60)
@given(st.lists(_MESSAGE, min_size=1, max_size=8), st.lists(_ANSWER, min_size=1, max_size=6))
def test_any_conversation_folds_back_to_itself(
    models: dict[bool, DialogueModel],
    messages: list[tuple[str | None, str, list[Any], int]],
    answers: list[EffectResult],
) -> None:
    """No turn raises, whatever is said and answered; and the log alone rebuilds the conversation."""
    chat = Conversation(models[True])
    queue = list(answers)

    def answer(_: Any) -> EffectResult:
        queue.append(queue.pop(0))
        return queue[-1]

    chat.actions = dict.fromkeys(["validate_order_form", *(f"action_{name}" for name in _ACTIONS)], answer)
    log: list[dict[str, Any]] = []
    for intent, text, entities, wait in messages:
        chat.now += wait
        before = json.dumps(chat.tracker.snapshot())
        earlier = chat.tracker
        outcome = chat.say(text, intent, entities=entities, language="en")
        assert json.dumps(earlier.snapshot()) == before
        log += json.loads(json.dumps([event.to_json() for event in outcome.events]))
        assert chat.tracker.situation.latest_action == "action_listen"
    stamps = [body["timestamp"] for body in log]
    assert stamps == sorted(set(stamps))
    live = chat.tracker
    folded = Tracker.fold(live.domain, "customer", [from_json(body) for body in log])
    restored = Tracker.restore(live.domain, json.loads(json.dumps(live.snapshot())), [])
    for other in (folded, restored):
        assert other.current_state() == live.current_state()
        assert other.moments() == live.moments()
        assert other.event_count == len(log)


@given(st.text())
def test_any_text_is_answered(models: dict[bool, DialogueModel], text: str) -> None:
    chat = Conversation(models[True], {"validate_order_form": lambda _: ActionResult()})
    chat.say("/order")
    outcome = chat.say(text, None if text.startswith("/") else "inform")
    assert chat.tracker.situation.latest_action == "action_listen"
    json.dumps([event.to_json() for event in outcome.events])


def test_ten_thousand_turns_of_one_session_stay_as_cheap_as_the_first(models: dict[bool, DialogueModel]) -> None:
    chat = Conversation(models[True], {"validate_order_form": lambda _: ActionResult()})
    script = ["/hi", "/order", "/hi", '/inform{"number":"A-1"}', "/bye"]
    sizes = []
    for count in range(10_000):
        outcome = chat.say(script[count % len(script)])
        assert outcome.messages
        if count % 100 == 50:
            sizes.append(len(json.dumps(chat.tracker.snapshot())))
        assert len(chat.tracker.events) <= MOST_EVENTS + len(outcome.events)
    assert chat.tracker.event_count > 60_000
    assert max(sizes) < 2 * sorted(sizes)[len(sizes) // 2] < 400_000


def test_decisions_are_told_apart_by_policy(tmp_path: Path) -> None:
    story = "stories:\n- {story: tale, steps: [{intent: hi}, {action: utter_hi}]}\n"
    domain = "intents: [hi, bye]\nresponses:\n  utter_hi: [{text: Hi}]\n  utter_default: [{text: What?}]\n"
    chat = Conversation.of(assistant_of(tmp_path, {"domain.yml": domain, "data/s.yml": story}))
    told = chat.say("/hi").decisions[0]
    lost = chat.say("/bye").decisions[0]
    assert (told.policy, told.why) == ("MemoizationPolicy", "story 'tale'")
    assert (lost.policy, lost.action, lost.confidence, lost.why) == (
        "RulePolicy",
        "action_default_fallback",
        0.3,
        "no rule fits",
    )


def keys(chat: Conversation) -> list[str]:
    """The keys that the actions were called with."""
    return [effect.tracker["latest_message"]["metadata"]["idempotency_key"] for effect in chat.effects]


def test_actions_get_a_key_that_names_the_call_and_a_turn_that_runs_again_gives_the_same(
    models: dict[bool, DialogueModel],
) -> None:
    first, again = Conversation(models[False]), Conversation(models[False])
    for conversation in (first, again):
        conversation.say("/crash", metadata={"page": "cart"})
        conversation.say("/reject")
    assert len(keys(first)) >= 2
    assert len(set(keys(first))) == len(keys(first))
    assert keys(first) == keys(again)
    message = first.effects[0].tracker["latest_message"]
    assert message["metadata"]["page"] == "cart"
    assert not any("idempotency_key" in json.dumps(event.to_json()) for event in first.tracker.events)
