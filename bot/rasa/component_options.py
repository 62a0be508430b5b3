"""Which options of Rasa's components and policies are read here, which change what the bot does, and which are moot.

Values only. Invariant: an option that is in no table belongs to the training of a Rasa model that does not run here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_RULES = (
    *("core_fallback_threshold", "core_fallback_action_name", "enable_fallback_prediction"),
    *("restrict_rules", "check_for_contradictions", "use_nlu_confidence_as_score"),
)
_LEARNED = ("max_history", "epochs", "random_seed", "constrain_similarities", "e2e_confidence_threshold")
_MEMORY = ("max_history", "use_nlu_confidence_as_score")

HONOURED: Mapping[str, frozenset[str]] = {
    "RulePolicy": frozenset(_RULES),
    "MemoizationPolicy": frozenset(_MEMORY),
    "AugmentedMemoizationPolicy": frozenset(_MEMORY),
    "TEDPolicy": frozenset(_LEARNED),
    "FallbackClassifier": frozenset({"threshold", "ambiguity_threshold"}),
    "DucklingEntityExtractor": frozenset({"dimensions", "timezone", "locale", "url", "timeout"}),
    "RegexEntityExtractor": frozenset({"case_sensitive", "use_lookup_tables", "use_regexes", "use_word_boundaries"}),
    "KeywordIntentClassifier": frozenset({"case_sensitive"}),
    "ResponseSelector": frozenset({"retrieval_intent"}),
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An option with a value under which the bot acts otherwise than in Rasa. Without `component`: in each."""

    option: str
    applies: Callable[[Any], bool]
    message: str
    remedy: str
    component: str | None = None


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        option="intent_tokenization_flag",
        applies=lambda value: value is True,
        message="an intent such as `check+book` is one intent of its own here, not the two that it is joined of",
        remedy="Kefu finds several intents in a message by itself: test messages with two (tests/several_*.yml).",
    ),
    Difference(
        component="DIETClassifier",
        option="entity_recognition",
        applies=lambda value: value is False,
        message="the entity tagger is trained wherever nlu.yml has annotations; DIET here left them to others",
        remedy="Take annotations out of nlu.yml that only patterns, lookups or Duckling should find.",
    ),
    Difference(
        component="DIETClassifier",
        option="intent_classification",
        applies=lambda value: value is False,
        message="the intent is read by the base model's head; DIET here left it to another component",
        remedy="Compare with `kefu test`: the other component's intents may have been others.",
    ),
    Difference(
        option="priority",
        applies=lambda value: value is not None,
        message="policies keep Rasa's default priorities: rules before memory before learned",
        remedy="Write as a rule what must win.",
    ),
    Difference(
        component="FallbackClassifier",
        option="threshold",
        applies=lambda value: isinstance(value, int | float) and value > 0.6,
        message="such a high threshold was chosen for DIET's confidences; Kefu's are calibrated and often lower",
        remedy="Look at the fallbacks in `kefu test` and `kefu evaluate`; 0.3 to 0.5 is common here.",
    ),
)


def differences(component: str, settings: Mapping[str, Any]) -> list[tuple[str, Difference]]:
    """The options set in `settings` that change what the bot does, each with why."""
    return [
        (entry.option, entry)
        for entry in DIFFERENCES
        if entry.component in (None, component) and entry.option in settings and entry.applies(settings[entry.option])
    ]


def unread(component: str, settings: Mapping[str, Any]) -> list[str]:
    """The options set in `settings` that nothing here reads and that change nothing but Rasa's own training."""
    told = {option for option, _ in differences(component, settings)}
    return [
        name for name in settings if name != "name" and name not in HONOURED.get(component, ()) and name not in told
    ]
