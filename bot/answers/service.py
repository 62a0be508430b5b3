"""Looks a customer's question up while the server runs: the current index, its embedder, and the brand's frames."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from bot.answers.compose import Answer, Offer, compose, offer, quote
from bot.answers.gate import judge
from bot.answers.knowledge import KnowledgeIndex, current, encoder_folder, load_index
from models.base import ArtifactInvalid
from models.embeddings import Embedder, EncoderEmbedder
from models.languages import identify_language, is_asking

log = logging.getLogger("kefu.knowledge")

UNDECIDED = "und"
AGAIN_AFTER_S = 5.0
"""An index that could not be read is tried again after this long."""


class Knowledge:
    """What the assistant's documents answer. Follows `kefu knowledge sync` without a restart.

    Args:
        store: where `sync` puts its indexes.
        frames: the brand's, by language.
        today: the day that passages must be valid on.
        intent: what a button asks with for a passage.
    """

    def __init__(
        self,
        store: Path,
        frames: Mapping[str, Sequence[str]],
        *,
        threads: int = 1,
        embedder: Embedder | None = None,
        today: Callable[[], date],
        intent: str = "ask_knowledge",
    ) -> None:
        self._intent = intent
        self._store, self._frames, self._threads, self._today = store, frames, threads, today
        self._embedder = embedder
        self._name: str | None = None
        self._index: KnowledgeIndex | None = None
        self._lock = threading.Lock()
        self._again_at = 0.0

    async def look_up(self, text: str, intent: str | None = None, *, may_offer: bool = False) -> dict[str, Any] | None:
        """What the documents say to this message, as JSON; None where they do not answer it, or where what the
        assistant says to `intent` anyway answers it better.

        Args:
            may_offer: where it is not sure enough, headings to choose from are better than nothing.
        """
        found = await asyncio.to_thread(self.answer, text, intent, may_offer=may_offer)
        return None if found is None else found.to_json()

    def answer(self, text: str, intent: str | None = None, *, may_offer: bool = False) -> Answer | Offer | None:
        """`look_up`, on this thread."""
        loaded = self._current()
        if loaded is None:
            return None
        index, embedder = loaded
        language = identify_language(text)
        known = None if language == UNDECIDED else language
        vector = embedder.questions([text])[0]
        hits = index.search(text, vector, day=self._today(), language=known, response_of=intent)
        if not hits or hits[0].passage.response is not None:
            return None
        language = known or hits[0].passage.language  # "Packstation?" could be of any
        probability, gate = judge(index, embedder, text, vector, hits)
        if probability >= gate.threshold:
            return compose(text, vector, hits, probability, embedder, language, self._frames)
        if may_offer and probability >= gate.worth_showing and is_asking(text):
            return offer(hits, probability, language, self._intent)
        return None

    async def quote(self, passage_id: str) -> dict[str, Any] | None:
        """A passage that the customer chose; None where it is not there any more, or not valid today."""
        loaded = await asyncio.to_thread(self._current)
        passage = loaded[0].find(passage_id) if loaded else None
        if passage is None or passage.response is not None or not passage.is_valid(self._today()):
            return None
        return quote(passage, self._frames).to_json()

    def embedder(self) -> Embedder | None:
        """What reads the documents now; None where nothing was read yet."""
        loaded = self._current()
        return loaded[1] if loaded else None

    def _current(self) -> tuple[KnowledgeIndex, Embedder] | None:
        """The index that counts now, loaded when it is another than before."""
        with self._lock:
            name = current(self._store)
            if name != self._name and time.monotonic() >= self._again_at and not self._load(name):
                self._again_at = time.monotonic() + AGAIN_AFTER_S
            if self._index is None or self._embedder is None:
                return None
            return self._index, self._embedder

    def _load(self, name: str | None) -> bool:
        """Take the current index; where it cannot be read, the one from before goes on answering."""
        try:
            index = load_index(self._store)
            embedder = self._embedder
            if index is not None and (embedder is None or embedder.name != index.embedder):
                embedder = EncoderEmbedder(encoder_folder(self._store, index.embedder), self._threads)
        except ArtifactInvalid:
            log.exception("knowledge.unreadable")
            return False
        self._index, self._embedder, self._name = index, embedder, name
        if index is not None:
            log.info("knowledge.loaded", extra={"passages": len(index.passages)})
        return True


def loaded(store: Path, threads: int) -> tuple[KnowledgeIndex, Embedder] | None:
    """The current index with its embedder; None where nothing was read yet. Raises ArtifactInvalid."""
    index = load_index(store)
    return None if index is None else (index, EncoderEmbedder(encoder_folder(store, index.embedder), threads))
