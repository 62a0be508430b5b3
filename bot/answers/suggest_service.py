"""Suggestions while the server runs: the catalogue and the orders as they are now, read, embedded, and asked.

What is shown with what probability is `suggest.py`'s. Invariant: what a customer took, or sent back, and what is out of
stock is never suggested; files that cannot be read any more leave the last good ones in their place.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bot.answers.suggest import (
    RECENCY,
    Evidence,
    Floats,
    RankingPolicy,
    Shown,
    Why,
    about,
    goes_with,
    popularity,
    showing_json,
    taken_together,
)
from bot.answers.words import terms
from bot.assistant.catalogue import ANY_LANGUAGE, Item, Order, customer_key, in_language, read_files
from bot.assistant.loader import Assistant
from bot.assistant.source import Problems
from models.embeddings import Embedder
from models.languages import identify_language

log = logging.getLogger("kefu.suggest")

USUAL_MESSAGES = 150
"""Of the assistant's examples in a language: enough to know what any message has in common with a thing."""
WORD_PLACES = 2048
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One thing that is shown, and why: the number of the message that was about it (0: the last), or the thing of the
    customer's that it goes with."""

    item: Item
    evidence: Evidence
    propensity: float
    why: Why
    message: int
    beside: Item


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """What is shown, and what the log keeps of how it was chosen."""

    shown: Sequence[Suggestion]
    log: Mapping[str, Any]


class Words:
    """An embedder without a model: texts that share words are near each other. For assistants whose documents no model
    has read."""

    name = "words"

    def questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([_hashed(text) for text in texts])

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.questions(texts)


def _hashed(text: str) -> NDArray[np.float32]:
    """(WORD_PLACES,) Its words, counted where their hashes fall; of length 1, unless there are none."""
    vector = np.zeros(WORD_PLACES, dtype=np.float32)
    for term in terms(text):
        vector[zlib.crc32(term.encode()) % WORD_PLACES] += 1
    return vector / max(float(np.linalg.norm(vector)), 1.0)


class Suggestions:
    """What one assistant suggests. Thread-safe; follows its files without a restart.

    Args:
        embedder: what reads texts now; None: words have to do.
        cache: folder for vectors; None: they are made anew.
    """

    def __init__(
        self,
        assistant: Assistant,
        embedder: Callable[[], Embedder | None] = lambda: None,
        cache: Path | None = None,
    ) -> None:
        config = assistant.config.suggestions
        self.config, self._assistant = config, assistant
        self.policy = RankingPolicy(explore=config.explore if config else 0.0)
        self._embedder, self._cache, self._words = embedder, cache, Words()
        self._lock = threading.Lock()
        self._read_at: tuple[object, ...] = ()
        self._shelf: _Shelf | None = None

    @property
    def language(self) -> str:
        """What the assistant speaks where nothing tells the customer's language."""
        return self._assistant.language

    def suggest(self, said: Sequence[str], customers: Collection[str], language: str, seed: str) -> Suggested | None:
        """What to show to a customer; None where nothing is left, or suggestions are off.

        Args:
            said: the customer's messages, the last one first.
            customers: what the orders may call them.
            seed: the same one draws the same.
        """
        shelf = self._current()
        if shelf is None or self.config is None:
            return None
        evidence = shelf.evidence(said, customers, language)
        candidates = self.policy.best([each.evidence for each in evidence])
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
        ranked = self.policy.rank(candidates, self.config.count, rng)
        if not ranked:
            return None
        found = {each.evidence.id: each for each in evidence}
        shown = [self._suggestion(found[candidates[each.place].id], each, shelf) for each in ranked]
        return Suggested(shown=shown, log=showing_json(self.policy, candidates, ranked))

    def prepare(self) -> None:
        """Read the files now, and keep the vectors: a large catalogue takes longer than a customer waits."""
        self._current()

    def _suggestion(self, found: _Found, shown: Shown, shelf: _Shelf) -> Suggestion:
        return Suggestion(
            item=shelf.items[found.place],
            evidence=found.evidence,
            propensity=shown.propensity,
            why=self.policy.why(found.evidence),
            message=found.message,
            beside=shelf.items[found.beside],
        )

    def _current(self) -> _Shelf | None:
        """The files as they are now."""
        if self.config is None:
            return None
        with self._lock:
            embedder = self._embedder() or self._words
            now = (embedder.name, *map(_stamp, self._files()))
            if now != self._read_at:
                self._read_at = now
                self._shelf = self._read(embedder) or self._shelf
            return self._shelf

    def _files(self) -> list[Path]:
        names = (self.config.catalogue, self.config.orders) if self.config else ()
        return [self._assistant.root / name for name in names if name]

    def _read(self, embedder: Embedder) -> _Shelf | None:
        assert self.config is not None
        problems = Problems()
        items, orders = read_files(self._assistant.root, self.config, problems)
        if (error := problems.first_error) is not None:
            log.error("suggest.unreadable", extra={"where": str(error.where), "problem": error.message})
            return None
        vectors = _VectorCache(embedder, None if embedder is self._words else self._cache)
        shelf = _Shelf(items, orders, embedder, self._compared(items, vectors))
        vectors.save()
        log.info("suggest.loaded", extra={"items": len(items), "orders": len(orders)})
        return shelf

    def _compared(self, items: Sequence[Item], vectors: _VectorCache) -> dict[str, _Compared]:
        """By language: the things' texts, and what the assistant's usual messages have in common with them."""
        found = {}
        for language in sorted({language for item in items for language in item.texts}):
            texts = vectors.of([in_language(item.texts, language) for item in items])
            usual = _usual([each.text for each in self._assistant.nlu.examples], language)
            common = vectors.of(usual, asks=True) @ texts.T if usual else np.zeros((0, len(items)))
            found[language] = _Compared(texts=texts, usual=common)
        return found


def _usual(messages: Sequence[str], language: str) -> list[str]:
    """Some of the messages in this language, spread evenly."""
    texts = [text for text in messages if language == ANY_LANGUAGE or identify_language(text) == language]
    count = min(len(texts), USUAL_MESSAGES)
    return [texts[place * len(texts) // count] for place in range(count)]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Vectors of N things, (N, D), and cosines of K usual messages with them, (K, N)."""

    texts: Floats
    usual: Floats


@dataclass(frozen=True, kw_only=True)
class _Found:
    evidence: Evidence
    place: int
    message: int
    beside: int


class _Shelf:
    """A catalogue with its orders, ready to be asked. Nothing changes after it was made."""

    def __init__(
        self, items: Sequence[Item], orders: Sequence[Order], embedder: Embedder, compared: Mapping[str, _Compared]
    ) -> None:
        self.items, self._embedder, self._compared = tuple(items), embedder, compared
        places = {item.id: place for place, item in enumerate(items)}
        taken, kept = defaultdict[str, set[int]](set), defaultdict[str, set[int]](set)
        for order in orders:
            taken[order.customer].add(places[order.item])
            if not order.is_returned:
                kept[order.customer].add(places[order.item])
        self._taken, self._kept = dict(taken), dict(kept)
        baskets = [kept[name] for name in sorted(kept)]
        self._together = taken_together(baskets)
        self._popular = popularity(baskets, len(items))

    def evidence(self, said: Sequence[str], customers: Collection[str], language: str) -> list[_Found]:
        """For everything that may be shown to this customer."""
        if not self.items:
            return []
        names = {customer_key(name) for name in customers}
        taken = set[int]().union(*(self._taken.get(name, ()) for name in names))
        kept = set[int]().union(*(self._kept.get(name, ()) for name in names))
        compared = self._compared.get(language) or next(iter(self._compared.values()))
        asked, message = about(self._cosines(said[: len(RECENCY)], compared), compared.usual)
        together, beside = goes_with(self._together, kept, len(self.items))
        return [
            _Found(
                evidence=Evidence(
                    id=item.id,
                    kind=item.kind,
                    asked=float(asked[place]),
                    together=float(together[place]),
                    popular=float(self._popular[place]),
                ),
                place=place,
                message=int(message[place]),
                beside=int(beside[place]),
            )
            for place, item in enumerate(self.items)
            if item.is_there and place not in taken
        ]

    def _cosines(self, said: Sequence[str], compared: _Compared) -> Floats:
        """(M, N)"""
        if not said:
            return np.zeros((0, len(self.items)))
        return self._embedder.questions(said).astype(float) @ compared.texts.T


class _VectorCache:
    """Texts as vectors; those that were made before come from a file, if there is one."""

    def __init__(self, embedder: Embedder, folder: Path | None) -> None:
        self._embedder = embedder
        name = hashlib.sha256(embedder.name.encode()).hexdigest()[:16]
        self._file = None if folder is None else folder / f"vectors-{name}.npz"
        self._stored = self._load()
        self._used: dict[str, Floats] = {}

    def of(self, texts: Sequence[str], *, asks: bool = False) -> Floats:
        """(B, D), B > 0"""
        embed = self._embedder.questions if asks else self._embedder.passages
        keys = [hashlib.sha256(f"{asks}{text}".encode()).hexdigest() for text in texts]
        found = {key: self._stored[key] for key in keys if key in self._stored}
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        for start in range(0, len(fresh), BATCH):
            part = list(fresh)[start : start + BATCH]
            found |= zip(part, embed([fresh[key] for key in part]), strict=True)
        self._used |= found
        return np.array([found[key] for key in keys], dtype=float)

    def save(self) -> None:
        """Write what was used; what was not is of texts that are gone."""
        if self._file is None or not self._used:
            return
        vectors = np.array(list(self._used.values()), dtype=np.float32)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial = self._file.with_suffix(f".{os.getpid()}.npz")
            np.savez(partial, keys=np.array(list(self._used)), vectors=vectors)
            partial.replace(self._file)
        except OSError:  # a full disk costs time at the next start, not this answer
            log.warning("suggest.cache_not_written", exc_info=True)

    def _load(self) -> dict[str, Floats]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            with np.load(self._file, allow_pickle=False) as stored:
                return dict(zip(stored["keys"].tolist(), stored["vectors"].astype(float), strict=True))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # damaged: made anew
            return {}
