"""Do rules and stories agree? Each is replayed against the compiled rules; both names of a contradiction are reported.

As a by-product: which rules occur in stories. Turns decided by the others are hidden from stories.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bot.assistant.source import Problems
from bot.dialogue.events import (
    ACTION_LISTEN,
    SHOULD_NOT_BE_SET,
    ActionExecuted,
    ActionExecutionRejected,
    ActiveLoop,
    Event,
    SlotSet,
    UserUttered,
)
from bot.dialogue.rules import (
    DEFAULT_INTENT_ACTIONS,
    RulePolicy,
    Source,
    index_rules,
    listen_source,
    loop_source,
    source_of,
)
from bot.dialogue.situation import Situation
from bot.dialogue.states import state_of
from bot.dialogue.tracker import Tracker
from bot.dialogue.training import SNIPPET, TrainingConversation


def analyse(
    policy: RulePolicy,
    rules: Sequence[TrainingConversation],
    stories: Sequence[TrainingConversation],
    problems: Problems,
) -> RulePolicy:
    """The policy that knows which turns to hide; what contradicts or is incomplete is reported as an error."""
    if policy.settings.restricts_rules:
        _check_single_message(rules, problems)
    if not policy.settings.checks_contradictions:
        return policy
    _check_complete(policy, rules, problems)
    analysis = _Analysis(policy=policy, problems=problems)
    for conversation in rules:
        for step in analysis.steps(conversation):
            analysis.remember(conversation, step)
    for conversation in (*stories, *rules):
        for step in analysis.steps(conversation):
            analysis.check(conversation, step)
    return analysis.finish()


def _check_single_message(rules: Sequence[TrainingConversation], problems: Problems) -> None:
    for rule in rules:
        if sum(isinstance(event, UserUttered) for event in rule.events) > 1:
            message = f"the rule '{rule.name}' contains more than one user message"
            problems.error(rule.where, message, "A rule answers one message. Write a story for a longer exchange.")


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One action of a conversation: what it is, and what the rules would have done."""

    action: str
    predicted: str | None
    source: Source


@dataclass(kw_only=True)
class _Analysis:
    policy: RulePolicy
    problems: Problems
    names: dict[Source, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    used_in_stories: set[Source] = field(default_factory=set)

    def steps(self, conversation: TrainingConversation) -> Iterator[_Step]:
        tracker = Tracker(self.policy.domain, conversation.name)
        is_unpredictable = True
        for event in _applied(conversation, self.policy):
            if isinstance(event, ActionExecuted):
                if event.name == SNIPPET:
                    is_unpredictable = True
                elif is_unpredictable or conversation.is_unpredictable(event):
                    is_unpredictable = False
                else:
                    yield self._predict(tracker, event.name or event.action_text or "", is_rule=conversation.is_rule)
            tracker.apply(event)

    def _predict(self, tracker: Tracker, action: str, *, is_rule: bool) -> _Step:
        predicted, source = self._action(tracker, is_rule=is_rule)
        loop = tracker.situation.loop_name
        if loop and predicted == loop and predicted != action:
            # The form always goes first; in an exchange that leaves it, it would have rejected the message.
            tracker.apply(ActionExecutionRejected(name=loop))
            predicted, source = self._action(tracker, is_rule=is_rule)
        return _Step(action=action, predicted=predicted, source=source)

    def _action(self, tracker: Tracker, *, is_rule: bool) -> tuple[str | None, Source]:
        prediction, source = self.policy.predict(tracker)
        if not is_rule and prediction.scores == self.policy.default_scores():
            return None, source
        return prediction.best()[0], source

    def remember(self, conversation: TrainingConversation, step: _Step) -> None:
        """Which rule stands behind a look-up key, so that a contradiction can name it."""
        name, action = conversation.name, step.action
        if isinstance(step.source, str):
            name, action = step.source, step.predicted or ""
        self.names[step.source].append((name, action))

    def check(self, conversation: TrainingConversation, step: _Step) -> None:
        if not conversation.is_rule and step.predicted == step.action:
            self.used_in_stories.add(step.source)
        if step.predicted is None or step.predicted == step.action:
            return
        if self._is_removable(conversation, step):
            return
        others = sorted({name for name, action in self.names.get(step.source, ()) if action != step.action})
        if not others:
            return
        kind = "rule" if conversation.is_rule else "story"
        against = ", ".join(f"'{name}'" for name in others)
        predicted = (
            "" if step.predicted == self.policy.settings.fallback_action else f", which wants '{step.predicted}'"
        )
        self.problems.error(
            conversation.where,
            f"the action '{step.action}' in the {kind} '{conversation.name}' contradicts {against}{predicted}",
            "Change one of the two so that both do the same, or add a condition that tells them apart.",
        )

    def _is_removable(self, conversation: TrainingConversation, step: _Step) -> bool:
        """A rule's closing "then listen" gives way to a story that goes on after an action nothing precedes."""
        key = step.source
        if conversation.is_rule or isinstance(key, str) or step.predicted != ACTION_LISTEN:
            return False
        if sum(state.has_action for state in key) > 1 or key not in self.policy.rules:
            return False
        opening = source_of(key)[:-2]
        if any(other != key and source_of(other).startswith(opening) for other in self.policy.rules):
            rules = {other: rule for other, rule in self.policy.rules.items() if other != key}
            self.policy = replace(self.policy, rules=rules, index=index_rules(rules.values()))
            return True
        return False

    def finish(self) -> RulePolicy:
        sources: set[Source] = set(self.names) | {f"default {intent}" for intent in DEFAULT_INTENT_ACTIONS}
        for form in self.policy.domain.forms:
            sources |= {loop_source(form), listen_source(form)}
        return replace(self.policy, hidden_sources=frozenset(sources - self.used_in_stories))


def _applied(conversation: TrainingConversation, policy: RulePolicy) -> Sequence[Event]:
    return Tracker.fold(policy.domain, conversation.name, conversation.events).applied_events


def _check_complete(policy: RulePolicy, rules: Sequence[TrainingConversation], problems: Problems) -> None:
    """An action that sets a slot or ends a form in one rule must do so in every rule (unless nothing follows it)."""
    effects = _effects(rules, policy)
    for rule in rules:
        situation = Situation(policy.domain)
        events = list(_applied(rule, policy))
        previous: str | None = None
        for event in events:
            if isinstance(event, ActionExecuted):
                name = event.name or event.action_text
                if previous in effects and SNIPPET not in (name, previous):
                    _report_missing(previous or "", effects[previous or ""], situation, rule, problems)
                previous = name
            situation.apply(event)


@dataclass(kw_only=True)
class _Effects:
    slots: set[str] = field(default_factory=set)
    loops: set[str | None] = field(default_factory=set)


def _effects(rules: Sequence[TrainingConversation], policy: RulePolicy) -> dict[str, _Effects]:
    featurized = {slot.name for slot in policy.domain.featurized_slots}
    effects: dict[str, _Effects] = {}
    for rule in rules:
        action: str | None = None
        for event in rule.events:
            if isinstance(event, ActionExecuted):
                action = event.name or event.action_text
            elif isinstance(event, UserUttered):
                action = None
            elif action:
                entry = effects.setdefault(action, _Effects())
                if isinstance(event, SlotSet) and event.name in featurized:
                    entry.slots.add(event.name)
                elif isinstance(event, ActiveLoop):
                    entry.loops.add(event.name)
    return effects


def _report_missing(
    action: str, effects: _Effects, situation: Situation, rule: TrainingConversation, problems: Problems
) -> None:
    state = state_of(situation)
    hint = "Say it in this rule as well, or end the rule here with `wait_for_user_input: false`."
    missing = sorted(effects.slots - {name for name, _ in state.slots})
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        problems.error(rule.where, f"'{action}' sets {names} in other rules, but not in the rule '{rule.name}'", hint)
    if effects.loops and state.loop not in effects.loops:
        loops = ", ".join(
            "null" if loop == SHOULD_NOT_BE_SET else str(loop) for loop in sorted(map(str, effects.loops))
        )
        message = f"'{action}' leads to `active_loop: {loops}` in other rules, but not in the rule '{rule.name}'"
        problems.error(rule.where, message, hint)
