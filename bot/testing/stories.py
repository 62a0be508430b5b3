"""Test stories as Rasa writes them: which files hold them, and each as the conversations it stands for.

Playing them is `play`'s. Invariant: a checkpoint or an `or` multiplies a story exactly as it does in training.
"""

from __future__ import annotations

from pathlib import Path

from bot.assistant.domain import Domain
from bot.assistant.source import Problems, read_yaml
from bot.assistant.stories import Story, read_stories
from bot.dialogue.training import TrainingConversation, expand_stories
from bot.errors import AssistantError, Where

PREFIX = "test_"
"""Rasa takes only files whose name begins so for test stories."""


def story_files(place: Path) -> list[Path]:
    """`place` itself, or, of a folder, every `test_*.yml` below it that has stories.

    Raises:
        AssistantError: there is nothing at `place`.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise AssistantError("there is no such file or folder", where=Where(file=place))
    files = sorted(file for file in place.rglob(f"{PREFIX}*") if file.suffix in (".yml", ".yaml"))
    return [file for file in files if (root := read_yaml(file, Problems())) is not None and root.get("stories")]


def read_test_stories(files: list[Path], domain: Domain) -> list[TrainingConversation]:
    """Every way through the stories of `files`, in their order.

    Raises:
        AssistantError: a file cannot be read, with its line.
    """
    problems = Problems()
    stories: list[Story] = []
    for file in files:
        root = read_yaml(file, problems)
        section = root.get("stories") if root is not None else None
        if section is not None:
            stories += read_stories(section, problems)
    conversations = expand_stories(stories, domain, problems)
    if error := problems.first_error:
        raise error.as_error()
    return conversations
