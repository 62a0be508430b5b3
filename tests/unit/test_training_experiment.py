"""Experiments with real trainings on small data: seeds, draws, folds, the floor beside; entities, several intents."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from models.base import Entity, IntentScore, Understanding
from models.pretrained import ngram_base
from tests.learning import EXAMPLES, HELD_OUT
from training.dataset import DataError, EntityValue, Utterance
from training.experiment import Experiment, Plan, run_experiment
from training.finetune_understanding import Recipe
from training.parts import entity_report, intents_of, several_report
from training.readers import Corpus
from training.tables import entity_table, experiment_tables, several_table

RECIPE = Recipe(threads=1)


def rows(examples: dict[str, tuple[str, ...]]) -> tuple[Utterance, ...]:
    return tuple(Utterance(text=text, label=label) for label, texts in examples.items() for text in texts)


STRANGE = tuple(Utterance(text=t, label="oos") for t in ("capital of peru", "solve for x", "football score"))
CORPUS = Corpus(train=rows(EXAMPLES), test=rows(HELD_OUT), out_of_scope=STRANGE)


def run(plan: Plan, corpus: Corpus = CORPUS) -> Experiment:
    return run_experiment(corpus, ngram_base(), RECIPE, plan)


def printed(experiment: Experiment, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in experiment_tables(experiment):
        console.print(part)
    return console.export_text()


def test_one_seed_gives_wilsons_interval_and_the_floor_beside() -> None:
    found = run(Plan(baseline=True))
    assert [(r.seed, r.draw, r.fold, r.n_train, r.n_test) for r in found.runs] == [(0, None, None, 40, 20)]
    assert found.report.n == 20
    accuracy = found.figures["accuracy"]
    assert (accuracy.mean, accuracy.low, accuracy.high) == (
        found.report.accuracy,
        found.report.low,
        found.report.high,
    )
    assert found.floor is not None
    assert found.floor.figures["accuracy"].mean == accuracy.mean  # the base is the floor here
    assert found.figures["oos_auroc"].mean > 0.5
    text = printed(found)
    assert "n-grams alone" in text
    assert "seed 0" in text
    assert "Wilson" in text
    assert max(map(len, text.splitlines())) <= 100
    flat = json.loads(json.dumps(found.as_json()))
    assert flat["accuracy"] == accuracy.mean
    assert flat["floor"]["accuracy"] == accuracy.mean
    assert flat["report"]["coverage"][0]["coverage"] == 1.0
    assert len(flat["misses"]) == sum(not ok for ok in [m["label"] == m["predicted"] for m in flat["misses"]])


def test_draws_learn_from_so_many_examples_and_say_their_seeds() -> None:
    found = run(Plan(shots=3, draws=3))
    assert [(r.draw, r.n_train) for r in found.runs] == [(0, 12), (1, 12), (2, 12)]
    assert len({r.accuracy for r in found.runs} | {r.ece for r in found.runs}) > 1  # other draws, other models
    assert found.report.n == 20
    assert found.figures["accuracy"].low is not None
    text = printed(found)
    assert "3 examples a label" in " ".join(text.split())
    assert "seeds 0, 1, 2" in " ".join(text.split())


def test_folds_test_every_row_once_on_a_model_that_did_not_see_it() -> None:
    found = run(Plan(folds=4), replace(CORPUS, test=()))
    assert [(r.fold, r.n_test) for r in found.runs] == [(fold, 10) for fold in range(4)]
    assert all(r.n_train == 30 for r in found.runs)
    assert found.report.n == 40
    # A text that occurs once can be read wrongly; seen in training, every one of these is read rightly.
    assert found.report.accuracy < 1.0
    assert run(Plan(), replace(CORPUS, test=CORPUS.train)).report.accuracy == 1.0


def test_what_train_and_test_share_is_counted_and_said() -> None:
    found = run(Plan(), replace(CORPUS, test=(*CORPUS.test, replace(CORPUS.train[0], text="HELLO"))))
    assert found.shared == 1
    assert "1 test messages stand in the training file too" in " ".join(printed(found).split())


def test_moods_are_measured_by_the_mood_head() -> None:
    train = {
        "0": ("太差了", "非常失望", "难吃", "送餐太慢", "很差"),
        "1": ("太好了", "非常满意", "好吃", "送餐很快", "很好"),
    }
    test = {"0": ("非常差", "太难吃了"), "1": ("非常好吃", "满意")}
    found = run(Plan(task="sentiment"), Corpus(train=rows(train), test=rows(test)))
    assert {score.label for score in found.report.by_label} <= {"negative", "neutral", "positive"}
    assert found.report.accuracy >= 0.75


@pytest.mark.parametrize(
    ("plan", "corpus", "says"),
    [
        (Plan(), replace(CORPUS, test=()), "--test FILE, or --folds"),
        (Plan(folds=5), CORPUS, "leave --test out"),
        (Plan(folds=5, shots=5), CORPUS, "--shots or --folds"),
        (Plan(shots=1), CORPUS, "--shots 2"),
        (Plan(), replace(CORPUS, test=STRANGE), "labels that training lacks: oos"),
    ],
)
def test_a_plan_that_does_not_fit_the_data_is_refused(plan: Plan, corpus: Corpus, says: str) -> None:
    with pytest.raises(DataError, match=says):
        run(plan, corpus)


# ---- parts of a message ----


def understood(text: str, *entities: Entity, language: str = "en") -> Understanding:
    return Understanding(
        text=text,
        ranking=(IntentScore(name="return_item", confidence=1.0),),
        out_of_scope_score=0.0,
        is_out_of_scope=False,
        sentiment="neutral",
        sentiment_confidence=1.0,
        language=language,
        model_version="v",
        entities=entities,
    )


def test_entities_are_scored_by_type_and_language_and_types_nobody_annotated_do_not_count() -> None:
    lamp = EntityValue(entity="product", text="lamp", start=6, end=10)
    day = EntityValue(entity="date", text="昨天", start=0, end=2)
    utterances = [
        Utterance(text="a red lamp", label="x", language="en", entities=(lamp,)),
        Utterance(text="昨天", label="x", language="zh", entities=(day,)),
        Utterance(text="A-1001", label="x", language="en"),
    ]
    answers = [
        understood("a red lamp", Entity(entity="product", value="red lamp", start=2, end=10)),
        understood("昨天", Entity(entity="date", value="昨天", start=0, end=2)),
        understood("A-1001", Entity(entity="order_number", value="A-1001", start=0, end=6)),
    ]
    report = entity_report(utterances, answers)
    assert report is not None
    assert report.all.f1 == 0.5
    assert {score.name: score.f1 for score in report.by_type} == {"product": 0.0, "date": 1.0}
    assert {score.name: score.f1 for score in report.by_language} == {"en": 0.0, "zh": 1.0}
    assert report.misses == (("a red lamp", "product 'lamp'", "product 'red lamp'"),)
    console = Console(width=100, record=True, file=io.StringIO())
    for part in entity_table(report):
        console.print(part)
    assert "product 'red lamp'" in console.export_text()
    assert entity_report(utterances[2:], answers[2:]) is None


def test_several_intents_are_right_only_as_a_set() -> None:
    said = {"ab": {"a", "b"}, "abc": {"a", "b"}, "bd": {"c"}, "a": {"a"}, "b": {"b", "a"}, "a and a": {"a", "b"}}
    report = several_report(
        [
            Utterance(text="ab", label="b+a"),
            Utterance(text="abc", label="a+b+c"),
            Utterance(text="bd", label="b+d"),
            Utterance(text="a and a", label="a"),
        ],
        [Utterance(text="a", label="a"), Utterance(text="b", label="b")],
        lambda texts: [frozenset(said[text]) for text in texts],
    )
    assert (report.n, report.exact, report.any_found) == (3, 1 / 3, 2 / 3)
    assert (report.n_single, report.split_wrongly) == (2, 0.5)
    assert (report.n_tricky, report.tricky_split) == (1, 1.0)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(several_table(report))
    assert "33.3%" in console.export_text()
    assert intents_of(understood("x")) == {"return_item"}
