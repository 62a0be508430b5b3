"""Figures against scikit-learn, calibration against data made miscalibrated, the gate against known differences."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import f1_score, roc_auc_score

from models.base import Entity, IntentScore, Understanding
from models.heads import Features, softmax
from models.scope import ScopeScorer, Standard, energy, scorer_from, signals
from training.dataset import EntityValue, Utterance
from training.evaluate import Judged, sum_up
from training.fit import fit_temperature, log_loss
from training.gate import decide, first_version, paired_bootstrap
from training.parts import judge_entities
from training.scope import fit_gaussians
from training.scores import calibration_error, calibration_error_by_chance, macro_f1, out_of_scope_auroc

RNG = np.random.default_rng(0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    predicted, targets = (np.array(side) for side in zip(*pairs, strict=True))
    assert macro_f1(predicted, targets) == pytest.approx(f1_score(targets, predicted, average="macro", zero_division=0))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_auroc_is_scikit_learns_ties_included(inside: list[int], outside: list[int]) -> None:
    expected = roc_auc_score([0] * len(inside) + [1] * len(outside), inside + outside)
    got = out_of_scope_auroc(np.array(inside, dtype=np.float32), np.array(outside, dtype=np.float32))
    assert got == pytest.approx(expected)


def test_calibration_error_of_known_gaps() -> None:
    confidence = np.array([0.9] * 10 + [0.51] * 10, dtype=np.float32)
    right = np.array([True] * 9 + [False] + [True] * 10)
    assert calibration_error(confidence, right) == pytest.approx((0.0 * 10 + 0.49 * 10) / 20, abs=1e-6)


def test_few_answers_show_a_calibration_error_without_any_fault() -> None:
    confidence = RNG.uniform(0.4, 1, 6000).astype(np.float32)
    right = RNG.random(6000) < confidence
    few, many = calibration_error_by_chance(confidence[:300]), calibration_error_by_chance(confidence)
    assert 0.03 < few < 0.09
    assert many < 0.02
    assert calibration_error(confidence, right) == pytest.approx(many, abs=0.01)
    assert calibration_error(confidence, np.ones(6000, dtype=bool)) > 10 * many
    thrice = calibration_error_by_chance(np.tile(confidence[:300], 3), repeats=3)
    assert thrice == pytest.approx(few, abs=0.01)  # the same texts read by three models are no new luck


def test_temperature_undoes_overconfidence() -> None:
    honest = RNG.normal(0, 2, (4000, 5)).astype(np.float32)
    targets = np.array([RNG.choice(5, p=row / row.sum()) for row in softmax(honest).astype(np.float64)])
    assert fit_temperature(honest * 3, targets) == pytest.approx(3, rel=0.08)
    assert log_loss(honest, targets) < log_loss(honest * 3, targets)


def test_probabilities_sum_to_one_even_for_huge_logits() -> None:
    out = softmax(np.array([[1e4, 0, -1e4], [0, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-6)


def test_energy_is_minus_the_log_of_the_sum_of_exponentials() -> None:
    logits = np.array([[0.0, 0.0], [1000.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(energy(logits), [-np.log(2), -1000], rtol=1e-5)


def test_scope_score_rises_away_from_the_training_messages_and_survives_storing() -> None:
    known = np.vstack([RNG.normal([4, 0, 0], 0.5, (60, 3)), RNG.normal([0, 4, 0], 0.5, (60, 3))]).astype(np.float32)
    gaussians = fit_gaussians(known, np.repeat([0, 1], 60))
    claims = np.repeat([[4.0, 0.0], [0.0, 4.0]], 60, axis=0).astype(np.float32)
    scorer = ScopeScorer(
        in_scope=np.array([0, 1]),
        gaussians=gaussians,
        standards=tuple(Standard.of(one) for one in signals(claims, known, gaussians)),
    )
    dense = np.array([[4, 0, 0], [0, 0, 9]], dtype=np.float32)
    logits = np.array([[4.0, 0.0, 9.0], [0.1, 0.0, 9.0]], dtype=np.float32)  # the third is the out-of-scope intent's
    inside, outside = scorer.score(logits, Features(dense=dense, sparse=[]))
    assert outside > inside + 3
    again = scorer_from(scorer.arrays()).score(logits, Features(dense=dense, sparse=[]))
    np.testing.assert_allclose(again, [inside, outside], rtol=5e-2)


def judged(right: list[bool], language: str = "en", start: int = 0) -> list[Judged]:
    return [
        Judged(
            text=f"{language} {start + i}",
            label="a",
            language=language,
            predicted="a" if ok else "b",
            confidence=0.8,
            out_of_scope_score=float(i),
        )
        for i, ok in enumerate(right)
    ]


def test_report_sums_up_by_intent_and_language() -> None:
    report = sum_up(judged([True, True, False, True]) + judged([False], "zh"), judged([False] * 3, "xx", 100))
    assert (report.n, report.accuracy) == (5, 0.6)
    languages = {s.name: (s.accuracy, s.n) for s in report.slices if s.dimension == "language"}
    assert languages == {"en": (0.75, 4), "zh": (0.0, 1)}
    assert report.confusions == (("a", "b", 2),)
    by_label = {score.label: score for score in report.by_label}
    assert (by_label["a"].recall, by_label["a"].precision, by_label["a"].n) == (0.6, 1.0, 5)
    assert by_label["b"].f1 == 0
    assert report.oos_auroc is not None
    assert sum_up(judged([True])).oos_auroc is None


def test_texts_read_by_several_models_count_once_in_the_interval() -> None:
    once, thrice = sum_up(judged([True, False] * 20)), sum_up(judged([True, False] * 20) * 3, repeats=3)
    assert (thrice.n, thrice.low, thrice.high) == (once.n, once.low, once.high)
    assert sum_up(judged([True, False] * 60)).low > once.low


def test_an_equal_challenger_is_promoted() -> None:
    answers = judged([i % 5 > 0 for i in range(200)])
    verdict = decide({"intent": answers}, {"intent": answers})
    assert verdict.is_promoted
    assert verdict.slices[0].difference == 0
    assert verdict.slices[0].p_worse == 1


def test_a_clearly_worse_challenger_is_kept_out_and_the_table_says_so() -> None:
    champion = judged([True] * 180 + [False] * 20)
    challenger = judged([True] * 150 + [False] * 50)
    verdict = decide({"intent": champion}, {"intent": challenger})
    assert not verdict.is_promoted
    assert "worse on intent" in verdict.reason
    assert verdict.slices[0].high < 0
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(verdict.table())
    assert "-15.0" in console.export_text()
    assert decide({"intent": challenger}, {"intent": champion}).is_promoted


def test_entities_are_judged_by_message_and_a_challenger_that_loses_them_is_kept_out() -> None:
    lamp = Utterance(
        text="a lamp, another lamp",
        label="stock_check",
        entities=(EntityValue(entity="product", text="lamp", value="lamp", start=2, end=6),),
    )
    plain = Utterance(text="hello", label="greet")

    def judged_spans(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> list[Judged]:
        read = [
            understood(tuple(Entity(entity="product", value="x", start=start, end=end) for start, end in spans))
            for spans in (first, second)
        ]
        return list(judge_entities([lamp, plain], read))

    def verdicts(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> list[bool]:
        return [one.is_right for one in judged_spans(first, second)]

    assert verdicts([(2, 6)], []) == [True, True]
    for wrong in ([], [(0, 6)], [(16, 20)], [(2, 6), (16, 20)]):
        assert verdicts(wrong, []) == [False, True]
    assert verdicts([(2, 6)], [(0, 5)]) == [True, False]  # one that was made up
    assert judge_entities([plain], [understood(())]) == ()
    champion, challenger = judged_spans([(2, 6)], []), judged_spans([], [])
    verdict = decide({"entities": champion * 50}, {"entities": champion * 45 + challenger * 5})
    assert not verdict.is_promoted
    assert "worse on entities" in verdict.reason


def understood(entities: tuple[Entity, ...]) -> Understanding:
    return Understanding(
        text="",
        ranking=(IntentScore(name="greet", confidence=1.0),),
        out_of_scope_score=0.0,
        is_out_of_scope=False,
        sentiment="neutral",
        sentiment_confidence=1.0,
        language="en",
        model_version="v",
        entities=entities,
    )


def test_a_few_flips_on_a_small_set_do_not_stop_a_challenger() -> None:
    champion = judged([True] * 95 + [False] * 5)
    challenger = judged([False] * 3 + [True] * 95 + [False] * 2)
    assert decide({"intent": champion}, {"intent": challenger}).is_promoted


def test_a_loss_in_one_language_is_not_hidden_by_a_gain_in_the_other() -> None:
    champion = judged([True] * 80 + [False] * 20) + judged([True] * 80 + [False] * 20, "zh")
    challenger = judged([True] * 100) + judged([True] * 65 + [False] * 35, "zh")
    verdict = decide({"intent": champion}, {"intent": challenger})
    assert not verdict.is_promoted
    assert [row.name for row in verdict.slices if row.is_worse] == ["intent zh"]


def test_thin_slices_are_not_judged_alone() -> None:
    champion = judged([True] * 100) + judged([True] * 29, "zh")
    challenger = judged([True] * 100) + judged([False, False] + [True] * 27, "zh")
    verdict = decide({"intent": champion}, {"intent": challenger})
    assert [row.name for row in verdict.slices] == ["intent", "intent en"]
    assert verdict.is_promoted


def test_models_judged_on_different_texts_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same texts"):
        decide({"intent": judged([True])}, {"intent": judged([True], "zh")})


def test_the_gate_is_deterministic() -> None:
    champion, challenger = judged([i % 7 > 0 for i in range(90)]), judged([i % 8 > 0 for i in range(90)])
    assert decide({"intent": champion}, {"intent": challenger}) == decide({"intent": champion}, {"intent": challenger})


def test_bootstrap_keeps_its_level_when_nothing_differs() -> None:
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(400):
        champion, challenger = rng.random((2, 300)) < 0.85
        rejected += paired_bootstrap(champion, challenger, rng)[0] <= 0.05
    assert 0.02 <= rejected / 400 <= 0.09


def test_the_first_version_has_nothing_to_beat() -> None:
    assert first_version().is_promoted
