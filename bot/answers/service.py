"""Looks a customer's question up while the server runs: the current index, its embedder, and the brand's frames."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from bot.answers.compose import Answer, Offer, compose, offer, quote
from bot.answers.exchange import Exchange
from bot.answers.finder import Finder
from bot.answers.gate import judge, judge_after
from bot.answers.index_files import current, encoder_folder, judge_folder, load_index
from bot.answers.knowledge import KnowledgeIndex, PassageIndex
from bot.answers.parts import Begun, Rest
from bot.answers.sharing import SharedIndex
from bot.answers.writers import CurrentWriter
from bot.assistant.brand import Brand
from bot.dialogue.parsing import MORE
from models.base import ArtifactInvalid
from models.cross_encoder import CrossEncoder
from models.embeddings import Embedder, EncoderEmbedder
from models.languages import identify_language, is_asking

log = logging.getLogger("kefu.knowledge")

Index = TypeVar("Index", bound=PassageIndex)

UNDECIDED = "und"
AGAIN_AFTER_S = 5.0
"""An index that could not be read is tried again after this long."""


class Knowledge:
    """What the assistant's documents answer. Follows `kefu knowledge sync` without a restart.

    Args:
        store: where `sync` puts its indexes.
        brand: whose words stand around answers.
        today: the day that passages must be valid on.
        intent: what a button asks with for a passage.
        writing: who may word answers; None: they are quoted.
        shared: where the index is shared, if it is; the folder then holds the encoders only.
    """

    def __init__(
        self,
        store: Path,
        brand: Brand,
        *,
        threads: int = 1,
        embedder: Embedder | None = None,
        today: Callable[[], date],
        intent: str = "ask_knowledge",
        writing: CurrentWriter | None = None,
        shared: SharedIndex | None = None,
    ) -> None:
        self._intent, self._writing, self._shared = intent, writing, shared
        self._store, self._threads, self._today = store, threads, today
        self._brand = brand
        self._embedder = embedder
        self._name: str | None = None
        self._finder: Finder[PassageIndex] | None = None
        self._lock = threading.Lock()
        self._again_at = 0.0

    async def look_up(
        self, text: str, intent: str | None = None, *, may_offer: bool = False, is_guarded: bool = False,
        earlier: Exchange | None = None,
    ) -> dict[str, Any] | None:  # fmt: skip
        """What the documents say to this message, as JSON; None where they do not answer it, or where what the
        assistant says to `intent` anyway answers it better.

        Args:
            may_offer: where it is not sure enough, headings to choose from are better than nothing.
            is_guarded: the message seems to be an attack: no generator reads it.
            earlier: what was said just before; the question may mean something only with it.
        """
        begun = await self.begin(text, intent, may_offer=may_offer, is_guarded=is_guarded, earlier=earlier)
        if begun is None or begun.rest is None:
            return None if begun is None else dict(begun.known)
        return (await begun.rest.whole()).to_json()

    async def begin(
        self, text: str, intent: str | None = None, *, may_offer: bool = False, is_guarded: bool = False,
        earlier: Exchange | None = None,
    ) -> Begun | None:  # fmt: skip
        """`look_up`, which returns as soon as the first sentence of a reply has passed its checks."""
        before = earlier.customer if earlier else None
        found = await asyncio.to_thread(self.answer, text, intent, may_offer=may_offer, earlier=before)
        if isinstance(found, Answer) and self._writing is not None and not is_guarded:
            return await self._worded(text, found, self._writing, earlier)
        return None if found is None else Begun(known=found.to_json())

    async def _worded(self, text: str, answer: Answer, writing: CurrentWriter, earlier: Exchange | None) -> Begun:
        writer = await writing.get()
        language = identify_language(text)
        if writer is None or not writer.serves(answer, language, text):
            return Begun(known=answer.to_json())
        parts = writer.in_parts(text, answer, language, earlier)
        first = await anext(parts)
        if first.whole is not None:
            await parts.aclose()
            return Begun(known=first.whole.to_json())
        return Begun(known={**first.answer.to_json(), MORE: True}, rest=Rest(parts=parts, instead=answer))

    def usage(self) -> Mapping[str, float]:
        """What the generator was asked since it was loaded, and what it cost; empty where none serves."""
        used = self._writing.usage if self._writing is not None else None
        return asdict(used) if used else {}

    async def close(self) -> None:
        """End what words answers; let go of what is shared."""
        if self._writing is not None:
            await self._writing.close()
        if self._shared is not None:
            await asyncio.to_thread(self._shared.close)

    def answer(
        self, text: str, intent: str | None = None, *, may_offer: bool = False, earlier: str | None = None
    ) -> Answer | Offer | None:
        """`look_up`, on this thread. What the question alone does not find is looked for together with `earlier`, what
        the customer said before."""
        finder = self._current()
        if finder is None:
            return None
        found = self._found(finder, text, intent, may_offer, None)
        if isinstance(found, Answer) or earlier is None:
            return found
        after = self._found(finder, text, intent, may_offer, earlier)
        return after if isinstance(after, Answer) else found or after

    def _found(
        self, finder: Finder[PassageIndex], text: str, intent: str | None, may_offer: bool, earlier: str | None
    ) -> Answer | Offer | None:
        language = identify_language(text)
        known = None if language == UNDECIDED else language
        asked, vector = (text, None) if earlier is None else finder.together(text, earlier)
        found = finder.find(asked, day=self._today(), language=known, response_of=intent, vector=vector)
        hits = found.hits
        if not hits or hits[0].passage.response is not None:
            return None
        language = known or hits[0].passage.language  # "Packstation?" could be of any
        judged = judge(finder, found) if earlier is None else judge_after(finder, found, text)
        if judged is None:
            return None
        probability, gate = judged
        if probability >= gate.threshold:
            return compose(text, found.vector, hits, probability, finder.embedder, language, self._brand)
        if may_offer and probability >= gate.worth_showing and is_asking(text):
            return offer(hits, probability, self._brand.answer_words(language).offer, self._intent)
        return None

    async def quote(self, passage_id: str) -> dict[str, Any] | None:
        """A passage that the customer chose; None where it is not there any more, or not valid today."""
        finder = await asyncio.to_thread(self._current)
        passage = finder.index.find(passage_id) if finder else None
        if passage is None or passage.response is not None or not passage.is_valid(self._today()):
            return None
        return quote(passage, self._brand).to_json()

    def embedder(self) -> Embedder | None:
        """What reads the documents now; None where nothing was read yet."""
        finder = self._current()
        return finder.embedder if finder else None

    def _current(self) -> Finder[PassageIndex] | None:
        """What counts now, loaded when it is another than before."""
        with self._lock:
            name = self._shared.current() if self._shared else current(self._store)
            if name != self._name and time.monotonic() >= self._again_at and not self._load(name):
                self._again_at = time.monotonic() + AGAIN_AFTER_S
            return self._finder

    def _load(self, name: str | None) -> bool:
        """Take the current index; where it cannot be read, the one from before goes on answering."""
        try:
            index = self._shared.opened(self._store) if self._shared else load_index(self._store)
            self._finder = None if index is None else finder_of(index, self._store, self._threads, self._reading)
        except ArtifactInvalid:
            log.exception("knowledge.unreadable")
            return False
        self._name = name
        if index is not None:
            log.info("knowledge.loaded", extra={"passages": index.size})
        return True

    @property
    def _reading(self) -> Embedder | None:
        return self._finder.embedder if self._finder else self._embedder


def finder_of(index: Index, store: Path, threads: int, reading: Embedder | None = None) -> Finder[Index]:
    """The index with the encoders that its vectors and gates were made with; `reading` is one that is loaded already.

    Raises:
        ArtifactInvalid: one of them cannot be read.
    """
    if reading is None or reading.name != index.embedder:
        reading = EncoderEmbedder(encoder_folder(store, index.embedder), threads)
    judging = CrossEncoder(judge_folder(store, index.judge), threads) if index.judge else None
    return Finder(index=index, embedder=reading, judge=judging)


def loaded(store: Path, threads: int) -> Finder[KnowledgeIndex] | None:
    """The folder's current index with what reads for it; None where nothing was read yet. Raises ArtifactInvalid."""
    index = load_index(store)
    return None if index is None else finder_of(index, store, threads)
