"""The starter's local writer in the trained home, and questions that it has not learned from, for bench_generation.

Invariant: the generator and the guard are made as `kefu serve` makes them.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.answers.documents import Passage
from bot.answers.index_files import GUARD
from bot.answers.knowledge import is_from
from bot.answers.service import loaded
from bot.answers.writer import MOST_TOKENS, Messages, Writer, messages, source_of
from bot.answers.writers import WRITER, Writers, named
from bot.app import writers_of
from bot.assistant.loader import Assistant, load_assistant
from bot.knowing import is_held_out, training_questions
from bot.settings import Settings, load_settings
from models.generation import GenerationFailed, Generator
from tests.bench.serving import trained_home
from tests.server import STARTER

SEED = 0
DEADLINE_S = 120.0
"""Nothing here is late: a slow machine is measured, not cut off."""

Part = tuple[Mapping[str, Any], Mapping[str, bool]]
"""Figures, and each target with whether it was met."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The starter in the trained home, with what words its answers."""

    settings: Settings
    assistant: Assistant
    store: Path

    @classmethod
    def found(cls, *, has_judge: bool = True) -> Trained:
        settings, assistant = load_settings(home=trained_home()), load_assistant(STARTER, {})
        store = settings.knowledge_dir(assistant.assistant_id)
        if named(store / WRITER) is None or (has_judge and named(store / GUARD) is None):
            sys.exit("no writer or no judge: run `kefu knowledge tune --only judge --only writer` in that home first")
        return cls(settings=settings, assistant=assistant, store=store)

    @property
    def writers(self) -> Writers:
        """As `kefu serve` makes them."""
        return writers_of(self.settings, self.assistant)

    @property
    def folder(self) -> Path:
        return self.store / str(named(self.store / WRITER))

    def questions(self) -> list[tuple[str, Passage]]:
        """The English questions that nothing learned from, each with the passage that answers it, mixed."""
        finder = loaded(self.store, 1)
        assert finder is not None
        found = []
        for each in training_questions(self.assistant)[0]:
            right = next((one for one in finder.index.passages if is_from(one, each.sources[:1])), None)
            if right is not None and each.language == right.language == "en" and is_held_out(each):
                found.append((each.question, right))
        random.Random(SEED).shuffle(found)
        return found

    def prompts(self, n: int) -> list[Messages]:
        return [self.prompt(question, passage) for question, passage in self.questions()[:n]]

    def prompt(self, question: str, passage: Passage, shop: str | None = None) -> Messages:
        brand = self.assistant.brand
        return messages(brand.assistant_name["en"], shop or brand.name["en"], source_of(passage), question)


async def said(generator: Generator, prompt: Messages) -> str:
    """A whole reply, or as much of it as came."""
    text = ""
    with contextlib.suppress(GenerationFailed):  # longer than MOST_TOKENS
        async for piece in generator.stream(prompt, max_tokens=MOST_TOKENS, deadline_s=DEADLINE_S):
            text += piece
    return text.strip()


@asynccontextmanager
async def writing(writers: Writers) -> AsyncGenerator[Writer]:
    """The writer, whose process runs."""
    writer = writers.make()
    try:
        await said(writer.generator, [{"role": "user", "content": "Hello!"}])
        yield writer
    finally:
        await writer.generator.close()


async def replies_to(writers: Writers, prompts: Sequence[Messages]) -> list[str]:
    generator, _ = writers.generator()
    try:
        return [await said(generator, prompt) for prompt in prompts]
    finally:
        await generator.close()
