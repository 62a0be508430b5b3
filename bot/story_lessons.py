"""Training the policy that learns from the stories, where config.yml asks for TEDPolicy.

What it learns from is `bot.dialogue.learned`'s to say, how is `training.finetune_policy`'s,
serving it `bot.story_policy`'s.
Invariant: the same files and options give the version that was made from them before.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.assistant.loader import Assistant
from bot.assistant.source import Problems
from bot.dialogue.learned import POLICY, policy_lessons
from bot.dialogue.training import expand_stories
from bot.story_policy import Say, learns_from_stories, ted_settings
from models.base import ModelError
from models.policy import POLICY_KIND, load_policy
from models.registry import Registry
from training.policy_data import PolicySettings

Progress = Callable[[str, int, int], None]


def learn_policy(
    assistant: Assistant, registry: Registry, scratch: Path, progress: Progress, say: Say, *, force: bool = False
) -> str | None:
    """Train from the stories, or find the version that was trained from exactly these, and let it decide.

    There is no gate: like a rule, what is learned from a story holds as soon as the story is in the files; the test
    conversations are then played with it. Returns the version; None where there is nothing to learn.
    """
    if not learns_from_stories(assistant):
        return None
    if importlib.util.find_spec("torch") is None:
        say(f"note: {POLICY} is not trained: PyTorch is not installed; pip install 'kefu[train]'")
        return None
    from training.finetune_policy import policy_fingerprint, train_policy

    settings = policy_settings(ted_settings(assistant) or {})
    conversations = expand_stories(assistant.stories, assistant.domain, Problems())
    rng = random.Random(settings.random_seed)
    lessons = policy_lessons(conversations, assistant.domain, settings.max_history, rng)
    if not lessons:
        return None
    source = assistant.stories_fingerprint
    version = None if force else registry.find(POLICY_KIND, policy_fingerprint(lessons, settings, source))
    if version is None or not _loads(registry, version):
        out = scratch / "policy"
        train_policy(lessons, settings, out, assistant.assistant_id, progress, source=source)
        version = registry.add(POLICY_KIND, out)
        share = registry.manifest(POLICY_KIND, version).metrics.get("held_out_accuracy")
        told = "" if share is None else f"; of stories that it had not seen it foretold {share:.0%} of the actions"
        say(f"learned from {len(assistant.stories)} stories ({len(lessons)} decisions){told}")
    if _current(registry) != version:
        registry.promote(POLICY_KIND, version)
    return version


def _current(registry: Registry) -> str | None:
    """None also where nobody can read which version decides: the one that was just made does then."""
    try:
        return registry.current(POLICY_KIND)
    except ModelError:
        return None


def policy_settings(ted: Mapping[str, Any]) -> PolicySettings:
    """Of TEDPolicy's settings those that mean the same here; one that is malformed keeps our default."""
    found: dict[str, Any] = {}
    for name in ("max_history", "epochs", "random_seed"):
        value = ted.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and (value > 0 or name == "random_seed"):
            found[name] = value
    if isinstance(ted.get("constrain_similarities"), bool):
        found["constrain_similarities"] = ted["constrain_similarities"]
    return PolicySettings(**found)


def _loads(registry: Registry, version: str) -> bool:
    try:
        load_policy(registry.path(POLICY_KIND, version))
    except ModelError:
        return False
    return True
