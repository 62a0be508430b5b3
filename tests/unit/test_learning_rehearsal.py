"""Playing test conversations: what counts as a mismatch, what is said about it, and what it leaves behind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bot.app import actions_of
from bot.assistant.loader import load_tests
from bot.rehearsal import ConversationResult, play_conversations
from bot.turns import Bot
from models.base import IntentScore, Understanding
from tests.learning import SMALL_SHOP, write_assistant

DOMAIN = (
    SMALL_SHOP["domain.yml"]
    + """
entities: [order_number]
slots:
  order_number:
    type: text
    influence_conversation: false
    mappings: [{type: from_entity, entity: order_number}]
  visits:
    type: any
    mappings: [{type: custom}]
actions: [action_count_visits]
"""
)
RULES = (
    SMALL_SHOP["data/rules.yml"]
    + """
- rule: return and count
  steps: [{intent: out_of_scope}, {action: action_count_visits}]
"""
)
# Remembers its visits under KEFU_HOME, as the starter remembers failed look-ups.
ACTIONS = """
import os
from pathlib import Path
from rasa_sdk import Action
from rasa_sdk.events import SlotSet

class ActionCountVisits(Action):
    def name(self):
        return "action_count_visits"

    def run(self, dispatcher, tracker, domain):
        file = Path(os.environ["KEFU_HOME"]) / "visits"
        visits = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(visits))
        return [SlotSet("visits", [visits, tracker.sender_id.split(":")[0]])]
"""
SHOP = SMALL_SHOP | {"domain.yml": DOMAIN, "data/rules.yml": RULES, "actions/actions.py": ACTIONS}


class Scripted:
    """Reads what the script says, 0.9 sure; anything else far out of scope."""

    version = "scripted"

    def __init__(self, script: Mapping[str, str]) -> None:
        self._script = script

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Understanding:
        known = text in self._script
        return Understanding(
            text=text,
            ranking=(
                IntentScore(name=self._script.get(text, "greet"), confidence=0.9 if known else 0.2),
                IntentScore(name="goodbye", confidence=0.1),
            ),
            out_of_scope_score=0.0 if known else 9.0,
            is_out_of_scope=not known,
            sentiment="neutral",
            sentiment_confidence=1.0,
            language="en",
            model_version=self.version,
        )


READER = Scripted({"hello": "greet", "bye": "goodbye", "my order?": "order_status", "count": "out_of_scope"})


async def play(folder: Path, steps: str, script: Scripted = READER) -> list[ConversationResult]:
    assistant = write_assistant(folder, SHOP | {"tests/conversations.yml": f"conversations:\n{steps}"})
    bot = Bot.of(assistant, actions_of(assistant))
    try:
        return await play_conversations(bot, script, load_tests(folder).conversations)
    finally:
        await bot.actions.close()


async def test_a_conversation_that_goes_as_written_passes(tmp_path: Path) -> None:
    steps = """
- name: as written
  language: en
  steps:
  - {user: hello, actions: [utter_greet]}
  - {user: '/order_status{"order_number": "A-1"}', actions: [utter_order], slots: {order_number: A-1, visits: null}}
  - {user: bye, actions: [utter_goodbye]}
"""
    [result] = await play(tmp_path, steps)
    assert (result.name, result.language, result.passed, result.diff()) == ("as written", "en", True, "")


async def test_a_wrong_action_is_shown_with_what_was_read_and_ends_the_conversation(tmp_path: Path) -> None:
    steps = """
- name: wrong twice
  steps:
  - {user: hello, actions: [utter_greet]}
  - {user: bye, actions: [utter_return, utter_goodbye]}
  - {user: hello, actions: [utter_order]}
- name: fine
  steps:
  - {user: bye, actions: [utter_goodbye]}
"""
    wrong, fine = await play(tmp_path, steps)
    assert fine.passed
    assert wrong.mismatch is not None
    assert (wrong.mismatch.step, wrong.mismatch.actions) == (2, ("utter_goodbye",))
    assert wrong.diff().splitlines() == [
        f"{tmp_path / 'tests' / 'conversations.yml'}:6 (conversations[0].steps[1]): wrong twice, step 2",
        "  customer  bye",
        "  read as   goodbye 0.90",
        "  expected  utter_return, utter_goodbye",
        "  got       utter_goodbye",
    ]


async def test_a_wrong_slot_is_shown_without_the_actions_that_were_right(tmp_path: Path) -> None:
    steps = """
- name: slots
  steps:
  - {user: '/order_status{"order_number": "A-1"}', actions: [utter_order], slots: {order_number: A-2}}
"""
    [result] = await play(tmp_path, steps)
    assert "slot      order_number: expected 'A-2', got 'A-1'" in result.diff()
    assert "expected  " not in result.diff()


async def test_what_hid_behind_a_fallback_is_shown(tmp_path: Path) -> None:
    steps = "\n- name: unknown words\n  steps:\n  - {user: gibberish, actions: [utter_greet]}\n"
    [result] = await play(tmp_path, steps)
    assert "nlu_fallback" in result.diff()
    assert "(model: greet 0.20, out of scope)" in result.diff()
    assert "got       utter_default" in result.diff()


async def test_silence_is_an_answer_too(tmp_path: Path) -> None:
    steps = "\n- name: nothing\n  steps:\n  - {user: hello, actions: []}\n"
    [result] = await play(tmp_path, steps)
    assert "expected  (nothing)\n  got       utter_greet" in result.diff()


async def test_a_rehearsal_leaves_no_trace_where_customers_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "visits").write_text("41")
    monkeypatch.setenv("KEFU_HOME", str(home))
    counted = "  - {user: count, actions: [action_count_visits], slots: {visits: [%d, rehearsal]}}\n"
    steps = "\n- name: twice\n  steps:\n" + counted % 1 + counted % 2 + "- name: afresh\n  steps:\n" + counted % 1
    results = await play(tmp_path / "shop", steps)
    assert [result.diff() for result in results] == ["", ""]
    assert (home / "visits").read_text() == "41"
    assert os.environ["KEFU_HOME"] == str(home)


async def test_without_a_kefu_home_there_is_none_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEFU_HOME", raising=False)
    [result] = await play(
        tmp_path, "\n- name: once\n  steps:\n  - {user: count, actions: [action_count_visits], slots: {}}\n"
    )
    assert result.passed
    assert "KEFU_HOME" not in os.environ
