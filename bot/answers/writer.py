"""A reply in the assistant's own words, written by a generator from the passage that answers, and checked.

Each sentence is checked as soon as it is whole; the first one that may not be said ends the writing, and what the
passage says itself is said instead (`bot.answers.compose`). Invariant: nothing unchecked leaves this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.answers.compose import Answer, written_by
from bot.answers.documents import Passage
from bot.answers.guard import Guard, unlike_brand
from bot.assistant.brand import Brand
from bot.redaction import mask
from models.generation import GenerationFailed, Generator

MOST_TOKENS = 120
"""Of a reply: about 90 English words; the starter's longest written one has 55."""

Messages = list[Mapping[str, str]]


def messages(assistant_name: str, shop: str, passage: str, question: str) -> Messages:
    """The prompt. Training and serving share it; what comes first never changes, so that it is read once."""
    told = f"You are {assistant_name} of {shop}. Answer the customer from the help page alone, briefly and warmly."
    return [
        {"role": "system", "content": told},
        {"role": "user", "content": f"Help page: {passage}\n\nCustomer: {question}"},
    ]


_FORGED = re.compile(r"(?im)^\s*(?:help page|customer|system|assistant)\s*[:：]|<\|")
"""A question that writes lines of the prompt itself, or a chat template's marks."""


def source_of(passage: Passage) -> str:
    """How the generator and the guard are shown a passage."""
    return f"{passage.title} – {passage.heading}\n{passage.text}"


@dataclass(frozen=True, kw_only=True)
class _Writing:
    """What came of writing: the text, or why there is none.

    `first_s`, `took_s`: until the first checked sentence, and until the end.
    """

    text: str | None
    problem: str | None
    first_s: float | None = None
    took_s: float = 0.0


class Writer:
    """Writes replies in the languages that its generator is good enough for.

    Args:
        brand: whose assistant it is, and whose words stand around a reply.
        is_elsewhere: the generator is not ours: it sees placeholders for personal data, and they are filled in again.
    """

    def __init__(
        self, generator: Generator, guard: Guard, brand: Brand, languages: Sequence[str],
        *, deadline_s: float, is_elsewhere: bool = False,
    ) -> None:  # fmt: skip
        self.generator, self._guard, self._brand = generator, guard, brand
        self._languages, self._deadline_s, self._is_elsewhere = frozenset(languages), deadline_s, is_elsewhere

    def serves(self, answer: Answer, language: str, question: str) -> bool:
        """Whether it may try: in the customer's language, from a passage in it, to a question that is only that."""
        is_in_language = language in self._languages and answer.passage.language == language
        return is_in_language and not _FORGED.search(question)

    async def worded(self, question: str, answer: Answer, language: str) -> Answer:
        """The answer in the generator's words where they pass; else as it is, saying why."""
        writing = await self._write(question, answer, language)
        about: dict[str, Any] = {"model": self.generator.name, "took_s": round(writing.took_s, 3)}
        if writing.first_s is not None:
            about["first_sentence_s"] = round(writing.first_s, 3)
        if writing.text is None:
            return replace(answer, generation={**about, "problem": writing.problem})
        return written_by(answer, writing.text, language, about, self._brand)

    async def _write(self, question: str, answer: Answer, language: str) -> _Writing:
        """One reply, sentence by checked sentence."""
        began, first_s = time.monotonic(), None
        source = source_of(answer.passage)
        masked = mask(question) if self._is_elsewhere else mask()
        read = masked.texts[0] if masked.texts else question
        prompt = messages(*self._brand.names(language), source, read)
        sentences: list[str] = []
        try:
            pieces = self.generator.stream(prompt, max_tokens=MOST_TOKENS, deadline_s=self._deadline_s)
            async with contextlib.aclosing(_whole_sentences(pieces)) as whole:
                async for written in whole:
                    sentence = masked.restore(written)
                    so_far = _joined([*sentences, sentence], language)
                    found = unlike_brand(so_far, self._brand, language) or await asyncio.to_thread(
                        self._guard.objection, sentence, source, question, language
                    )
                    if found is not None:
                        problem = f"{found.kind}: {found.words}" if found.words else found.kind
                        took_s = time.monotonic() - began
                        return _Writing(text=None, problem=problem, first_s=first_s, took_s=took_s)
                    first_s = first_s or time.monotonic() - began
                    sentences.append(sentence)
        except GenerationFailed as error:
            return _Writing(text=None, problem=str(error), first_s=first_s, took_s=time.monotonic() - began)
        text = _joined(sentences, language)
        took_s = time.monotonic() - began
        return _Writing(
            text=text or None, problem=None if text else "nothing was written", first_s=first_s, took_s=took_s
        )


def _joined(sentences: Sequence[str], language: str) -> str:
    return ("" if language == "zh" else " ").join(sentences)


_END = re.compile(r"(?<=[。！？])|(?<=[.!?])(?=\s)|\n+")


async def _whole_sentences(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Pieces of text → its sentences; the last one may have no mark at its end."""
    kept = ""
    async with contextlib.aclosing(pieces) as heard:
        async for piece in heard:
            kept += piece
            *whole, kept = _END.split(kept)
            for sentence in whole:
                if sentence.strip():
                    yield sentence.strip()
    if kept.strip():
        yield kept.strip()
