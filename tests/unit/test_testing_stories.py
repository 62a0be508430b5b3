"""Test stories go as in Rasa: the reports are those that Rasa 3.6.21 wrote of the same project.

tests/rasa/tested is the project, tests/rasa/tested_results what `rasa test` made of it, with `parses.json`: what Rasa's
own pipeline read in every message, so that only the dialogue and the reports are compared here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bot.assistant.loader import load_assistant
from bot.dialogue.manager import compile_assistant
from bot.dialogue.predictions import Prediction
from bot.dialogue.states import RuleOnly
from bot.dialogue.tracker import Tracker
from bot.errors import AssistantError
from bot.testing.play import TRIPPED, MessageStep, StoryResult, play_story
from bot.testing.stories import read_test_stories, story_files
from bot.testing.story_reports import action_figures, stories_yaml, story_report, write_story_reports

RASA = Path(__file__).parents[1] / "rasa"
PROJECT, RESULTS = RASA / "tested", RASA / "tested_results"
ASSISTANT = load_assistant(PROJECT, {})
POLICIES = compile_assistant(ASSISTANT).policies
PARSES: dict[str, dict[str, Any]] = json.loads((RESULTS / "parses.json").read_text(encoding="utf-8"))


async def parse(text: str) -> Mapping[str, Any]:
    return PARSES[text]


async def play(files: list[Path] | None = None) -> list[StoryResult]:
    stories = read_test_stories(files or story_files(PROJECT / "tests"), ASSISTANT.domain)
    place = "tests/test_stories.yml"
    return [await play_story(story, POLICIES, ASSISTANT.domain, parse, place) for story in stories]


async def play_text(tmp_path: Path, text: str) -> StoryResult:
    file = tmp_path / "test_one.yml"
    file.write_text(f'version: "3.1"\nstories:\n- story: one\n  steps:\n{text}', encoding="utf-8")
    [result] = await play([file])
    return result


async def test_the_story_report_is_rasas() -> None:
    rasas = json.loads((RESULTS / "story_report.json").read_text(encoding="utf-8"))
    ours = story_report(await play())
    assert set(ours) == set(rasas)
    for name, row in rasas.items():
        assert ours[name] == pytest.approx(row), name


def read_stories(text: str) -> list[dict[str, Any]]:
    document = YAML(typ="safe").load(text)
    return list(document["stories"])


async def test_passed_stories_are_written_as_rasa_writes_them(tmp_path: Path) -> None:
    write_story_reports(await play(), tmp_path, successes=True, pictures=False)
    for name in ("successful_test_stories.yml", "stories_with_warnings.yml"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (RESULTS / name).read_text(encoding="utf-8")


async def test_failed_stories_are_rasas_and_tell_what_rasa_leaves_out() -> None:
    """Rasa drops an entity that was not found and says nothing about one of another value; both are told here."""
    ours = stories_yaml([result for result in await play() if not result.passed])
    rasas = (RESULTS / "failed_test_stories.yml").read_text(encoding="utf-8")
    told = rasas.replace("    entities: []\n", "    entities:\n    - drink: cola\n").replace(
        "  - intent: inform\n    entities:\n    - drink: espresso",
        "  - intent: inform  # predicted: inform: please a [coffee](drink), [large](size)\n"
        "    entities:\n    - drink: espresso",
    )
    assert ours == told


async def test_every_file_of_rasa_is_there(tmp_path: Path) -> None:
    write_story_reports(await play(), tmp_path, successes=True)
    files = {file.name for file in tmp_path.iterdir()}
    named = {"story_report.json", "failed_test_stories.yml", "stories_with_warnings.yml", "successful_test_stories.yml"}
    assert files == named | {"story_confusion_matrix.png"}
    assert (tmp_path / "story_confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


async def test_without_failures_rasas_sentence_stands_there(tmp_path: Path) -> None:
    passed = [result for result in await play() if result.passed]
    write_story_reports(passed, tmp_path, pictures=False)
    assert (tmp_path / "failed_test_stories.yml").read_text() == "# None of the test stories failed - all good!"
    assert not (tmp_path / "successful_test_stories.yml").exists()


async def test_actions_are_counted_with_the_share_that_no_model_decided() -> None:
    assert action_figures(await play()) == (42, 48, 1.0)


async def test_the_story_goes_on_as_written_after_an_error(tmp_path: Path) -> None:
    """A wrong action costs itself, not what follows from it."""
    result = await play_text(
        tmp_path,
        """\
  - user: |
      hello
    intent: greet
  - action: utter_bye
  - user: |
      bye
    intent: bye
  - action: utter_bye
""",
    )
    wrong = [(step.expected, step.predicted) for step in result.actions if not step.is_right]
    assert wrong[0] == ("utter_bye", "action_look_up_guest")
    assert (result.actions[-2].expected, result.actions[-2].is_right) == ("utter_bye", True)


async def test_a_form_that_the_story_leaves_must_have_declined(tmp_path: Path) -> None:
    leaving = """\
  - intent: order
  - action: drink_form
  - active_loop: drink_form
  - intent: stop
  - action: utter_sure
"""
    result = await play_text(tmp_path, leaving)
    assert [step.predicted for step in result.actions] == ["drink_form", "action_listen", "utter_sure", "action_listen"]


async def test_an_intent_without_words_is_not_read(tmp_path: Path) -> None:
    result = await play_text(tmp_path, "  - intent: bye\n  - action: utter_bye\n")
    assert result.passed
    assert result.messages[0].predicted_intent == "bye"


async def test_ten_actions_without_a_message_trip_the_breaker(tmp_path: Path) -> None:
    result = await play_text(tmp_path, "  - intent: bye\n" + "  - action: utter_bye\n" * 11)
    assert result.actions[10].predicted == TRIPPED


async def test_values_count_and_the_order_and_repetition_of_entities_do_not() -> None:
    def step(*entities: Mapping[str, Any]) -> MessageStep:
        [found] = [s for r in results for s in r.messages if s.said.text == "tea please"]
        return replace(found, predicted_entities=entities)

    results = await play()
    tea = {"text": "tea please", "start": 0, "end": 3, "entity": "drink", "value": "tea"}
    assert step(tea, tea).is_right
    assert not step({**tea, "value": "green tea"}).is_right
    assert not step({**tea, "end": 4}).is_right
    assert not step().is_right


async def test_a_policy_that_doubts_the_intent_is_asked_again_and_warns(tmp_path: Path) -> None:
    class Doubting:
        """Predicts that the intent is unlikely until it has said so."""

        def predict(self, tracker: Tracker, rule_only: RuleOnly) -> Prediction:
            doubts = tracker.situation.latest_action == "action_listen"
            scores = {"action_unlikely_intent": 1.0} if doubts else {"utter_bye": 0.9}
            return Prediction(policy="Doubting", priority=9, scores=scores)

    file = tmp_path / "test_one.yml"
    steps = "  - intent: bye\n  - action: utter_bye\n"
    file.write_text(f'version: "3.1"\nstories:\n- story: one\n  steps:\n{steps}')
    [story] = read_test_stories([file], ASSISTANT.domain)
    policies = replace(POLICIES, memories=(), learned=(Doubting(),))
    result = await play_story(story, policies, ASSISTANT.domain, parse, "x")
    assert result.actions[0].was_unlikely
    assert result.actions[0].is_right
    assert action_figures([result])[2] == 0.0
    assert "- action: utter_bye  # predicted: action_unlikely_intent" in stories_yaml([result])


def test_only_files_named_as_rasa_wants_them_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "deep"
    folder.mkdir(parents=True)
    for name in ("test_a.yml", "other.yml"):
        shutil.copy(PROJECT / "tests" / "test_stories.yml", folder / name)
    shutil.copy(PROJECT / "tests" / "test_nlu.yml", folder / "test_nlu.yml")
    assert [file.name for file in story_files(tmp_path / "tests")] == ["test_a.yml"]
    assert story_files(folder / "other.yml") == [folder / "other.yml"]
    with pytest.raises(AssistantError, match="no such file"):
        story_files(tmp_path / "absent")


def test_a_file_that_cannot_be_read_says_where(tmp_path: Path) -> None:
    file = tmp_path / "test_x.yml"
    file.write_text("stories:\n- story: x\n  steps:\n  - act: y\n")
    with pytest.raises(AssistantError, match=r"test_x\.yml:4"):
        read_test_stories([file], ASSISTANT.domain)
