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
from bot.answers.exchange import Exchange
from bot.answers.guard import Guard
from bot.redaction import mask
from models.generation import GenerationFailed, Generator

MOST_TOKENS = 120
"""Of a reply: about 90 English words; the starter's longest written one has 55."""

Messages = list[Mapping[str, str]]


def messages(assistant_name: str, shop: str, passage: str, question: str, earlier: Exchange | None = None) -> Messages:
    """The prompt. Training and serving share it; what comes first never changes, so that it is read once.

    Args:
        earlier: what was said before; the local generator was trained without.
    """
    told = f"You are {assistant_name} of {shop}. Answer the customer from the help page alone, briefly and warmly."
    said = [("user", earlier.customer), ("assistant", earlier.bot)] if earlier else []
    return [
        {"role": "system", "content": told},
        *({"role": role, "content": text} for role, text in said),
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
        names: by language, the assistant's and the shop's.
        is_elsewhere: the generator is not ours: it sees placeholders for personal data, and they are filled in again;
            and it sees what was said before, which ours was not trained to read.
    """

    def __init__(
        self, generator: Generator, guard: Guard, names: Mapping[str, tuple[str, str]], languages: Sequence[str],
        *, sign_offs: Mapping[str, str], deadline_s: float, is_elsewhere: bool = False,
    ) -> None:  # fmt: skip
        self.generator, self._sign_offs, self._is_elsewhere = generator, sign_offs, is_elsewhere
        self._guard, self._names, self._languages, self._deadline_s = guard, names, frozenset(languages), deadline_s

    def serves(self, answer: Answer, language: str, question: str) -> bool:
        """Whether it may try: in the customer's language, from a passage in it, to a question that is only that."""
        is_in_language = language in self._languages and answer.passage.language == language
        return is_in_language and not _FORGED.search(question)

    async def worded(self, question: str, answer: Answer, language: str, earlier: Exchange | None = None) -> Answer:
        """The answer in the generator's words where they pass; else as it is, saying why."""
        writing = await self._write(question, answer, language, self._readable(earlier))
        about: dict[str, Any] = {"model": self.generator.name, "took_s": round(writing.took_s, 3)}
        if writing.first_s is not None:
            about["first_sentence_s"] = round(writing.first_s, 3)
        if writing.text is None:
            return replace(answer, generation={**about, "problem": writing.problem})
        return written_by(answer, writing.text, language, about, self._sign_offs)

    def _readable(self, earlier: Exchange | None) -> Exchange | None:
        """What was said before, for a generator that reads it; not where it has lines of the prompt."""
        if not self._is_elsewhere or earlier is None:
            return None
        return None if _FORGED.search(f"{earlier.customer}\n{earlier.bot}") else earlier

    async def _write(self, question: str, answer: Answer, language: str, earlier: Exchange | None) -> _Writing:
        """One reply, sentence by checked sentence."""
        began, first_s = time.monotonic(), None
        source = source_of(answer.passage)
        told = [question, *((earlier.customer, earlier.bot) if earlier else ())]
        masked = mask(*told) if self._is_elsewhere else mask()
        read, *before = masked.texts or told
        seen = Exchange(customer=before[0], bot=before[1]) if before else None
        prompt = messages(*self._names.get(language, self._names["en"]), source, read, seen)
        customers = "\n".join([question, *([earlier.customer] if earlier else [])])
        sentences: list[str] = []
        try:
            pieces = self.generator.stream(prompt, max_tokens=MOST_TOKENS, deadline_s=self._deadline_s)
            async with contextlib.aclosing(_whole_sentences(pieces)) as whole:
                async for written in whole:
                    sentence = masked.restore(written)
                    found = await asyncio.to_thread(self._guard.objection, sentence, source, customers, language)
                    if found is not None:
                        problem = f"{found.kind}: {found.words}" if found.words else found.kind
                        took_s = time.monotonic() - began
                        return _Writing(text=None, problem=problem, first_s=first_s, took_s=took_s)
                    first_s = first_s or time.monotonic() - began
                    sentences.append(sentence)
        except GenerationFailed as error:
            return _Writing(text=None, problem=str(error), first_s=first_s, took_s=time.monotonic() - began)
        text = ("" if language == "zh" else " ").join(sentences).strip()
        took_s = time.monotonic() - began
        return _Writing(
            text=text or None, problem=None if text else "nothing was written", first_s=first_s, took_s=took_s
        )


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
