"""A reply in the assistant's own words, written by a generator and checked: from the passage that answers, or from a
response of the domain.

Each sentence is checked as soon as it is whole; the first one that may not be said ends the writing, and what the
passage (`bot.answers.compose`) or the response says itself is said instead; where sentences were said already, the
passage follows them. Invariant: nothing unchecked leaves this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.answers.compose import Answer, without_marks, written_by
from bot.answers.documents import Passage
from bot.answers.exchange import Exchange
from bot.answers.guard import Guard, Objection, unlike_brand
from bot.answers.parts import Part, whole_of
from bot.assistant.brand import Brand
from bot.assistant.brand_voice import Voice
from bot.redaction import mask
from bot.safety.screening import screen
from models.generation import GenerationFailed, Generator
from models.languages import identify_language

MOST_TOKENS = 120
"""Of a reply: about 90 English words; the starter's longest written one has 55."""

Messages = list[Mapping[str, str]]


def messages(assistant_name: str, shop: str, passage: str, question: str, earlier: Exchange | None = None) -> Messages:
    """The prompt. Training and serving share it; what comes first never changes, so that it is read once.

    Args:
        earlier: what was said before, where anything was.
    """
    told = f"You are {assistant_name} of {shop}. Answer the customer from the help page alone, briefly and warmly."
    said = [("user", earlier.customer), ("assistant", earlier.bot)] if earlier else []
    return [
        {"role": "system", "content": told},
        *({"role": role, "content": text} for role, text in said),
        {"role": "user", "content": f"Help page: {passage}\n\nCustomer: {question}"},
    ]


def rephrasing_messages(brand: Brand, language: str, text: str) -> Messages:
    """The prompt for a response's text."""
    assistant, company = brand.names(language)
    manner = _manner(brand.voice(language), language)
    told = (
        f"You are {assistant} of {company}. Say the message in other words, {manner}. "
        "Keep every fact, number, name and link, and add none. What asks stays a question. "
        f"Answer in {_LANGUAGES.get(language, 'the same language')} with the new message alone."
    )
    return [{"role": "system", "content": told}, {"role": "user", "content": f"Message: {text}"}]


_LANGUAGES = {"en": "English", "zh": "Chinese"}
_FORMALITY = {"casual": "casually", "neutral": "plainly", "formal": "formally, without short forms"}
_FORMALITY_ZH = {"casual": "casually, with 你", "neutral": "plainly", "formal": "formally, with 您"}
_WARMTH = {"low": "soberly", "medium": "warmly", "high": "very warmly"}
_PERSON = {"we": "as “we”", "i": "as “I”"}
_EMOJI = {"none": "without emoji", "few": "with two emoji at most"}


def _manner(voice: Voice, language: str) -> str:
    """The brand's voice, as a generator is told it."""
    formality = _FORMALITY_ZH if language == "zh" else _FORMALITY
    unit = "characters" if language == "zh" else "words"
    parts = [
        f"{formality[voice.formality]} and {_WARMTH[voice.warmth]}",
        _PERSON[voice.person] if voice.person else None,
        _EMOJI.get(voice.emoji),
        f"in at most {voice.length} {unit}" if voice.length else None,
        *(f"with “{better}” for “{word}”" for word, better in voice.prefer.items()),
    ]
    return ", ".join(filter(None, parts))


_FORGED = re.compile(
    r"(?:^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])[ \t\xa0\u3000]*"
    r"(?:help page|message|customer|system|assistant)\s{0,9}[:：]"
    r"|[<‹][|｜]|</?s>|<(?:start|end)_of_turn>|\[/?INST\]",
    re.IGNORECASE,
)
"""What writes lines of the prompt itself, or a chat template's marks."""
_CHARS_REPHRASED = {"zh": 120}
_CHARS_REPHRASED_ELSE = 400
"""A longer text has no room in the generator's reply."""


def source_of(passage: Passage) -> str:
    """How the generator and the guard are shown a passage."""
    return f"{passage.title} – {passage.heading}\n{passage.text}"


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What came of writing: the text, or why there is none. `has_failed`: there may be one next time."""

    text: str | None
    problem: str | None = None
    has_failed: bool = False


class _NotWritten(Exception):
    """There is no whole reply, and why. `has_failed`: there may be one next time."""

    def __init__(self, problem: str, *, has_failed: bool = False) -> None:
        super().__init__(problem)
        self.has_failed = has_failed


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

    async def worded(self, question: str, answer: Answer, language: str, earlier: Exchange | None = None) -> Answer:
        """The answer in the generator's words where they pass; else as it is, saying why."""
        return await whole_of(self.in_parts(question, answer, language, earlier))

    async def in_parts(
        self, question: str, answer: Answer, language: str, earlier: Exchange | None = None
    ) -> AsyncGenerator[Part, None]:
        """`worded` while it is written: each sentence once it has passed; the last one says whose words they are.

        Where the writing ends before its end, the last part is the answer as it was, saying why.
        """
        before = self._readable(earlier, language)
        told = (question, before.customer, before.bot) if before else (question,)
        may_say = "\n".join(told[:2])  # the customer's own words
        source = source_of(answer.passage)
        about: dict[str, Any] = {"model": self.generator.name}
        began, problem, ending = time.monotonic(), None, ""
        said: list[str] = []
        try:
            sentences = self._sentences(
                told, lambda *read: self._messages(source, language, *read), source, may_say, language
            )
            async with contextlib.aclosing(sentences) as written:
                async for sentence, is_last in written:
                    about.setdefault("first_sentence_s", round(time.monotonic() - began, 3))
                    said.append(sentence)
                    if is_last:
                        ending = sentence
                        break
                    part = replace(answer, text=sentence, quoted="", generation=dict(about))
                    yield Part(answer=part, joined_by=_space(language) if len(said) > 1 else "")
        except _NotWritten as error:
            problem = str(error)
        about["took_s"] = round(time.monotonic() - began, 3)
        if problem is not None:
            whole = replace(answer, generation={**about, "problem": problem})
            yield Part(answer=whole, joined_by="\n", whole=whole)
            return
        whole = written_by(answer, _joined(said, language), language, about, self._brand)
        last = written_by(answer, ending, language, about, self._brand)
        yield Part(answer=last, joined_by=_space(language) if ending else "\n", whole=whole)

    async def rephrased(self, text: str, inserted: Sequence[str], meant: str | None) -> Writing:
        """A response's text in the generator's words, if they say the same: no more, no less, and as the brand would.

        Args:
            inserted: what its slots hold; it must stand there as it is.
            meant: the language it is meant to be in, where its words alone do not tell.
        """
        found_language = identify_language(text)
        language = (meant or found_language) if found_language == "und" else found_language
        if language not in self._languages:
            return Writing(text=None, problem="it is in no language that is written")
        # Lines are a list's or a letter's; they would run together.
        if len(text.strip().splitlines()) > 1 or len(text) > _CHARS_REPHRASED.get(language, _CHARS_REPHRASED_ELSE):
            return Writing(text=None, problem="it is too long, or has lines")
        if _FORGED.search(text) or any(screen(words) for words in inserted):
            return Writing(text=None, problem="it holds what seems to be an attack")
        # A generator elsewhere needs no slot's value to word what stands around it.
        sent, values = _without_values(text, inserted) if self._is_elsewhere else (text, {})
        writing = await self._write(
            (sent,), lambda read: rephrasing_messages(self._brand, language, read), text, text, language, values
        )
        if writing.text is None:
            return writing
        found = await asyncio.to_thread(self._guard.loss, text, writing.text, inserted, language)
        return writing if found is None else replace(writing, text=None, problem=_told(found))

    def _messages(self, source: str, language: str, question: str, *before: str) -> Messages:
        earlier = Exchange(customer=before[0], bot=before[1]) if before else None
        return messages(*self._brand.names(language), source, question, earlier)

    def _readable(self, earlier: Exchange | None, language: str) -> Exchange | None:
        """What was said before, without the marks of answers; nothing where it has lines of the prompt."""
        if earlier is None or _FORGED.search(f"{earlier.customer}\n{earlier.bot}"):
            return None
        return replace(earlier, bot=without_marks(earlier.bot, language, self._brand))

    async def _write(
        self, told: Sequence[str], prompt: Callable[..., Messages], source: str, may_say: str, language: str,
        values: Mapping[str, str] = {},
    ) -> Writing:  # fmt: skip
        """One reply; see `_sentences`."""
        sentences: list[str] = []
        try:
            written = self._sentences(told, prompt, source, may_say, language, values)
            async with contextlib.aclosing(written):
                async for sentence, _ in written:
                    sentences.append(sentence)
        except _NotWritten as error:
            return Writing(text=None, problem=str(error), has_failed=error.has_failed)
        return Writing(text=_joined(sentences, language))

    async def _sentences(
        self, told: Sequence[str], prompt: Callable[..., Messages], source: str, may_say: str, language: str,
        values: Mapping[str, str] = {},
    ) -> AsyncGenerator[tuple[str, bool], None]:  # fmt: skip
        """One reply, sentence by checked sentence, at least one; and whether it is known to be the last.

        Args:
            told: what the prompt is made of; a generator elsewhere reads it without personal data.
            may_say: what may be said beside the source.
            values: placeholders of `told`, and what they stand for.
        Raises:
            _NotWritten: there is no more, and what there is is not all.
        """
        masked = await asyncio.to_thread(mask, *told) if self._is_elsewhere else mask()
        asked = prompt(*(masked.texts or told))
        sentences: list[str] = []
        try:
            pieces = self.generator.stream(asked, max_tokens=MOST_TOKENS, deadline_s=self._deadline_s)
            async with contextlib.aclosing(_whole_sentences(pieces)) as whole:
                async for written, is_last in whole:
                    sentences.append(_VALUE.sub(lambda it: values.get(it[0], it[0]), masked.restore(written)))
                    if found := await self._objection(sentences, source, may_say, language):
                        raise _NotWritten(_told(found))
                    yield sentences[-1], is_last
        except GenerationFailed as error:
            raise _NotWritten(str(error), has_failed=True) from error
        if not sentences:
            raise _NotWritten("nothing was written")

    async def _objection(self, so_far: Sequence[str], source: str, may_say: str, language: str) -> Objection | None:
        """Why the last of these sentences must not be said."""
        if found := unlike_brand(_joined(so_far, language), self._brand, language):
            return found
        return await asyncio.to_thread(self._guard.objection, so_far[-1], source, may_say, language)


_VALUE = re.compile(r"\[value_\d+\]")


def _without_values(text: str, inserted: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The text with a placeholder for each of its slots' values, and what the placeholders stand for."""
    words = sorted({each for each in inserted if each.strip()}, key=len, reverse=True)
    if not words:
        return text, {}
    names = {each: f"[value_{number}]" for number, each in enumerate(words, start=1)}
    sent = re.sub("|".join(map(re.escape, words)), lambda it: names[it[0]], text)
    return sent, {name: each for each, name in names.items()}


def _told(found: Objection) -> str:
    return f"{found.kind}: {found.words}" if found.words else found.kind


def _joined(sentences: Sequence[str], language: str) -> str:
    return _space(language).join(sentences)


def _space(language: str) -> str:
    return "" if language == "zh" else " "


_END = re.compile(r"(?<=[。！？])|(?<=[.!?])(?=\s)|\n+")


async def _whole_sentences(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[tuple[str, bool], None]:
    """Pieces of text → its sentences, and whether each is known to be the last, which may have no mark at its end."""
    kept = ""
    async with contextlib.aclosing(pieces) as heard:
        async for piece in heard:
            kept += piece
            *whole, kept = _END.split(kept)
            for sentence in whole:
                if sentence.strip():
                    yield sentence.strip(), False
    if kept.strip():
        yield kept.strip(), True
