"""Are examples varied enough to learn from, and do the fixed tests stay apart from them? Pure functions over texts.

What a finding means for a command (a warning, a failed check) is the caller's to say. Invariant: the indexed search
finds exactly the pairs that comparing every text with every other would find.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from bot.assistant.nlu_data import IntentExample, SentimentExample
from bot.assistant.source import Problems
from bot.errors import Where

Kind = Literal["alike", "opening", "two_labels", "leak"]

# Two texts are alike when they share more than 3/5 of their 3-grams; whole numbers, so that 0.6 itself is not "more".
SHARE = (3, 5)
GRAM = 3
# This many examples of one intent may begin alike; one more makes the beginning a cue of its own.
SAME_OPENINGS = 3
OPENING_WORDS = 2
OPENING_CHARACTERS = 4  # Chinese writes no spaces; four characters are about two words
# A file made from a template holds millions of pairs; a thousand say enough.
MOST_FINDINGS = 1000
SHOWN = 10

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LEFT_OUT = frozenset("PZC")  # Unicode's punctuation, separators, controls


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A labelled text (an intent's example, or a mood's) and where it stands."""

    text: str
    label: str
    language: str | None
    where: Where


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Samples that should differ more: pairs in the order of the files, or all that begin alike.

    `share` is the part of their 3-grams that a pair has in common; 1 for other kinds.
    """

    kind: Kind
    samples: tuple[Sample, ...]
    share: float = 1.0

    def __str__(self) -> str:
        first, second = self.samples[:2]
        if self.kind == "opening":
            start = " ".join(opening(first) or ())
            lines = ", ".join(f"{s.where.file.name}:{s.where.line}" for s in self.samples[1:])
            return f"{len(self.samples)} examples of '{first.label}' begin with '{start}' (also {lines})"
        if self.kind == "two_labels":
            return f"'{first.text}' is '{first.label}' here and '{second.label}' at {_place(second)}"
        if self.kind == "leak":
            return f"'{first.text}' shares {self.share:.2f} with the test message '{second.text}' at {_place(second)}"
        return f"'{first.text}' shares {self.share:.2f} with '{second.text}' at {_place(second)}, both '{first.label}'"


def _place(sample: Sample) -> str:
    return f"{sample.where.file.name}:{sample.where.line}"


def samples_of(examples: Iterable[IntentExample | SentimentExample]) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            text=e.text, label=e.intent if isinstance(e, IntentExample) else e.label, language=e.language, where=e.where
        )
        for e in examples
    )


# ---- texts as sets of 3-grams ----


def letters(text: str) -> str:
    """What is compared of a text: NFKC, case-folded, without spaces and punctuation (unless there is nothing else)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in _LEFT_OUT) or folded.strip()


def grams(text: str) -> frozenset[str]:
    """The set of 3-grams of `letters(text)`; a shorter text is one gram."""
    plain = letters(text)
    return frozenset(plain[start : start + GRAM] for start in range(max(1, len(plain) - GRAM + 1)))


def are_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of grams have more than 0.6 of their union in common."""
    common = len(one & other)
    return SHARE[1] * common > SHARE[0] * (len(one) + len(other) - common)


def pairs_within(sets: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """All pairs (i < j) that are alike, by ascending j."""
    prefixes = _Prefixes(sets)
    index: dict[str, list[int]] = defaultdict(list)
    for j, own in enumerate(sets):
        prefix = prefixes.of(own)
        yield from ((i, j) for i in _candidates(index, prefix) if are_alike(sets[i], own))
        for gram in prefix:
            index[gram].append(j)


def pairs_between(ones: Sequence[frozenset[str]], others: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """All pairs (i of `ones`, j of `others`) that are alike, by ascending i."""
    prefixes = _Prefixes([*ones, *others])
    index: dict[str, list[int]] = defaultdict(list)
    for j, other in enumerate(others):
        for gram in prefixes.of(other):
            index[gram].append(j)
    for i, one in enumerate(ones):
        yield from ((i, j) for j in _candidates(index, prefixes.of(one)) if are_alike(one, others[j]))


class _Prefixes:
    """Of each set the rarest grams, so many that two alike sets must share one of them.

    Alike sets have more than 3/5 of the larger one in common, so leaving out that many leaves one common gram at least.
    Source: Chaudhuri et al. 2006 (prefix filtering).
    """

    def __init__(self, sets: Iterable[frozenset[str]]) -> None:
        self._counts = Counter(gram for own in sets for gram in own)

    def of(self, own: frozenset[str]) -> list[str]:
        rarest = sorted(own, key=lambda gram: (self._counts[gram], gram))
        return rarest[: len(own) - SHARE[0] * len(own) // SHARE[1]]


def _candidates(index: Mapping[str, Sequence[int]], prefix: Iterable[str]) -> list[int]:
    return sorted({place for gram in prefix for place in index.get(gram, ())})


# ---- what should not be ----


def find_alike(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Pairs of one label and language that share more than 0.6 of their 3-grams."""
    for group in _by(samples, lambda s: (s.label, s.language)):
        sets = [grams(sample.text) for sample in group]
        for i, j in pairs_within(sets):
            yield _pair("alike", group[i], group[j])


def find_openings(samples: Sequence[Sample]) -> Iterator[Finding]:
    """More than three examples of one label and language that begin with the same two words (four characters)."""
    for group in _by(samples, lambda s: (s.label, s.language, opening(s))):
        if len(group) > SAME_OPENINGS and opening(group[0]) is not None:
            yield Finding(kind="opening", samples=tuple(group))


def find_two_labels(samples: Sequence[Sample]) -> Iterator[Finding]:
    """The same text, but for case, spaces and punctuation, under two labels."""
    for group in _by(samples, lambda s: letters(s.text)):
        for sample in group[1:]:
            if sample.label != group[0].label:
                yield Finding(kind="two_labels", samples=(group[0], sample))


def find_leaks(samples: Sequence[Sample], tests: Sequence[Sample]) -> Iterator[Finding]:
    """Pairs of a training and a test text, of whatever labels, that share more than 0.6 of their 3-grams."""
    ones, others = [grams(s.text) for s in samples], [grams(t.text) for t in tests]
    for i, j in pairs_between(ones, others):
        yield _pair("leak", samples[i], tests[j])


def _by(samples: Iterable[Sample], key: Callable[[Sample], object]) -> Iterable[list[Sample]]:
    groups: dict[object, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[key(sample)].append(sample)
    return groups.values()


def _pair(kind: Kind, one: Sample, other: Sample) -> Finding:
    mine, theirs = grams(one.text), grams(other.text)
    return Finding(kind=kind, samples=(one, other), share=len(mine & theirs) / len(mine | theirs))


def opening(sample: Sample) -> tuple[str, ...] | None:
    """What a text begins with: two words, of Chinese four characters as one piece; None for a shorter text."""
    if sample.language == "zh":
        start = letters(sample.text)[:OPENING_CHARACTERS]
        return (start,) if len(start) == OPENING_CHARACTERS else None
    start_words = tuple(islice(_words(sample.text), OPENING_WORDS))
    return start_words if len(start_words) == OPENING_WORDS else None


def _words(text: str) -> Iterator[str]:
    return (found[0] for found in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()))


def distinct(samples: Iterable[Sample], n: int) -> float:
    """Different n-grams of words (Chinese: of characters) by all of them; 1 says that nothing is ever repeated.

    Falls with the number of texts: compare sets of like size only. 0 where there are none.
    Source: Li et al. 2016 (distinct-n).
    """
    seen: Counter[tuple[str, ...]] = Counter()
    for sample in samples:
        pieces = tuple(letters(sample.text)) if sample.language == "zh" else tuple(_words(sample.text))
        seen.update(pieces[start : start + n] for start in range(len(pieces) - n + 1))
    return len(seen) / seen.total() if seen else 0.0


# ---- all of it, for one assistant ----


def find_all(
    intents: Sequence[Sample],
    moods: Sequence[Sample],
    tests: Sequence[Sample],
) -> dict[Kind, list[Finding]]:
    """Every finding of an assistant's texts, at most `MOST_FINDINGS` a kind and task; `tests` are those of every task.

    Intents and moods share one encoder: a text that it has seen under a mood is no fair test of an intent.
    Openings count in intents alone: of hundreds of sentences of one mood, many begin alike in any honest collection.
    """

    def some(*searches: Iterable[Finding]) -> list[Finding]:
        return [finding for search in searches for finding in islice(search, MOST_FINDINGS)]

    return {
        "alike": some(find_alike(intents), find_alike(moods)),
        "opening": some(find_openings(intents)),
        "two_labels": some(find_two_labels(intents), find_two_labels(moods)),
        "leak": some(find_leaks([*intents, *moods], tests)),
    }


_ADVICE: Mapping[Kind, tuple[str, str]] = {
    "alike": ("pairs of one intent or mood are nearly the same", "Drop one or say it quite differently."),
    "opening": ("beginnings are used too often", "Let examples begin differently, as customers do."),
    "two_labels": ("texts stand under two labels", "Keep it where a careful reader would put it."),
    "leak": ("training texts are nearly test messages", "Drop one of them: such a test measures memory."),
}


def warn(findings: Mapping[Kind, Sequence[Finding]], problems: Problems) -> None:
    """The first ten of each kind as warnings with file and line, and how many there are in all."""
    for kind, found in findings.items():
        message, hint = _ADVICE[kind]
        for finding in found[:SHOWN]:
            problems.warning(finding.samples[0].where, str(finding), hint)
        if len(found) > SHOWN:
            some = "or more " if len(found) >= MOST_FINDINGS else ""
            problems.warning(
                found[SHOWN].samples[0].where, f"{len(found)} {some}{message}; the first {SHOWN} are listed"
            )
