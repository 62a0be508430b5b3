"""The starter's own test conversations, played with its real trained model and its real actions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.app import actions_of
from bot.assistant.loader import load_assistant, load_tests
from bot.learning import Candidate
from bot.rehearsal import ConversationResult, play_conversations
from bot.settings import STARTER
from bot.turns import Bot
from models.base import KIND
from models.registry import Registry
from models.understanding import load_understander

CONVERSATIONS = load_tests(STARTER).conversations


@pytest.fixture(scope="module")
def results(starter_home: Path) -> dict[str, ConversationResult]:
    assistant = load_assistant(STARTER, {})
    registry = Registry(starter_home / "models", assistant.assistant_id)
    version = registry.current(KIND)
    assert version is not None
    reader = Candidate(load_understander(registry.path(KIND, version), 1))

    async def play() -> list[ConversationResult]:
        bot = Bot.of(assistant, actions_of(assistant))
        try:
            return await play_conversations(bot, reader, CONVERSATIONS)
        finally:
            await bot.actions.close()

    return {result.name: result for result in asyncio.run(play())}


def test_the_starter_brings_twenty_in_each_language() -> None:
    by_language = {language: [c for c in CONVERSATIONS if c.language == language] for language in ("en", "zh")}
    assert min(map(len, by_language.values())) >= 20
    assert len({conversation.name for conversation in CONVERSATIONS}) == len(CONVERSATIONS)


@pytest.mark.parametrize("name", [conversation.name for conversation in CONVERSATIONS])
def test_it_goes_as_written(results: dict[str, ConversationResult], name: str) -> None:
    assert results[name].passed, f"\n{results[name].diff()}"
