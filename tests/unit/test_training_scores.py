"""Intervals against their definitions, coverage and spans against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.scores import coverage_risk, mean_interval, span_score, wilson_interval


@pytest.mark.parametrize(("rate", "n"), [(0.0, 10), (1.0, 10), (0.5, 40), (0.93, 3080)])
def test_wilsons_interval_is_where_the_score_test_gives_in(rate: float, n: int) -> None:
    for bound in wilson_interval(rate, n):
        if 1e-9 < bound < 1 - 1e-9:
            assert abs(rate - bound) / np.sqrt(bound * (1 - bound) / n) == pytest.approx(1.959964, rel=1e-5)
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_an_interval_over_runs_is_students() -> None:
    mean, low, high = mean_interval([0.90, 0.92, 0.94])
    assert mean == pytest.approx(0.92)
    assert high - mean == pytest.approx(mean - low)
    assert high - mean == pytest.approx(4.3027 * 0.02 / np.sqrt(3), rel=1e-4)


def test_answering_less_costs_coverage_and_buys_accuracy() -> None:
    confidence = np.linspace(0, 1, 200, dtype=np.float32)
    rows = coverage_risk(confidence, confidence > 0.4)
    assert [round(row.coverage, 2) for row in rows] == [1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert [row.n for row in rows] == [200, 190, 180, 160, 140, 120, 100]
    assert rows[0].accuracy == pytest.approx(0.6, abs=0.01)
    assert rows[-1].accuracy == 1.0
    assert rows[-1].threshold == pytest.approx(0.5, abs=0.01)
    assert sorted(row.accuracy for row in rows) == [row.accuracy for row in rows]
    (tied,) = coverage_risk(np.full(50, 0.7, dtype=np.float32), np.array([True] * 50))
    assert (tied.coverage, tied.n) == (1.0, 50)


def test_a_span_counts_only_with_its_exact_ends_and_type() -> None:
    meant = frozenset({(0, 4, "product"), (9, 12, "date")})
    said = frozenset({(0, 4, "product"), (9, 11, "date"), (20, 22, "date")})
    score = span_score("all", [(meant, said), (frozenset(), frozenset())])
    assert (score.precision, score.recall, score.n, score.said) == (1 / 3, 1 / 2, 2, 3)
    assert score.f1 == pytest.approx(0.4)
    assert span_score("none", [(frozenset(), frozenset())]).f1 == 1.0
