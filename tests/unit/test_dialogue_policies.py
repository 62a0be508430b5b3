"""Rules and stories: what they make the bot do, when they contradict each other, and that the index changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.assistant.source import Problem, Problems
from bot.dialogue.events import ActionExecuted, ActiveLoop, SlotSet, UserUttered
from bot.dialogue.manager import compile_assistant
from bot.dialogue.policies import Policies, check_dialogue
from bot.dialogue.rules import CompiledRule
from bot.dialogue.tracker import Tracker
from bot.dialogue.training import expand_stories
from bot.errors import AssistantError
from tests.dialogue import START, Conversation, actions_of, assistant_of

DOMAIN = """
intents: [hi, bye, more, yes, no, go, stop]
entities: [tier]
slots:
  tier: {type: categorical, values: [gold, silver], mappings: [{type: from_entity, entity: tier}]}
  vip: {type: bool, influence_conversation: true, mappings: [{type: custom}]}
forms:
  trip: {required_slots: [tier]}
responses:
  utter_a: [{text: a}]
  utter_b: [{text: b}]
  utter_c: [{text: c}]
  utter_start: [{text: start}]
  utter_ask_tier: [{text: tier?}]
  utter_default: [{text: what?}]
"""


def chat_of(folder: Path, data: str, config: str = "") -> Conversation:
    return Conversation.of(assistant_of(folder, {"domain.yml": DOMAIN, "data/d.yml": data, "config.yml": config}))


def problems_of(folder: Path, data: str) -> list[Problem]:
    return list(check_dialogue(assistant_of(folder, {"domain.yml": DOMAIN, "data/d.yml": data})))


def says(chat: Conversation, *intents: str) -> list[list[str]]:
    return [actions_of(chat.say(f"/{intent}")) for intent in intents]


def test_the_longer_rule_wins_and_conditions_hold(tmp_path: Path) -> None:
    chat = chat_of(
        tmp_path,
        """
rules:
- {rule: plain, steps: [{intent: hi}, {action: utter_a}]}
- {rule: gold, condition: [{slot_was_set: [{tier: gold}]}], steps: [{intent: hi}, {action: utter_b}]}
- {rule: after a, steps: [{action: utter_a}, {intent: more}, {action: utter_c}]}
""",
    )
    assert says(chat, "hi", "more", "more") == [["utter_a"], ["utter_c"], ["action_default_fallback"]]
    chat.tracker.apply(SlotSet(name="tier", value="gold"))
    assert says(chat, "hi") == [["utter_b"]]
    decision = chat.say("/hi").decisions[0]
    assert (decision.policy, decision.confidence, decision.why) == ("RulePolicy", 1.0, "rule 'gold'")


def test_conversation_start_rule_applies_once(tmp_path: Path) -> None:
    chat = chat_of(
        tmp_path,
        """
rules:
- {rule: first, conversation_start: true, steps: [{intent: hi}, {action: utter_start}]}
- {rule: later, steps: [{intent: hi}, {action: utter_a}]}
""",
    )
    assert says(chat, "hi", "hi") == [["utter_start"], ["utter_a"]]


def test_rule_that_does_not_wait_leaves_the_next_action_to_others(tmp_path: Path) -> None:
    chat = chat_of(
        tmp_path,
        """
rules:
- {rule: a, wait_for_user_input: false, steps: [{intent: hi}, {action: utter_a}]}
- {rule: b after a, steps: [{action: utter_a}, {action: utter_b}]}
""",
    )
    assert says(chat, "hi") == [["utter_a", "utter_b"]]


CHECKPOINTS = """
stories:
- story: first way
  steps: [{intent: hi}, {action: utter_a}, {checkpoint: asked}]
- story: second way
  steps: [{or: [{intent: go}, {intent: more}]}, {action: utter_b}, {checkpoint: asked}]
- story: yes
  steps: [{checkpoint: asked}, {intent: yes}, {action: utter_c}]
- story: no, gold only
  steps: [{checkpoint: asked, slot_was_set: [{tier: gold}]}, {intent: no}, {action: utter_start}]
"""


@pytest.mark.parametrize("opening", ["hi", "go", "more"])
def test_checkpoints_and_or_join_every_end_with_every_start(tmp_path: Path, opening: str) -> None:
    chat = chat_of(tmp_path, CHECKPOINTS)
    chat.say(f"/{opening}")
    outcome = chat.say("/yes")
    assert actions_of(outcome) == ["utter_c"]
    assert outcome.decisions[0].why.endswith("> yes'")


def test_checkpoint_condition_filters_and_loose_ends_are_reported(tmp_path: Path) -> None:
    assert says(chat_of(tmp_path, CHECKPOINTS), "hi", "no") == [["utter_a"], ["action_default_fallback"]]
    loose = "stories:\n- story: s\n  steps: [{checkpoint: nowhere}, {intent: hi}, {action: utter_a}, {checkpoint: x}]\n"
    found = problems_of(tmp_path, loose)
    assert [problem.level for problem in found] == ["warning", "warning"]
    assert "'nowhere'" in found[0].message
    assert "'x'" in found[1].message


def test_checkpoints_that_go_round_end(tmp_path: Path) -> None:
    round_trip = """
stories:
- {story: in, steps: [{intent: hi}, {action: utter_a}, {checkpoint: loop}]}
- {story: round, steps: [{checkpoint: loop}, {intent: more}, {action: utter_b}, {checkpoint: loop}]}
- {story: out, steps: [{checkpoint: loop}, {intent: bye}, {action: utter_c}]}
"""
    assert says(chat_of(tmp_path, round_trip), "hi", "more", "bye") == [["utter_a"], ["utter_b"], ["utter_c"]]


def test_slots_tell_stories_apart(tmp_path: Path) -> None:
    stories = """
stories:
- {story: g, steps: [{intent: hi, entities: [{tier: gold}]}, {slot_was_set: [{tier: gold}]}, {action: utter_a}]}
- {story: s, steps: [{intent: hi, entities: [{tier: silver}]}, {action: utter_b}]}
"""
    silver = chat_of(tmp_path, stories)
    assert actions_of(silver.say("hi", "hi", entities=[{"entity": "tier", "value": "SILVER"}])) == ["utter_b"]
    assert actions_of(chat_of(tmp_path, stories).say("/hi")) == ["action_default_fallback"]


def test_entities_of_a_story_fill_slots_whatever_the_domain_says_of_storing(tmp_path: Path) -> None:
    """Rasa trains on a domain that has lost `store_entities_as_slots`."""
    story = "stories:\n- {story: g, steps: [{intent: hi, entities: [{tier: gold}]}, {action: utter_a}]}\n"
    domain = DOMAIN + "config: {store_entities_as_slots: false}\n"
    assistant = assistant_of(tmp_path, {"domain.yml": domain, "data/d.yml": story})
    (conversation,) = expand_stories(assistant.stories, assistant.domain, Problems())
    filled = [(event.name, event.value) for event in conversation.events if isinstance(event, SlotSet)]
    assert filled == [("tier", "gold")]


MEMORY = """
stories:
- story: long
  steps: [{intent: hi}, {action: utter_a}, {intent: more}, {action: utter_b}, {intent: yes}, {action: utter_c}]
"""


@pytest.mark.parametrize(
    ("policy", "reply"),
    [
        ("- name: MemoizationPolicy", "action_default_fallback"),
        ("- name: AugmentedMemoizationPolicy", "utter_c"),
        ("- {name: MemoizationPolicy, max_history: 3}", "utter_c"),
    ],
)
def test_memory_of_the_latest_part(tmp_path: Path, policy: str, reply: str) -> None:
    """A slot of an earlier session is no part of the story: only a memory that can forget it still fits."""
    chat = chat_of(tmp_path, MEMORY, f"policies:\n{policy}\n- name: RulePolicy\n")
    listen = ActionExecuted(name="action_listen")
    turns = [("hi", "utter_a"), ("more", "utter_b")]
    past = [
        (UserUttered(timestamp=START, parse_data={"intent": {"name": intent}}), ActionExecuted(name=said))
        for intent, said in turns
    ]
    for event in (SlotSet(name="vip", value=True), listen, *past[0], SlotSet(name="vip", value=None), listen, *past[1]):
        chat.tracker.apply(event)
    chat.tracker.apply(listen)
    assert says(chat, "yes")[0][0] == reply


def test_turns_of_rules_are_invisible_to_stories_unless_a_story_has_them(tmp_path: Path) -> None:
    rule = "rules:\n- {rule: bye, steps: [{intent: bye}, {action: utter_start}]}\n"
    assert says(chat_of(tmp_path, rule + MEMORY), "hi", "bye", "more") == [["utter_a"], ["utter_start"], ["utter_b"]]
    shown = MEMORY + "- {story: s, steps: [{intent: bye}, {action: utter_start}]}\n"
    told = says(chat_of(tmp_path, rule + shown), "hi", "bye", "more")
    assert told[-1] == ["action_default_fallback"]


CONTRADICTIONS = {
    "two rules": (
        """
rules:
- {rule: one, steps: [{intent: hi}, {action: utter_a}]}
- {rule: two, steps: [{intent: hi}, {action: utter_b}]}
""",
        ["'utter_a' in the rule 'one' contradicts 'two'", "'utter_b' in the rule 'two' contradicts 'one'"],
    ),
    "a rule and a story": (
        """
rules:
- {rule: one, steps: [{intent: hi}, {action: utter_a}]}
stories:
- {story: tale, steps: [{intent: hi}, {action: utter_b}]}
""",
        ["'utter_b' in the story 'tale' contradicts 'one', which wants 'utter_a'"],
    ),
    "two messages in a rule": (
        "rules:\n- {rule: r, steps: [{intent: hi}, {action: utter_a}, {intent: bye}, {action: utter_b}]}\n",
        ["'r' contains more than one user message"],
    ),
    "a slot set in one rule only": (
        """
rules:
- {rule: sets, steps: [{intent: hi}, {action: utter_a}, {slot_was_set: [{vip: true}]}, {action: utter_b}]}
- {rule: forgets, steps: [{intent: go}, {action: utter_a}, {action: utter_b}]}
""",
        ["'utter_a' sets 'vip' in other rules, but not in the rule 'forgets'"],
    ),
    "a form that ends in one rule only": (
        """
rules:
- {rule: opens, steps: [{intent: go}, {action: trip}, {active_loop: trip}]}
- {rule: forgets, steps: [{intent: hi}, {action: trip}]}
""",
        ["'trip' leads to `active_loop: trip` in other rules, but not in the rule 'forgets'"],
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_names_both_sides(tmp_path: Path, case: str) -> None:
    data, expected = CONTRADICTIONS[case]
    found = problems_of(tmp_path, data)
    for part in expected:
        assert any(part in problem.message for problem in found), [problem.message for problem in found]
    assert all(problem.where and problem.where.file.name == "d.yml" and problem.where.line for problem in found)
    with pytest.raises(AssistantError):
        compile_assistant(assistant_of(tmp_path, {"domain.yml": DOMAIN, "data/d.yml": data}))


@pytest.mark.parametrize(
    "data",
    [
        CHECKPOINTS,
        MEMORY,
        """
rules:
- {rule: opens, steps: [{intent: go}, {action: trip}, {active_loop: trip}]}
- {rule: ends, condition: [{active_loop: trip}], steps: [{action: trip}, {active_loop: null}, {action: utter_a}]}
- {rule: aside, steps: [{intent: hi}, {action: utter_b}]}
stories:
- story: stopped
  steps:
  - {intent: go}
  - {action: trip}
  - {active_loop: trip}
  - {intent: stop}
  - {action: utter_c}
  - {intent: no}
  - {action: action_deactivate_loop}
  - {active_loop: null}
""",
    ],
)
def test_what_does_not_contradict_is_accepted(tmp_path: Path, data: str) -> None:
    assert [problem for problem in problems_of(tmp_path, data) if problem.level == "error"] == []


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    data = """
rules:
- {rule: first, conversation_start: true, steps: [{intent: hi}, {action: utter_start}]}
- {rule: hi, steps: [{intent: hi}, {action: utter_a}]}
- {rule: gold, condition: [{slot_was_set: [{tier: gold}]}], steps: [{intent: hi}, {action: utter_b}]}
- {rule: none, condition: [{slot_was_set: [{tier: null}]}], steps: [{intent: yes}, {action: utter_b}]}
- {rule: in trip, condition: [{active_loop: trip}], steps: [{intent: bye}, {action: utter_c}]}
- {rule: no trip, condition: [{active_loop: null}], steps: [{intent: no}, {action: utter_c}]}
- {rule: after a, steps: [{action: utter_a}, {intent: more}, {action: utter_b}]}
- {rule: opens, steps: [{intent: go}, {action: trip}, {active_loop: trip}]}
"""
    assistant = assistant_of(tmp_path_factory.mktemp("bot"), {"domain.yml": DOMAIN, "data/d.yml": data})
    return compile_assistant(assistant).policies


_PAST = st.lists(
    st.tuples(
        st.sampled_from(["hi", "bye", "more", "go", "yes", "no"]),
        st.sampled_from([None, "gold", "silver"]),
        st.sampled_from(["utter_a", "utter_b", "utter_start", "trip"]),
        st.sampled_from([None, "trip"]),
        st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(_PAST)
def test_the_index_finds_what_trying_every_rule_finds(
    policies: Policies, past: list[tuple[str, str | None, str, str | None, bool]]
) -> None:
    rules = policies.rules
    tracker = Tracker(rules.domain, "c")
    for intent, tier, action, loop, listens in past:
        if listens:
            tracker.apply(ActionExecuted(name="action_listen"))
            tracker.apply(UserUttered(parse_data={"intent": {"name": intent}}))
        tracker.apply(SlotSet(name="tier", value=tier))
        tracker.apply(ActionExecuted(name=action))
        tracker.apply(ActiveLoop(name=loop))
    moments = tracker.moments()
    fitting = [rule for rule in rules.rules.values() if rule.matches(moments)]
    found = rules._best_rule(moments)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found.weight == max(rule.weight for rule in fitting)


def test_rules_are_weighed_by_the_length_of_rasa_s_key(policies: Policies) -> None:
    gold = next(rule for rule in policies.rules.rules.values() if rule.name == "gold" and rule.action == "utter_b")
    key = (
        '[{"prev_action": {"action_name": "action_listen"}, '
        '"slots": {"tier": [1.0, 0.0, 0.0]}, "user": {"intent": "hi"}}]'
    )
    assert isinstance(gold, CompiledRule)
    assert gold.weight == len(key)
