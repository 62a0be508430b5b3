"""A project with TEDPolicy: trained with the rest, decides where neither a rule nor a remembered story does."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bot.app import load_bot
from bot.assistant.loader import load_assistant
from bot.learning import train
from bot.rasa.project import examine_project
from bot.settings import Settings, load_settings
from bot.story_lessons import learn_policy, policy_settings
from bot.story_policy import learned_policies
from bot.turns import Bot
from models.policy import POLICY_KIND, POLICY_ONNX
from models.registry import Registry
from tests.dialogue import Conversation
from training.policy_data import PolicySettings

DOMAIN = """
version: "3.1"
intents: [greet, order, complain, thank, bye]
responses:
  utter_hello: [{text: Hello}]
  utter_what: [{text: What shall it be?}]
  utter_sorry: [{text: I am sorry}]
  utter_welcome: [{text: You are welcome}]
  utter_bye: [{text: Bye}]
  utter_default: [{text: Sorry?}]
"""
STORIES = """
version: "3.1"
stories:
- story: ordering
  steps:
  - {intent: greet}
  - {action: utter_hello}
  - {intent: order}
  - {action: utter_what}
  - {intent: thank}
  - {action: utter_welcome}
  - {intent: bye}
  - {action: utter_bye}
- story: complaining
  steps:
  - {intent: greet}
  - {action: utter_hello}
  - {intent: complain}
  - {action: utter_sorry}
  - {intent: bye}
  - {action: utter_bye}
- story: at once
  steps:
  - {intent: order}
  - {action: utter_what}
  - {intent: bye}
  - {action: utter_bye}
"""
NLU = """
version: "3.1"
nlu:
- intent: greet
  examples: |
    - hello
    - good morning
    - hi there
- intent: order
  examples: |
    - I want a pizza
    - one salad please
    - can I order soup
- intent: complain
  examples: |
    - this is cold
    - the food was bad
    - I am not happy with it
- intent: thank
  examples: |
    - thanks
    - thank you so much
    - many thanks
- intent: bye
  examples: |
    - bye
    - see you
    - good night
"""
NO_STORY_GOES_SO = ["/complain", "/order", "/bye"]
POLICIES = "{name: MemoizationPolicy}, {name: RulePolicy}, {name: TEDPolicy, max_history: 5}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bot"
    (folder / "data").mkdir(parents=True)
    (folder / "domain.yml").write_text(DOMAIN)
    (folder / "data" / "stories.yml").write_text(STORIES)
    (folder / "data" / "nlu.yml").write_text(NLU)
    (folder / "config.yml").write_text(f"language: en\nassistant_id: trattoria\npolicies: [{POLICIES}]\n")
    (folder / "kefu.yml").write_text("base: ngram\n")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


def registry_of(settings: Settings) -> Registry:
    return Registry(settings.models_dir, "trattoria")


def talk(bot: Bot, messages: list[str]) -> list[tuple[str, str]]:
    """The policy and the first action of each turn."""
    conversation = Conversation(
        replace(
            bot.dialogue,
            assistant=replace(
                bot.dialogue.assistant, brand=replace(bot.dialogue.assistant.brand, disclosure_enabled=False)
            ),
        )
    )
    turns = [conversation.say(message) for message in messages]
    return [(turn.decisions[0].policy, turn.decisions[0].action) for turn in turns]


def test_what_no_story_holds_is_decided_by_what_was_learned_from_them(folder: Path, settings: Settings) -> None:
    told = io.StringIO()
    train(settings, load_assistant(folder, {}), console=Console(file=told, width=200))
    assert "learned from 3 stories" in told.getvalue()
    bot = load_bot(folder, settings)
    assert talk(bot, NO_STORY_GOES_SO) == [
        ("TEDPolicy", "utter_sorry"),
        ("TEDPolicy", "utter_what"),
        ("TEDPolicy", "utter_bye"),
    ]
    assert talk(bot, ["/greet", "/order"]) == [
        ("MemoizationPolicy", "utter_hello"),
        ("MemoizationPolicy", "utter_what"),
    ]


@pytest.mark.parametrize("config", [f"policies: [{POLICIES}, {{name: UnexpecTEDIntentPolicy}}]\n", ""])
def test_it_holds_back_where_no_story_expects_the_intent(
    folder: Path, settings: Settings, tmp_path: Path, config: str
) -> None:
    """With UnexpecTEDIntentPolicy, which Rasa's default policies have too."""
    (folder / "config.yml").write_text("language: en\nassistant_id: trattoria\n" + config)
    learn(folder, settings, tmp_path / "1")
    bot = load_bot(folder, settings)
    assert talk(bot, ["/thank"]) == [("RulePolicy", "action_default_fallback")]
    # An order is followed by a complaint in no story, but each story may follow the end of another.
    said = talk(bot, ["/order", "/bye", "/greet", "/complain", "/thank"])
    assert [policy for policy, _ in said[2:]] == ["TEDPolicy", "TEDPolicy", "RulePolicy"]


def test_without_a_version_rules_and_memories_decide_and_say_so(
    folder: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    bot = load_bot(folder, settings)
    assert "TEDPolicy has not learned from the stories yet" in caplog.text
    assert "kefu train" in caplog.text
    assert talk(bot, NO_STORY_GOES_SO)[0] == ("RulePolicy", "action_default_fallback")


def learn(folder: Path, settings: Settings, scratch: Path, *, force: bool = False) -> str | None:
    return learn_policy(
        load_assistant(folder, {}), registry_of(settings), scratch, lambda *_: None, lambda _: None, force=force
    )


def test_the_same_stories_are_learned_once_and_changed_ones_again(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    first = learn(folder, settings, tmp_path / "1")
    assert first is not None
    assert learn(folder, settings, tmp_path / "2") == first
    (folder / "data" / "nlu.yml").write_text(NLU.replace("- hello", "- hello you"))
    assert learn(folder, settings, tmp_path / "3") == first  # what customers say is none of its business
    (folder / "data" / "stories.yml").write_text(STORIES.replace("action: utter_sorry", "action: utter_welcome"))
    warnings: list[str] = []
    assert learned_policies(load_assistant(folder, {}), registry_of(settings), warnings.append)
    assert "changed since TEDPolicy learned" in warnings[0]
    second = learn(folder, settings, tmp_path / "4")
    assert second not in (None, first)
    assert registry_of(settings).current(POLICY_KIND) == second
    warnings.clear()
    learned_policies(load_assistant(folder, {}), registry_of(settings), warnings.append)
    assert warnings == []


def test_a_damaged_version_does_not_decide_and_is_trained_anew(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    version = learn(folder, settings, tmp_path / "1")
    assert version is not None
    file = registry_of(settings).path(POLICY_KIND, version) / POLICY_ONNX
    file.write_bytes(file.read_bytes()[:-10])
    warnings: list[str] = []
    assert learned_policies(load_assistant(folder, {}), registry_of(settings), warnings.append) == ()
    assert "rules and remembered stories decide" in warnings[0]
    time.sleep(1.1)  # a version is named by its second
    anew = learn(folder, settings, tmp_path / "2")
    assert anew not in (None, version)
    assert len(learned_policies(load_assistant(folder, {}), registry_of(settings), warnings.append)) == 1
    registry_of(settings).current_file(POLICY_KIND).write_text("half a na")
    assert learn(folder, settings, tmp_path / "3") == anew
    assert registry_of(settings).current(POLICY_KIND) == anew


def test_actions_that_left_the_files_are_never_chosen(folder: Path, settings: Settings, tmp_path: Path) -> None:
    learn(folder, settings, tmp_path / "1")
    for name in ("domain.yml", "data/stories.yml"):
        path = folder / name
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if "utter_sorry" not in line))
    (policy, action), *_ = talk(load_bot(folder, settings), ["/complain"])
    assert (policy, action) != ("TEDPolicy", "utter_sorry")


@pytest.mark.parametrize("config", ["policies: [{name: MemoizationPolicy}]\n", "policies: [{name: RulePolicy}]\n"])
def test_who_does_not_ask_for_it_gets_none(folder: Path, settings: Settings, tmp_path: Path, config: str) -> None:
    (folder / "config.yml").write_text("language: en\nassistant_id: trattoria\n" + config)
    assert learn(folder, settings, tmp_path / "1") is None
    warnings: list[str] = []
    assert learned_policies(load_assistant(folder, {}), registry_of(settings), warnings.append) == ()
    assert warnings == []


def test_settings_are_those_of_ted_and_malformed_ones_change_nothing() -> None:
    ted = {"max_history": 7, "epochs": 20, "random_seed": 3, "constrain_similarities": True}
    assert policy_settings(ted) == PolicySettings(**ted)
    assert policy_settings({"max_history": -1, "epochs": "many", "constrain_similarities": 1}) == PolicySettings()


def test_ted_is_reported_as_mapped_and_no_warning_is_given(folder: Path) -> None:
    (folder / "config.yml").write_text(
        "language: en\nassistant_id: trattoria\npipeline: []\n"
        "policies: [{name: TEDPolicy, max_history: 5, epochs: 3}, {name: RulePolicy}]\n"
    )
    assert not [w for w in load_assistant(folder, {}).warnings if "TED" in w.message]
    report = str(examine_project(folder, {}))
    assert "learns from the stories in its place" in report


def test_serving_does_not_import_pytorch(folder: Path, settings: Settings, tmp_path: Path) -> None:
    learn(folder, settings, tmp_path / "1")
    code = (
        "import sys; from pathlib import Path; from bot.app import load_bot; from bot.settings import load_settings\n"
        f"bot = load_bot(Path({str(folder)!r}), load_settings(home=Path({str(settings.home)!r})))\n"
        "assert bot.dialogue.policies.learned, 'no policy'\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


# ---- end-to-end stories: the customer's words and the bot's, without intents and actions ----

END_TO_END = """
version: "3.1"
stories:
- story: cold food
  steps:
  - {intent: greet}
  - {action: utter_hello}
  - {user: "my soup is cold"}
  - {bot: "How awful! A new one comes at once."}
  - {user: "that is kind of you"}
  - {action: utter_welcome}
- story: a table
  steps:
  - {user: "is there a free table on the terrace"}
  - {bot: "Follow me to the terrace."}
  - {intent: bye}
  - {action: utter_bye}
- story: allergy
  steps:
  - {user: "are there nuts in the cake"}
  - {bot: "The cake is free of nuts."}
  - {intent: bye}
  - {action: utter_bye}
"""


def test_end_to_end_stories_are_learned_and_answered_in_their_words(folder: Path, settings: Settings) -> None:
    """Neither the texts nor an intent for them stands in nlu.yml; the model reads each as something it knows."""
    (folder / "data" / "end_to_end.yml").write_text(END_TO_END)
    train(settings, load_assistant(folder, {}), console=Console(file=io.StringIO(), width=200))
    bot = load_bot(folder, settings)

    def decide(*said: tuple[str, str]) -> list[tuple[str, str]]:
        conversation = Conversation(bot.dialogue)
        return [
            (outcome.decisions[0].policy, outcome.messages[-1].body["text"])
            for text, intent in said
            for outcome in [conversation.say(text, intent)]
        ]

    assert decide(("hello", "greet"), ("oh, my soup is cold", "complain"), ("that is so kind of you", "thank"))[1:] == [
        ("TEDPolicy", "How awful! A new one comes at once."),
        ("TEDPolicy", "You are welcome"),
    ]
    assert decide(("is a table on the terrace free", "order")) == [("TEDPolicy", "Follow me to the terrace.")]
    assert decide(("does the cake have nuts in it", "order"), ("bye then", "bye")) == [
        ("TEDPolicy", "The cake is free of nuts."),
        ("TEDPolicy", "Bye"),
    ]
    # What no end-to-end story speaks of goes by its intent.
    assert decide(("a large salad please", "order")) == [("MemoizationPolicy", "What shall it be?")]
