"""What another policy would have been worth, from showings that were logged with their probabilities. Pure numbers.

Invariant: no estimate without its interval, and none without saying how much of the other policy the log can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.answers.suggest import Evidence, Floats, RankingPolicy, Shown

DRAWS = 1000
"""Of the bootstrap."""
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class Showing:
    """One time that things were shown, and what came of each place; `group`: showings that hang together."""

    group: str
    candidates: Sequence[Evidence]
    shown: Sequence[Shown]
    rewards: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Value:
    """Rewards a showing: what the log has, and what the other policy would have had by both estimators.

    Attributes:
        n: showings.
        coverage: mean weight of the first places. About 1 where the log shows what the other policy would show often
            enough; what is missing to 1 was never tried, and nothing is known about it.
        effective_n: showings that would tell as much if the policies were the same (Kish).
    """

    n: int
    logged: Interval
    ips: Interval
    snips: Interval
    coverage: float
    effective_n: float


def weights(showing: Showing, policy: RankingPolicy) -> Floats:
    """(places,) How much more often the policy would have filled this place and those before it so.

    Unbiased where what a customer does with a place depends on no later one. Source: Precup et al. 2000 (per-decision
    importance sampling), McInerney et al. 2020 (the same for rankings).
    """
    places = [each.place for each in showing.shown]
    ratios = [
        policy.probabilities(showing.candidates, places[:number])[each.place] / each.propensity
        for number, each in enumerate(showing.shown)
    ]
    return np.cumprod(ratios)


def evaluate(showings: Sequence[Showing], policy: RankingPolicy, rng: np.random.Generator, draws: int = DRAWS) -> Value:
    """Raises ValueError where there are no showings."""
    if not showings:
        raise ValueError("nothing was shown yet")
    width = max(len(each.shown) for each in showings)
    weighed, rewards, is_filled = np.zeros((3, len(showings), width))
    for row, each in enumerate(showings):
        weighed[row, : len(each.shown)] = weights(each, policy)
        rewards[row, : len(each.shown)] = each.rewards
        is_filled[row, : len(each.shown)] = 1
    groups = np.unique([each.group for each in showings], return_inverse=True)[1]
    # (groups, 4, width): all estimates are functions of these sums.
    parts = np.stack([rewards, weighed * rewards, weighed, is_filled], axis=1)
    sums = np.zeros((groups.max() + 1, 4, width))
    np.add.at(sums, groups, parts)
    resampled = _estimates(*_resampled(sums, np.bincount(groups), rng, draws))
    found = _estimates(sums.sum(axis=0)[None], np.array([float(len(showings))]))
    logged, ips, snips = (_interval(found[name][0], resampled[name]) for name in ("logged", "ips", "snips"))
    first = weighed[:, 0]
    return Value(
        n=len(showings),
        logged=logged,
        ips=ips,
        snips=snips,
        coverage=float(first.mean()),
        effective_n=float(first.sum() ** 2 / max(float((first**2).sum()), 1e-12)),
    )


def _resampled(sums: Floats, sizes: NDArray[np.intp], rng: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
    """(draws, 4, width) and (draws,): the sums, and the showings, of groups drawn with replacement."""
    flat = np.column_stack([sums.reshape(len(sums), -1), sizes])
    even = np.full(len(flat), 1 / len(flat))
    drawn: Floats = np.stack([rng.multinomial(len(flat), even).astype(float) @ flat for _ in range(draws)])
    return drawn[:, :-1].reshape(draws, *sums.shape[1:]), drawn[:, -1]


def _estimates(sums: Floats, n: Floats) -> dict[str, Floats]:
    """(draws, 4, width) sums and (draws,) showings → (draws,) each estimate."""
    rewards, weighed, total, filled = np.moveaxis(sums, 1, 0)
    # Self-normalised place by place (Swaminathan & Joachims 2015); a place without any weight tells nothing.
    a_place = np.divide(weighed, total, out=np.zeros_like(weighed), where=total > 0) * filled
    return {"logged": rewards.sum(axis=1) / n, "ips": weighed.sum(axis=1) / n, "snips": a_place.sum(axis=1) / n}


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.quantile(draws, QUANTILES)
    return Interval(value=float(value), low=float(low), high=float(high))
