"""The assistant's files compiled into what decides: rules, memoized stories, and how their proposals are joined.

A learned policy comes in through the `Policy` protocol: this module does not know what stands behind it.
Invariant: built once per assistant and never changed; contradictions in the files stop the building.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.assistant.loader import Assistant
from bot.assistant.source import Problem, Problems
from bot.dialogue.contradictions import analyse
from bot.dialogue.memoization import Memoization, compile_memoization
from bot.dialogue.predictions import Choice, Prediction, choose
from bot.dialogue.rules import RulePolicy, RuleSettings, compile_rules, training_examples
from bot.dialogue.states import RuleOnly
from bot.dialogue.tracker import Tracker
from bot.dialogue.training import TrainingConversation, expand_rules, expand_stories

_MEMOIZATION = ("MemoizationPolicy", "AugmentedMemoizationPolicy")
_NO_RULES = RuleSettings(has_fallback=False)


class Policy(Protocol):
    """What proposes an action beside the rules: memoized stories, or a model that has learned from them."""

    def predict(self, tracker: Tracker, rule_only: RuleOnly) -> Prediction:
        """The proposal for the tracker's present moment; slots and forms in `rule_only` occur in no story."""
        ...


@dataclass(frozen=True, kw_only=True)
class Policies:
    """Rules, memories and learned policies never tie: their priorities differ."""

    rules: RulePolicy
    memories: tuple[Memoization, ...]
    learned: tuple[Policy, ...] = ()

    def predict(self, tracker: Tracker) -> Choice:
        """What to do next."""
        by_rule, _ = self.rules.predict(tracker)
        predictions = [by_rule]
        # A form that just goes on outranks every story: do not look for one.
        if not by_rule.is_no_user:
            others: tuple[Policy, ...] = (*self.memories, *self.learned)
            predictions += [policy.predict(tracker, self.rules.rule_only) for policy in others]
        return choose(predictions, tracker.rejected_action)


def compile_policies(assistant: Assistant, problems: Problems, learned: Sequence[Policy] = ()) -> Policies:
    """What decides in this assistant's conversations; problems of its rules and stories are reported."""
    domain = assistant.domain
    by_name = {policy.name: policy.settings for policy in assistant.policies}
    settings = RuleSettings.of(by_name["RulePolicy"]) if "RulePolicy" in by_name else _NO_RULES
    is_ruled = "RulePolicy" in by_name
    rules: list[TrainingConversation] = expand_rules(assistant.rules, domain, problems) if is_ruled else []
    stories = expand_stories(assistant.stories, domain, problems)
    rule_policy = analyse(compile_rules(rules, stories, domain, settings), rules, stories, problems)
    examples = training_examples(stories, domain, omit_unset=False)
    return Policies(
        rules=rule_policy,
        memories=tuple(
            compile_memoization(policy.name, policy.settings, examples)
            for policy in assistant.policies
            if policy.name in _MEMOIZATION
        ),
        learned=tuple(learned),
    )


def check_dialogue(assistant: Assistant) -> tuple[Problem, ...]:
    """Contradictions, incomplete rules and loose checkpoints: what only compiling the dialogue can find."""
    problems = Problems()
    compile_policies(assistant, problems)
    return tuple(sorted(problems.found, key=lambda problem: problem.level != "error"))
