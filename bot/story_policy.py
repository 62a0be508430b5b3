"""The policy that has learned from the stories, where config.yml asks for TEDPolicy: which version decides.

Training it is `bot.story_lessons`'s. Rules and memories come from the files at every start; what was learned from the
same files lies in the registry beside the understanding.
Invariant: whatever is wrong with a version, rules and memories still decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bot.assistant.loader import Assistant
from bot.assistant.source import Problems
from bot.dialogue.learned import POLICY, SURE_OF_WORDS, Expectation, LearnedPolicy, expected_intents
from bot.dialogue.training import expand_stories
from models.base import ModelError
from models.policy import POLICY_KIND, load_policy
from models.registry import Registry

log = logging.getLogger("kefu.policy")

UNEXPECTED = "UnexpecTEDIntentPolicy"

Say = Callable[[str], None]


def learns_from_stories(assistant: Assistant) -> bool:
    """Whether config.yml asks for a learned policy and there is something to learn."""
    return bool(assistant.stories) and ted_settings(assistant) is not None and assistant.config.rasa is None


def learned_policies(assistant: Assistant, registry: Registry, say: Say = log.warning) -> tuple[LearnedPolicy, ...]:
    """The version that decides beside rules and memories; none where none was asked for, or none can be loaded.

    Args:
        say: told in a sentence why there is none although one was asked for, or that the stories changed since.
    """
    if not learns_from_stories(assistant):
        return ()
    try:
        version = registry.current(POLICY_KIND)
        if version is None:
            say(f"{POLICY} has not learned from the stories yet: rules and remembered stories decide; run `kefu train`")
            return ()
        path = registry.path(POLICY_KIND, version)
        scorer = load_policy(path)
        if registry.manifest(POLICY_KIND, version).training.get("source") != assistant.stories_fingerprint:
            say(f"the stories or the domain changed since {POLICY} learned from them; run `kefu train`")
    except ModelError as error:
        say(f"{POLICY} cannot be used, rules and remembered stories decide: {error}")
        return ()
    settings = ted_settings(assistant) or {}
    sure = settings.get("e2e_confidence_threshold")
    return (
        LearnedPolicy(
            scorer=scorer,
            texts=assistant.action_texts,
            sure_of_words=float(sure) if isinstance(sure, int | float) else SURE_OF_WORDS,
            expected=_expected(assistant),
        ),
    )


def ted_settings(assistant: Assistant) -> Mapping[str, Any] | None:
    """TEDPolicy's entry in config.yml without its name; None where there is none."""
    return next((policy.settings for policy in assistant.policies if policy.name == POLICY), None)


def _expected(assistant: Assistant) -> frozenset[Expectation] | None:
    """Where config.yml lists UnexpecTEDIntentPolicy: what the stories lead one to expect."""
    if not any(policy.name == UNEXPECTED for policy in assistant.policies):
        return None
    conversations = expand_stories(assistant.stories, assistant.domain, Problems())
    return expected_intents(conversations, assistant.domain)
