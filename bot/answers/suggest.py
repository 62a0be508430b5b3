"""What to suggest: how near each thing is to a customer, and which are shown with what probability. Pure numbers.

Three kinds of evidence, each from 0 to 1: what was talked about, what goes with earlier orders, what many take. They
are weighed, and places are filled one after the other: mostly by the best that is left, now and then by chance, so
that the log can say what another policy would have been worth (`suggest_value.py`).

Invariant: the same evidence and the same generator show the same things; the probabilities of a place sum to 1.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Why = Literal["asked", "together", "popular"]
"""What the customer talked about; what others took with what the customer took; what many took."""

MOST_CANDIDATES = 20
"""Things among which places are filled; chance shall not show what nobody would have chosen."""
SHRINKAGE = 3.0
"""Customers who took both by which a pair is doubted: one who did proves little. Koren 2008, section 2.1."""
RECENCY = (1.0, 0.7, 0.5, 0.35)
"""How much the last message counts, the one before it, …; what was said earlier is another matter."""
FROM_SD, SCALE_SD = 2.0, 3.0
"""Standard deviations above what any message has in common with a thing: where being about it begins, and how many more
make it two thirds sure. With multilingual-e5-small "help me choose" stays below 2 with the starter's things; a thing's
own name is at 6."""
PERSONAL_FROM = 0.1
"""Evidence of one customer that is worth naming before that of all."""
LEAST_SD = 0.015
"""Of the cosines of a thing with messages; with fewer nothing would be usual."""


# ---- evidence ----


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Why one thing may be shown. `kind`: things of one kind stand in each other's way."""

    id: str
    kind: str
    asked: float = 0.0
    together: float = 0.0
    popular: float = 0.0


def about(cosines: Floats, usual: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """How much the last messages are about each of N things, and which of them most.

    Args:
        cosines: (M, N), the last message first.
        usual: (K, N), of messages about anything; a thing near all of them is not what this customer means.
    Returns:
        (N,) from 0 to 1, and (N,) the message's number.
    """
    if not len(cosines):
        return np.zeros(cosines.shape[1]), np.zeros(cosines.shape[1], dtype=np.intp)
    mean, spread = (usual.mean(axis=0), usual.std(axis=0)) if len(usual) else (0.0, 0.0)
    deviations = (cosines - mean) / np.maximum(spread, LEAST_SD)
    strength = 1 - np.exp(-np.maximum(deviations - FROM_SD, 0) / SCALE_SD)
    weighed = strength[: len(RECENCY)] * np.array(RECENCY)[: len(strength), None]
    return weighed.max(axis=0), weighed.argmax(axis=0)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """P times two things of a catalogue, each pair in both directions, and how surely they go together, from 0 to 1."""

    one: NDArray[np.intp]
    other: NDArray[np.intp]
    share: Floats


def taken_together(baskets: Sequence[Collection[int]]) -> Pairs:
    """How often two things are taken by the same customer, as a cosine, doubted where few did.

    Source: Sarwar et al. 2001 (item-based cosine), Koren 2008 (shrinkage).
    """
    took = Counter(place for basket in baskets for place in basket)
    both = Counter(pair for basket in baskets for pair in permutations(sorted(basket), 2))
    ordered = sorted(both)
    share = [both[a, b] / math.sqrt(took[a] * took[b]) * both[a, b] / (both[a, b] + SHRINKAGE) for a, b in ordered]
    one, other = np.array(ordered, dtype=np.intp).reshape(-1, 2).T
    return Pairs(one=one, other=other, share=np.array(share))


def goes_with(pairs: Pairs, owned: Collection[int], n: int) -> tuple[Floats, NDArray[np.intp]]:
    """How surely each of n things goes with something the customer took, (n,), and with which of them most, (n,)."""
    beside = np.zeros(n, dtype=np.intp)
    missed = np.ones(n)
    is_owned = np.isin(pairs.one, list(owned))
    one, other, share = pairs.one[is_owned], pairs.other[is_owned], pairs.share[is_owned]
    np.multiply.at(missed, other, 1 - share)
    rising = np.argsort(share, kind="stable")
    beside[other[rising]] = one[rising]  # of several, the last and surest stays
    return 1 - missed, beside


def popularity(baskets: Sequence[Collection[int]], n: int) -> Floats:
    """How many took each of n things, (n,), the most taken one 1; the tenth buyer adds less than the first."""
    counts = np.bincount([place for basket in baskets for place in basket], minlength=n)
    return np.log1p(counts) / max(float(np.log1p(counts).max(initial=0)), 1.0)


# ---- policy ----


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What fills one place, and how probable that was given the places before it."""

    place: int
    propensity: float


@dataclass(frozen=True, kw_only=True)
class RankingPolicy:
    """Weights of the evidence, what the same kind again costs, and the share of places that chance fills."""

    asked: float = 1.0
    together: float = 0.8
    popular: float = 0.1
    diversity: float = 0.3
    explore: float = 0.0

    @property
    def version(self) -> str:
        """Another one whenever it would choose otherwise."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def scores(self, candidates: Sequence[Evidence]) -> Floats:
        """(N,)"""
        evidence = np.array([(each.asked, each.together, each.popular) for each in candidates]).reshape(-1, 3)
        scores: Floats = evidence @ np.array((self.asked, self.together, self.popular))
        return scores

    def why(self, candidate: Evidence) -> Why:
        """What speaks for it: what the customer said or took, if either says enough, whichever weighs more."""
        if max(candidate.asked, candidate.together) < PERSONAL_FROM:
            return "popular"
        return "asked" if self.asked * candidate.asked >= self.together * candidate.together else "together"

    def best(self, candidates: Sequence[Evidence]) -> list[Evidence]:
        """Those among which places are filled, in their order."""
        scores = self.scores(candidates)
        chosen = np.sort(np.argsort(-scores, kind="stable")[:MOST_CANDIDATES])
        return [candidates[place] for place in chosen]

    def probabilities(self, candidates: Sequence[Evidence], before: Sequence[int]) -> Floats:
        """(N,) Of each to fill the next place, given those that fill the places `before` it."""
        kinds = [candidates[place].kind for place in before]
        repeats = np.array([kinds.count(each.kind) if each.kind else 0 for each in candidates])
        is_left = np.ones(len(candidates), dtype=bool)
        is_left[list(before)] = False
        worth = np.where(is_left, self.scores(candidates) - self.diversity * repeats, -np.inf)
        chances = is_left * (self.explore / max(int(is_left.sum()), 1))
        if is_left.any():
            chances[worth.argmax()] += 1 - self.explore
        return chances

    def rank(self, candidates: Sequence[Evidence], count: int, rng: np.random.Generator) -> list[Shown]:
        """Fill up to `count` places."""
        shown: list[Shown] = []
        while len(shown) < min(count, len(candidates)):
            chances = self.probabilities(candidates, [each.place for each in shown])
            place = int(rng.choice(len(chances), p=chances))
            shown.append(Shown(place=place, propensity=float(chances[place])))
        return shown


# ---- what the log keeps ----


def showing_json(policy: RankingPolicy, candidates: Sequence[Evidence], shown: Sequence[Shown]) -> dict[str, Any]:
    """All that it takes to judge another policy by this showing."""
    return {
        "policy": policy.version,
        "candidates": [asdict(each) for each in candidates],
        "shown": [
            {"id": one.id, "propensity": round(each.propensity, 6), "why": policy.why(one)}
            for each in shown
            if (one := candidates[each.place])
        ],
    }


def showing_from(body: Mapping[str, Any]) -> tuple[list[Evidence], list[Shown]]:
    """`showing_json` read again. Raises KeyError, TypeError or ValueError for anything else."""
    candidates = [Evidence(**each) for each in body["candidates"]]
    places = {each.id: place for place, each in enumerate(candidates)}
    shown = [Shown(place=places[each["id"]], propensity=float(each["propensity"])) for each in body["shown"]]
    return candidates, shown
