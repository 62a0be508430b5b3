"""The reports of labelled messages are those that Rasa 3.6.21 wrote of the same readings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import classification_report as sklearn_report  # type: ignore[import-untyped]

from bot.assistant.nlu_data import IntentExample
from bot.errors import AssistantError, Where
from bot.testing.measures import classification_report, confusions, with_confusions
from bot.testing.nlu import Answer, answer_of, write_nlu_reports
from bot.testing.run import read_examples
from training.annotations import EntitySpan

RASA = Path(__file__).parents[1] / "rasa"
RESULTS = RASA / "tested_results"
PARSES: dict[str, dict[str, Any]] = json.loads((RESULTS / "parses.json").read_text(encoding="utf-8"))
REPORTS = (
    "intent_report.json",
    "intent_errors.json",
    "intent_successes.json",
    "RegexEntityExtractor_report.json",
    "RegexEntityExtractor_errors.json",
    "RegexEntityExtractor_successes.json",
)


def answers() -> list[Answer]:
    examples = read_examples(RASA / "tested" / "tests" / "test_nlu.yml")
    return [answer_of(example, PARSES[example.text]) for example in examples]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def assert_alike(ours: Any, theirs: Any) -> None:
    """Equal, figures to twelve digits."""
    if isinstance(theirs, Mapping):
        assert set(ours) == set(theirs)
        for key, value in theirs.items():
            assert_alike(ours[key], value)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-12)
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", REPORTS)
def test_the_report_is_rasas(tmp_path: Path, name: str) -> None:
    write_nlu_reports(answers(), tmp_path, successes=True, pictures=False)
    assert_alike(load(tmp_path / name), load(RESULTS / name))


def test_every_picture_of_rasa_is_there(tmp_path: Path) -> None:
    write_nlu_reports(answers(), tmp_path)
    pictures = {file.name for file in tmp_path.glob("*.png")}
    assert pictures == {
        "intent_confusion_matrix.png",
        "intent_histogram.png",
        "RegexEntityExtractor_confusion_matrix.png",
    }


def test_the_figures_are_the_reports(tmp_path: Path) -> None:
    figures = write_nlu_reports(answers(), tmp_path, pictures=False)
    assert figures.n == 8
    assert figures.intent_accuracy == pytest.approx(7 / 8)
    assert figures.entity_f1 == {"RegexEntityExtractor": pytest.approx(7 / 9)}
    assert figures.response_accuracy is None


def test_errors_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    write_nlu_reports(answers(), tmp_path, pictures=False)
    assert (tmp_path / "intent_errors.json").exists()
    write_nlu_reports([a for a in answers() if a.intent == a.predicted], tmp_path, pictures=False)
    assert not (tmp_path / "intent_errors.json").exists()


def example(text: str, intent: str, response: str | None = None, *spans: EntitySpan) -> IntentExample:
    where = Where(file=Path("nlu.yml"), line=1)
    return IntentExample(text=text, intent=intent, entities=spans, language="en", where=where, response=response)


def test_a_fallback_does_not_hide_what_was_read() -> None:
    ranking = [{"name": "nlu_fallback", "confidence": 0.4}, {"name": "greet", "confidence": 0.35}]
    answer = answer_of(example("hm", "greet"), {"intent": ranking[0], "intent_ranking": ranking})
    assert (answer.predicted, answer.confidence) == ("greet", 0.35)


def test_values_that_no_example_taught_are_left_out() -> None:
    found = [{"entity": "time", "start": 0, "end": 5, "value": "x", "extractor": "DucklingEntityExtractor"}]
    answer = answer_of(example("today", "when"), {"intent": {"name": "when"}, "entities": found})
    assert answer.predicted_entities == ()


def test_selected_responses_have_reports_of_their_own(tmp_path: Path) -> None:
    def answered(text: str, meant: str, said: str) -> Answer:
        response = {"response": {"intent_response_key": said, "confidence": 0.9}}
        parse = {"intent": {"name": "faq", "confidence": 1.0}, "response_selector": {"faq": response}}
        return answer_of(example(text, "faq", meant), parse)

    given = [answered("a", "faq/hours", "faq/hours"), answered("b", "faq/price", "faq/hours")]
    figures = write_nlu_reports(given, tmp_path, successes=True, pictures=False)
    assert figures.response_accuracy == 0.5
    assert figures.intent_accuracy is None
    assert load(tmp_path / "response_selection_errors.json") == [
        {
            "text": "b",
            "intent_response_key_target": "faq/price",
            "intent_response_key_prediction": {"name": "faq/hours", "confidence": 0.9},
        }
    ]
    assert load(tmp_path / "response_selection_report.json")["faq/price"]["confused_with"] == {"faq/hours": 1}


def test_roles_and_groups_are_part_of_the_name_and_chinese_counts_by_character(tmp_path: Path) -> None:
    text = "从北京到上海"
    spans = (
        EntitySpan(start=1, end=3, entity="city", value="北京", role="from"),
        EntitySpan(start=4, end=6, entity="city", value="上海", role="to", group="1"),
    )
    found = [
        {"entity": "city", "role": "from", "start": 1, "end": 3, "extractor": "T", "confidence_entity": 0.9},
        {"entity": "city", "role": "to", "start": 4, "end": 6, "extractor": "T", "confidence_entity": 0.8},
    ]
    answer = answer_of(example(text, "travel", None, *spans), {"intent": {"name": "travel"}, "entities": found})
    write_nlu_reports([answer], tmp_path)
    report = load(tmp_path / "T_report.json")
    assert (report["city.from"]["support"], report["city.from"]["f1-score"]) == (2, 1.0)
    assert (report["city.1.to"]["support"], report["city.1.to"]["f1-score"]) == (2, 0.0)
    assert report["city.1.to"]["confused_with"] == {"city.to": 2}
    assert (tmp_path / "T_histogram.png").exists()


def test_a_report_over_names_that_were_all_meant_is_scikit_learns() -> None:
    targets, predicted = ["a", "b", "b", "c"], ["a", "b", "c", "c"]
    ours = classification_report(targets, predicted)
    theirs = sklearn_report(targets, predicted, output_dict=True)
    assert_alike({key: ours[key] for key in theirs}, theirs)
    assert ours["micro avg"]["precision"] == ours["accuracy"] == 0.75


def test_nothing_meant_is_an_empty_report() -> None:
    assert classification_report(["no_entity"], ["drink"], exclude="no_entity") == {}


def test_confusions_are_told_from_the_most_frequent() -> None:
    targets, predicted = ["a"] * 6, ["a", "b", "b", "c", "c", "c"]
    report = with_confusions(classification_report(targets, predicted), *confusions(targets, predicted))
    assert list(report["a"]["confused_with"].items()) == [("c", 3), ("b", 2)]


def test_messages_with_two_intents_are_not_read_as_one(tmp_path: Path) -> None:
    nlu = 'version: "3.1"\nnlu:\n- intent: a\n  examples: |\n    - hello\n'
    for name in ("nlu_en.yml", "several_en.yml"):
        (tmp_path / name).write_text(nlu)
    assert len(read_examples(tmp_path)) == 1
    (tmp_path / "broken.yml").write_text("nlu:\n- intnt: a\n")
    with pytest.raises(AssistantError, match=r"broken\.yml:2"):
        read_examples(tmp_path)
