"""How good a model is for whom: accuracy by language, length, tone and mixing of scripts, and the gaps between.

The rules are word lists and counts, written to be read and argued with, not models. Invariant: every text lies in
exactly one slice of each dimension.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.languages import identify_language, is_code_switched
from training.scores import wilson_interval

# Under this many texts a slice's accuracy is noise; it is shown, but no gap is made of it.
MIN_SLICE = 30

_HAN = re.compile(r"[㐀-鿿豈-﫿\U00020000-\U0003ffff]")
_WORD = re.compile(r"[^\W\d_㐀-鿿豈-﫿\U00020000-\U0003ffff]+(?:['’][A-Za-z]+)?|\d+")
# A Chinese word is about one and a half characters long.
_HAN_PER_WORD = 1.5
SHORT_WORDS, MEDIUM_WORDS = 5, 15

# Not \b: in 请please the two scripts meet without one.
_POLITE = re.compile(
    r"(?<![a-z])(?:please|pls|plz|kindly|thanks?|thx|could you|would you|would it be possible|may i|i'd appreciate"
    r"|sorry to|excuse me|dear)(?![a-z])"
    r"|请(?!假|客)|谢谢|多谢|感谢|麻烦(?:您|你|帮|一下)|劳驾|辛苦(?:您|你|了)|您好|拜托|不好意思",
    re.IGNORECASE,
)
_ANGRY = re.compile(
    r"(?<![a-z])(?:ridiculous|unacceptable|terrible|awful|horrible|worst|useless|disgusting|pathetic|scam|rip.?off"
    r"|fed up|furious|angry|wtf|damn|hell|crap|bloody|fuck\w*|shit\w*|sick of|had enough|never again)(?![a-z])"
    r"|垃圾|骗子|骗人|坑人|太差|差劲|什么(?:玩意|破)|破(?:店|东西|公司)|气死|生气|火大|投诉|受够|忍无可忍|离谱|过分"
    r"|恶心|无语|滚|他妈|妈的|[!！]{2,}|[?？]{3,}",
    re.IGNORECASE,
)
_SHOUTED = re.compile(r"(?<![A-Za-z])[A-Z]{3,}(?![A-Za-z])")


@dataclass(frozen=True, kw_only=True)
class SliceScore:
    """One slice's accuracy over `n` texts, with its 95 % Wilson interval from `low` to `high`."""

    dimension: str
    name: str
    n: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far a dimension's best and worst slice lie apart, among those of at least `MIN_SLICE` texts."""

    dimension: str
    best: str
    worst: str
    difference: float


def length_of(text: str) -> str:
    """short up to 5 words, medium up to 15, else long; a Chinese character counts as two thirds of a word."""
    words = len(_WORD.findall(text)) + len(_HAN.findall(text)) / _HAN_PER_WORD
    return "short" if words <= SHORT_WORDS else "medium" if words <= MEDIUM_WORDS else "long"


def tone_of(text: str) -> str:
    """angry by its words, two exclamation marks or two shouted words; else polite by its words; else plain."""
    if _ANGRY.search(text) or len(_SHOUTED.findall(text)) >= 2:
        return "angry"
    return "polite" if _POLITE.search(text) else "plain"


def mixing_of(text: str) -> str:
    """mixed where Chinese characters and a Latin word of two letters or more stand together, brand names included."""
    return "mixed" if is_code_switched(text) else "one script"


def slices_of(text: str, language: str | None) -> Mapping[str, str]:
    """Dimension → the slice that the text lies in; the language as given, else as the text shows."""
    return {
        "language": language or identify_language(text),
        "length": length_of(text),
        "tone": tone_of(text),
        "scripts": mixing_of(text),
    }


def slice_scores(rows: Sequence[tuple[str, str | None, bool]], repeats: int = 1) -> tuple[SliceScore, ...]:
    """Score (text, language, was it right) rows by slice; a dimension in which all texts are alike says nothing.

    Args:
        repeats: how often each text occurs, once a run; the intervals count it once.
    """
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for text, language, right in rows:
        for dimension, name in slices_of(text, language).items():
            found[dimension][name].append(right)
    return tuple(
        _score(dimension, name, rights, repeats)
        for dimension, names in found.items()
        if len(names) > 1
        for name, rights in sorted(names.items(), key=lambda item: -len(item[1]))
    )


def gaps(scores: Sequence[SliceScore]) -> tuple[Gap, ...]:
    """The gap of each dimension that has two slices thick enough to compare, widest first."""
    by_dimension: dict[str, list[SliceScore]] = defaultdict(list)
    for score in scores:
        if score.n >= MIN_SLICE:
            by_dimension[score.dimension].append(score)
    found = []
    for dimension, same in by_dimension.items():
        if len(same) > 1:
            best, worst = max(same, key=lambda s: s.accuracy), min(same, key=lambda s: s.accuracy)
            difference = best.accuracy - worst.accuracy
            found.append(Gap(dimension=dimension, best=best.name, worst=worst.name, difference=difference))
    return tuple(sorted(found, key=lambda gap: -gap.difference))


def _score(dimension: str, name: str, rights: Sequence[bool], repeats: int) -> SliceScore:
    accuracy, n = sum(rights) / len(rights), max(1, len(rights) // repeats)
    low, high = wilson_interval(accuracy, n)
    return SliceScore(dimension=dimension, name=name, n=n, accuracy=accuracy, low=low, high=high)
