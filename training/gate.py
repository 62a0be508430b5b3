"""Whether a challenger may replace the champion: paired comparison on the same texts, slice by slice.

Playing conversations and measuring latency belong to later gates. Invariant: no version that this test finds worse is
promoted,
and the verdict holds every figure that decided it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from training.evaluate import Judged

# The share of good challengers that may be turned away by chance, over all slices together.
ALPHA = 0.05
# Small test sets cannot prove even a large loss; a loss past this stops a challenger without proof.
MAX_DROP = 0.03
# A slice thinner than this says too little to be judged on its own; its texts still count in the whole.
MIN_SLICE = 30
SAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class SliceResult:
    """One slice's comparison.

    Attributes:
        difference: challenger's accuracy minus champion's; `low` to `high` is its 95 % bootstrap interval.
        p_worse: one-sided p-value of "the challenger is worse", before correction.
        is_worse: what the gate concluded, after Holm's correction over all slices.
    """

    name: str
    n: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    p_worse: float
    is_worse: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate decides and why, in a sentence for people and in figures."""

    is_promoted: bool
    reason: str
    slices: tuple[SliceResult, ...]

    def table(self) -> Table:
        """The figures as a table for the terminal."""
        table = Table(title=self.reason, title_justify="left")
        for column in ("slice", "n", "champion", "challenger", "difference", "95 % interval", "p worse", ""):
            table.add_column(column, justify="left" if column in ("slice", "") else "right")
        for row in self.slices:
            table.add_row(
                row.name,
                str(row.n),
                f"{row.champion:.1%}",
                f"{row.challenger:.1%}",
                f"{row.difference * 100:+.1f}",
                f"{row.low * 100:+.1f} … {row.high * 100:+.1f}",
                f"{row.p_worse:.3f}",
                "[red]worse[/red]" if row.is_worse else "[green]not worse[/green]",
            )
        return table


def decide(
    champion: Mapping[str, Sequence[Judged]], challenger: Mapping[str, Sequence[Judged]], *, seed: int = 0
) -> Verdict:
    """Compare both models' answers to the same texts.

    Args:
        champion, challenger: task ("intent", "sentiment", "entities") → judged utterances, the same texts in the same
            order.
    Returns:
        Promoted unless some slice (a task, or a task in one language) is worse: significantly at 5 % after Holm's
        correction, or by more than three points.
    """
    rng = np.random.default_rng(seed)
    compared = [
        (name, ours, theirs, *paired_bootstrap(ours, theirs, rng))
        for task in champion
        for name, ours, theirs in _slices(task, champion[task], challenger[task])
    ]
    order = sorted(range(len(compared)), key=lambda i: compared[i][3])
    significant: set[int] = set()
    for rank, i in enumerate(order):
        if compared[i][3] > ALPHA / (len(order) - rank):
            break
        significant.add(i)
    slices = tuple(
        SliceResult(
            name=name,
            n=len(ours),
            champion=float(ours.mean()),
            challenger=float(theirs.mean()),
            difference=float(theirs.mean() - ours.mean()),
            low=low,
            high=high,
            p_worse=p_worse,
            is_worse=i in significant or float(ours.mean() - theirs.mean()) > MAX_DROP,
        )
        for i, (name, ours, theirs, p_worse, low, high) in enumerate(compared)
    )
    worse = [row.name for row in slices if row.is_worse]
    reason = (
        f"kept the champion: the challenger is worse on {', '.join(worse)}" if worse else "the challenger is not worse"
    )
    return Verdict(is_promoted=not worse, reason=reason, slices=slices)


def first_version() -> Verdict:
    """The verdict where nothing serves yet."""
    return Verdict(is_promoted=True, reason="the first version: nothing to compare it with", slices=())


def paired_bootstrap(
    champion: np.ndarray, challenger: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
    """One-sided p-value of "the challenger is worse", and the 95 % interval of the difference in means.

    Args:
        champion, challenger: (N,) 1 where right, 0 where wrong, paired by text.
    Source: Efron & Tibshirani 1993, ch. 16; Koehn 2004 (paired resampling).
    """
    differences = challenger.astype(np.float64) - champion.astype(np.float64)
    values, counts = np.unique(differences, return_counts=True)
    # Resampling N rows with replacement = drawing how often each distinct difference comes up.
    drawn = rng.multinomial(len(differences), counts / len(differences), size=SAMPLES)  # (samples, values)
    means = drawn @ values / len(differences)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean(means >= 0)), float(low), float(high)


def _slices(
    task: str, champion: Sequence[Judged], challenger: Sequence[Judged]
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    if [j.text for j in champion] != [j.text for j in challenger]:
        raise ValueError(f"{task}: champion and challenger were not judged on the same texts in the same order")
    ours, theirs = (np.array([j.is_right for j in judged]) for judged in (champion, challenger))
    languages = np.array([j.language or "" for j in champion])
    found = [(task, ours, theirs)]
    for language in sorted({str(name) for name in languages} - {""}):
        rows = languages == language
        if MIN_SLICE <= rows.sum() < len(rows):
            found.append((f"{task} {language}", ours[rows], theirs[rows]))
    return found
