"""Suggestions: the evidence, the probabilities of a ranking, and what the log says of another one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answers.suggest import (
    Evidence,
    RankingPolicy,
    Shown,
    about,
    goes_with,
    popularity,
    showing_from,
    showing_json,
    taken_together,
)
from bot.answers.suggest_value import Showing, evaluate, weights

SHARES = st.floats(0, 1)
CANDIDATES = st.lists(
    st.builds(
        Evidence, id=st.uuids().map(str), kind=st.sampled_from(["", "lamp", "rug"]), asked=SHARES, together=SHARES,
        popular=SHARES,
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip
POLICIES = st.builds(RankingPolicy, asked=SHARES, together=SHARES, popular=SHARES, diversity=SHARES, explore=SHARES)


# ---- evidence ----


def test_a_message_is_about_what_it_is_nearer_to_than_messages_are() -> None:
    usual = np.array([[0.80, 0.70], [0.82, 0.72], [0.78, 0.68]])
    strength, message = about(np.array([[0.80, 0.86], [0.99, 0.70]]), usual)
    assert strength[1] > 0.9  # 0.86 is far above what messages have in common with the second thing
    assert 0.6 < strength[0] < 0.7  # so is 0.99 with the first, one message earlier
    assert list(message) == [1, 0]
    assert about(usual[:1], usual)[0].tolist() == [0.0, 0.0]
    assert about(np.zeros((0, 2)), usual)[0].tolist() == [0.0, 0.0]


def test_what_one_customer_took_together_proves_less_than_what_ten_did() -> None:
    few, many = ([{0, 1}, {2}], [{0, 1}] * 10 + [{2}])
    once, often = (goes_with(taken_together(baskets), {0}, 3)[0][1] for baskets in (few, many))
    assert 0 < once < often < 1


def test_what_goes_with_an_order_names_the_surest_of_them() -> None:
    baskets = [{0, 2}, {1, 2}, {1, 2}, {1, 2}, {3}]
    surely, beside = goes_with(taken_together(baskets), {0, 1}, 4)
    assert surely[2] == max(surely)
    assert beside[2] == 1
    assert surely[3] == 0.0
    assert goes_with(taken_together([]), {0}, 4)[0].tolist() == [0, 0, 0, 0]
    assert goes_with(taken_together(baskets), set(), 4)[0].tolist() == [0, 0, 0, 0]


def test_the_most_taken_thing_is_the_most_popular_and_nothing_taken_is_none() -> None:
    assert popularity([{0}, {0, 1}], 3).tolist() == [1.0, pytest.approx(math.log(2) / math.log(3)), 0.0]
    assert popularity([], 2).tolist() == [0.0, 0.0]


# ---- policy ----


@given(candidates=CANDIDATES, policy=POLICIES)
def test_the_probabilities_of_a_place_sum_to_1_and_nothing_comes_twice(
    candidates: Sequence[Evidence], policy: RankingPolicy
) -> None:
    before: list[int] = []
    for _ in candidates:
        chances = policy.probabilities(candidates, before)
        assert chances.sum() == pytest.approx(1)
        assert (chances >= 0).all()
        assert chances[before].sum() == 0
        before.append(int(chances.argmax()))
    assert sorted(before) == list(range(len(candidates)))


@settings(max_examples=30)
@given(candidates=CANDIDATES.filter(lambda found: len(found) <= 4), policy=POLICIES)
def test_the_probabilities_of_all_rankings_sum_to_1(candidates: Sequence[Evidence], policy: RankingPolicy) -> None:
    total = 0.0
    for ranking in itertools.permutations(range(len(candidates)), min(3, len(candidates))):
        total += math.prod(
            policy.probabilities(candidates, ranking[:place])[shown] for place, shown in enumerate(ranking)
        )
    assert total == pytest.approx(1)


@given(candidates=CANDIDATES, policy=POLICIES, seed=st.integers(0, 2**32))
def test_a_ranking_says_its_own_probabilities_and_can_be_drawn_again(
    candidates: Sequence[Evidence], policy: RankingPolicy, seed: int
) -> None:
    shown = policy.rank(candidates, 3, np.random.default_rng(seed))
    assert shown == policy.rank(candidates, 3, np.random.default_rng(seed))
    places = [each.place for each in shown]
    assert len(set(places)) == len(places) == min(3, len(candidates))
    for number, each in enumerate(shown):
        assert each.propensity == policy.probabilities(candidates, places[:number])[each.place] > 0


@given(candidates=CANDIDATES, seed=st.integers(0, 2**32))
def test_without_chance_every_propensity_is_1(candidates: Sequence[Evidence], seed: int) -> None:
    shown = RankingPolicy().rank(candidates, 3, np.random.default_rng(seed))
    assert {each.propensity for each in shown} == {1.0}


def test_the_same_kind_is_not_shown_five_times() -> None:
    lamps = [Evidence(id=f"lamp-{n}", kind="lamp", asked=0.9 - n / 100) for n in range(5)]
    others = [Evidence(id="rug", kind="rug", asked=0.7), Evidence(id="throw", kind="throw", asked=0.65)]
    shown = RankingPolicy().rank([*lamps, *others], 4, np.random.default_rng(0))
    assert [[*lamps, *others][each.place].id for each in shown] == ["lamp-0", "rug", "throw", "lamp-1"]


def test_who_is_unknown_gets_what_many_took() -> None:
    candidates = [Evidence(id=name, kind=name, popular=share) for name, share in (("a", 0.2), ("b", 1.0), ("c", 0.6))]
    assert [each.place for each in RankingPolicy().rank(candidates, 3, np.random.default_rng(0))] == [1, 2, 0]


def test_what_one_customer_said_or_took_is_the_reason_before_what_many_took() -> None:
    policy = RankingPolicy()
    assert policy.why(Evidence(id="a", kind="", asked=0.2, together=0.2, popular=1.0)) == "asked"
    assert policy.why(Evidence(id="a", kind="", asked=0.2, together=0.4, popular=1.0)) == "together"
    assert policy.why(Evidence(id="a", kind="", asked=0.05, together=0.05, popular=0.0)) == "popular"


def test_another_policy_has_another_version_and_the_log_can_be_read_again() -> None:
    policy = RankingPolicy(explore=0.2)
    assert policy.version != RankingPolicy().version == RankingPolicy().version
    candidates = [Evidence(id="a", kind="x", asked=0.25), Evidence(id="b", kind="y", popular=0.5)]
    shown = policy.rank(candidates, 2, np.random.default_rng(0))
    assert showing_from(showing_json(policy, candidates, shown)) == (candidates, shown)


# ---- another policy's worth ----


TARGETS = {"asked": RankingPolicy(popular=0), "popular": RankingPolicy(asked=0)}


def simulated(
    policy: RankingPolicy, n: int, seed: int, names: Sequence[str] = ("popular",)
) -> tuple[list[Showing], dict[str, float]]:
    """Customers who press what they asked about, half as often a place further down; the log of `policy`, and what the
    policies of these names are worth to them (without noise: the chances themselves)."""
    rng = np.random.default_rng(seed)
    showings, true = [], dict.fromkeys(names, 0.0)
    for number in range(n):
        candidates = [
            Evidence(id=str(i), kind=kind, asked=float(rng.random() ** 3), popular=float(rng.random()))
            for i, kind in enumerate(("lamp", "rug", "lamp", "rug", "lamp"))
        ]
        chances = [0.02 + 0.5 * each.asked for each in candidates]
        for name in names:
            ranked = TARGETS[name].rank(candidates, 2, rng)
            true[name] += sum(chances[each.place] / 2**place for place, each in enumerate(ranked)) / n
        shown = policy.rank(candidates, 2, rng)
        rewards = [float(rng.random() < chances[each.place] / 2**place) for place, each in enumerate(shown)]
        showings.append(Showing(group=str(number // 2), candidates=candidates, shown=shown, rewards=rewards))
    return showings, true


def test_the_worth_of_other_policies_is_found_from_the_log_of_this_one() -> None:
    """n = 3000 showings, a third of the places by chance; both estimators' 95 % intervals hold the true value, which
    the logged value is far from, self-normalised no wider than two fifths of it."""
    showings, true = simulated(RankingPolicy(asked=0.5, popular=0.5, explore=0.35), 3000, 3, [*TARGETS])
    for name, target in TARGETS.items():
        value = evaluate(showings, target, np.random.default_rng(0))
        for estimate in (value.ips, value.snips):
            assert estimate.low < true[name] < estimate.high
        assert value.snips.high - value.snips.low < 0.4 * true[name]
        assert not value.logged.low < true[name] < value.logged.high
        assert value.coverage == pytest.approx(1, abs=0.1)
        assert value.n == 3000 > value.effective_n > 300


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """25 logs of 200 showings; 95 % intervals hold it at least 20 times (P < 0.01 where they keep their word)."""
    held = 0
    for seed in range(25):
        showings, true = simulated(RankingPolicy(explore=0.5), 200, seed)
        value = evaluate(showings, TARGETS["popular"], np.random.default_rng(seed), draws=200)
        held += value.snips.low < true["popular"] < value.snips.high
    assert held >= 20


def test_a_policy_judged_by_its_own_log_is_worth_what_the_log_says() -> None:
    policy = RankingPolicy(explore=0.3)
    showings, _ = simulated(policy, 50, seed=1)
    value = evaluate(showings, policy, np.random.default_rng(0))
    assert value.ips == value.logged
    assert value.coverage == pytest.approx(1)
    assert value.effective_n == pytest.approx(50)


def test_what_was_never_tried_shows_in_the_coverage() -> None:
    candidates = [Evidence(id="a", kind="", asked=1.0), Evidence(id="b", kind="", popular=1.0)]
    shown = [Shown(place=0, propensity=1.0)]
    showing = Showing(group="anna", candidates=candidates, shown=shown, rewards=[1.0])
    assert weights(showing, TARGETS["popular"]).tolist() == [0.0]
    value = evaluate([showing], TARGETS["popular"], np.random.default_rng(0))
    assert (value.coverage, value.ips.value, value.snips.value) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="nothing was shown"):
        evaluate([], TARGETS["popular"], np.random.default_rng(0))
