"""Labelled utterances as plain values: de-duplicated, split by group, drawn, hashed.

Reading files is `readers.py`'s; assistant folder and database are `bot/learning.py`'s.
Invariant: a group never lies on both sides of a split.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from models.base import OUT_OF_SCOPE_INTENTS, SENTIMENTS
from models.entities import EntityRules, LookupValue
from models.keywords import KeywordRules


class DataError(Exception):
    """The training data cannot be used."""


@dataclass(frozen=True, kw_only=True)
class EntityValue:
    """A value annotated in an example; becomes a lookup of its entity.

    Attributes:
        start, end: where it stands in the example's text, code points, end exclusive; None where nobody said.
    """

    entity: str
    text: str
    value: str | None = None
    role: str | None = None
    group: str | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One labelled text.

    Attributes:
        group: utterances of one group (a conversation, a paraphrase set) are never split; None is a group of its own.
        source: where it comes from, for people: a file and line, "log", a review.
        response: which response of a retrieval intent fits, `faq/ask_hours` of the label `faq`; None: nobody said.
    """

    text: str
    label: str
    language: str | None = None
    source: str = ""
    group: str | None = None
    entities: tuple[EntityValue, ...] = ()
    response: str | None = None


@dataclass(frozen=True, kw_only=True)
class UnderstandingData:
    """What one understanding model is trained from; `keywords` None: no message's intent is decided by a keyword.

    `intents_stand_in`: intents are there only because a version must name some; no encoder is tuned on them.
    """

    intents: tuple[Utterance, ...]
    sentiment: tuple[Utterance, ...] = ()
    entities: EntityRules = field(default_factory=EntityRules)
    keywords: KeywordRules | None = None
    intents_stand_in: bool = False

    def sha256(self) -> str:
        """Changes with any text, label, order-independent; sources and groups do not count."""
        rows = [
            [
                u.text,
                u.response or u.label,
                str([(e.entity, e.text, e.value, e.role, e.group, e.start) for e in u.entities]),
            ]
            for u in self.intents
        ]
        moods = sorted((u.text, u.label) for u in self.sentiment)
        rules = [
            self.entities.regexes,
            # Options that nobody chose do not count: a version stays what it was made from when another is added.
            [{name: part for name, part in vars(v).items() if part is not False} for v in self.entities.lookups],
            sorted(self.entities.synonyms.items()),
            asdict(self.entities.values) if self.entities.values else None,
            *(["case_sensitive"] if self.entities.case_sensitive else []),
            *([asdict(self.keywords)] if self.keywords else []),
        ]
        return hashlib.sha256(json.dumps([sorted(rows), moods, rules], ensure_ascii=False).encode()).hexdigest()

    def entity_rules(self) -> EntityRules:
        """The declared rules, and every annotated value as a lookup, also as a synonym where it names another value."""
        lookups = list(self.entities.lookups)
        synonyms = dict(self.entities.synonyms)
        for entity in (entity for utterance in self.intents for entity in utterance.entities):
            lookups.append(LookupValue(entity=entity.entity, text=entity.text, role=entity.role, group=entity.group))
            if entity.value is not None and entity.value != entity.text:
                synonyms.setdefault(entity.text.lower(), entity.value)
        return replace(self.entities, lookups=tuple(dict.fromkeys(lookups)), synonyms=synonyms)

    def check(self) -> None:
        """Raises DataError, saying what to add, where nothing could be learned from the data."""
        counts = Counter(utterance.label for utterance in self.intents)
        if len(counts) < 2:
            raise DataError(f"{len(counts)} intent(s) with examples; a model needs at least two")
        if max((count for label, count in counts.items() if label not in OUT_OF_SCOPE_INTENTS), default=0) < 2:
            raise DataError("every intent has one example only; give at least one of them two, each better ten")
        if len({row if u.group is None else u.group for row, u in enumerate(self.intents)}) < 2:
            raise DataError("all messages are of one conversation; examples of others are needed to test on")
        strange = sorted({u.label for u in self.sentiment} - set(SENTIMENTS))
        if strange:
            raise DataError(f"sentiment label(s) {', '.join(strange)}; use {', '.join(SENTIMENTS)}")


def text_key(text: str) -> str:
    """What two texts share when they count as one: NFKC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def deduplicate(utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
    """One utterance a text: the label that most copies carry, the earliest label at a tie; order of first appearance.

    Empty texts go. Of copies with the winning label, the first stays.
    """
    copies: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        if key := text_key(utterance.text):
            copies[key].append(utterance)
    kept = []
    for same in copies.values():
        winner, _ = Counter(utterance.label for utterance in same).most_common(1)[0]
        kept.append(next(utterance for utterance in same if utterance.label == winner))
    return tuple(kept)


def assign_folds(utterances: Sequence[Utterance], folds: int, seed: int) -> list[int]:
    """A fold for each utterance, stratified by label, whole groups together; the same for the same seed."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, utterance in enumerate(utterances):
        groups[utterance.group if utterance.group is not None else f"\0{row}"].append(row)
    rng = np.random.default_rng(seed)
    names = sorted(groups, key=lambda name: groups[name][0])
    rng.shuffle(names)
    held: dict[str, list[int]] = defaultdict(lambda: [0] * folds)  # label → how many each fold holds
    sizes = [0] * folds
    out = [0] * len(utterances)
    for name in names:
        rows = groups[name]
        label_counts = held[utterances[rows[0]].label]
        fold = min(range(folds), key=lambda f: (label_counts[f], sizes[f], f))
        for row in rows:
            out[row] = fold
            held[utterances[row].label][fold] += 1
            sizes[fold] += 1
    return out


def held_out_folds(utterances: Sequence[Utterance], folds: int, seed: int) -> list[int]:
    """`assign_folds`, and -1 for the only example of a label: held out, it would show nothing but its own absence.

    Where every label has one example only, something must be held out all the same.
    """
    counts = Counter(utterance.label for utterance in utterances)
    assigned = assign_folds(utterances, folds, seed)
    if max(counts.values(), default=0) < 2:
        return assigned
    return [fold if counts[u.label] > 1 else -1 for u, fold in zip(utterances, assigned, strict=True)]


def draw_shots(utterances: Sequence[Utterance], shots: int, seed: int) -> tuple[Utterance, ...]:
    """`shots` utterances of every label, all of one that has fewer; the same for the same seed, in the given order."""
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[int]] = defaultdict(list)
    for row, utterance in enumerate(utterances):
        by_label[utterance.label].append(row)
    drawn = [int(row) for _, rows in sorted(by_label.items()) for row in rng.permutation(rows)[:shots]]
    return tuple(utterances[row] for row in sorted(drawn))
