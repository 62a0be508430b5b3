"""RulePolicy: what must always happen. Rules compiled into a look-up by the last state, with Rasa's exact matching.

Invariant: the indexed look-up finds the same rule as trying every rule would; contradictions are `contradictions`' job.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.assistant.domain import Domain
from bot.dialogue.events import ACTION_LISTEN, SHOULD_NOT_BE_SET, ActionExecuted
from bot.dialogue.predictions import Prediction
from bot.dialogue.situation import Situation
from bot.dialogue.states import Moment, RuleOnly, State, moment_of
from bot.dialogue.tracker import Tracker
from bot.dialogue.training import SNIPPET, TrainingConversation

PRIORITY = 4
POLICY = "RulePolicy"
DEFAULT_INTENT_ACTIONS = {
    "restart": "action_restart",
    "back": "action_back",
    "session_start": "action_session_start",
}

Key = tuple[State, ...]
Source = str | Key
"""What a proposal rests on: a rule's key, the states no rule fits, or the name of a default."""
IndexKey = tuple[str | None, str | None, str | None]
"""The last state's action, intent and text."""
Example = tuple[tuple[State, ...], str, str]
"""States before an action, the action, and the name of the conversation."""


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    fallback_action: str = "action_default_fallback"
    fallback_threshold: float = 0.3
    has_fallback: bool = True
    restricts_rules: bool = True
    checks_contradictions: bool = True
    uses_nlu_confidence: bool = False

    @staticmethod
    def of(settings: Mapping[str, Any]) -> RuleSettings:
        """The settings of `- name: RulePolicy` in config.yml."""
        default = RuleSettings()
        threshold = settings.get("core_fallback_threshold", default.fallback_threshold)
        return RuleSettings(
            fallback_action=settings.get("core_fallback_action_name") or default.fallback_action,
            fallback_threshold=float(threshold if threshold is not None else default.fallback_threshold),
            has_fallback=bool(settings.get("enable_fallback_prediction", default.has_fallback)),
            restricts_rules=bool(settings.get("restrict_rules", default.restricts_rules)),
            checks_contradictions=bool(settings.get("check_for_contradictions", default.checks_contradictions)),
            uses_nlu_confidence=bool(settings.get("use_nlu_confidence_as_score", default.uses_nlu_confidence)),
        )


@dataclass(frozen=True, kw_only=True)
class CompiledRule:
    """One look-up entry: these last states lead to this action. `weight` decides between several that match."""

    key: Key
    action: str
    name: str
    weight: int

    def matches(self, moments: Sequence[Moment]) -> bool:
        """Compare from the end backwards; what lies beyond the rule may be anything."""
        for back in range(1, min(len(self.key), len(moments)) + 1):
            wanted, present = self.key[-back], moments[-back].state
            if not wanted.has_action and not present.has_action:
                return True
            if not wanted.has_action or not present.has_action or not _fits(wanted, present):
                return False
        return True


def _fits(wanted: State, present: State) -> bool:
    if wanted.action is not None and wanted.action != present.action:
        return False
    if wanted.action_text is not None and wanted.action_text != present.action_text:
        return False
    if wanted.intent and wanted.intent != present.intent:
        return False
    if wanted.text and wanted.text != present.text:
        return False
    if wanted.entities and wanted.entities != present.entities:
        return False
    if wanted.loop is not None and wanted.loop != present.loop and not _both_empty(wanted.loop, present.loop):
        return False
    if not wanted.slots:
        return True
    slots = dict(present.slots)
    return all(features == slots.get(name) or _both_empty(features, slots.get(name)) for name, features in wanted.slots)


def _both_empty(wanted: object, present: object) -> bool:
    return wanted == SHOULD_NOT_BE_SET and (present is None or present == SHOULD_NOT_BE_SET)


@dataclass(frozen=True, kw_only=True)
class Match:
    """What the rules say: an action or None, the key it rests on, and whether the form comes back interrupted."""

    action: str | None
    source: Source
    name: str | None = None
    interrupts_loop: bool = False


@dataclass(frozen=True, kw_only=True)
class RulePolicy:
    """`hidden_sources`: sources whose turns stories do not see. Built by `compile_rules`."""

    settings: RuleSettings
    domain: Domain
    rules: Mapping[Key, CompiledRule]
    unhappy: tuple[tuple[CompiledRule, bool], ...]
    rule_only: RuleOnly
    hidden_sources: frozenset[Source] = frozenset()
    index: Mapping[IndexKey, tuple[CompiledRule, ...]] = field(default_factory=dict)

    def predict(self, tracker: Tracker) -> tuple[Prediction, Source]:
        """The proposal and the source it rests on."""
        situation = tracker.situation
        is_after_listen = situation.latest_action == ACTION_LISTEN
        by_text = self._find(tracker, by_text=True) if is_after_listen else None
        default = self._default_intent(situation)
        if default and not (by_text and by_text.action):
            return self._prediction(*default, situation, why=f"intent {default[1].removeprefix('default ')}")
        happy = self._happy_loop(situation)
        if happy:
            return self._prediction(*happy, situation, is_no_user=True, why=_form_reason(situation, happy[0]))
        if by_text and by_text.action:
            return self._prediction(
                by_text.action, by_text.source, situation, match=by_text, is_text=True, why=f"rule '{by_text.name}'"
            )
        match = self._find(tracker, by_text=False)
        why = f"rule '{match.name}'" if match.action else "no rule fits"
        return self._prediction(match.action, match.source, situation, match=match, why=why)

    def _prediction(
        self,
        action: str | None,
        source: Source,
        situation: Situation,
        *,
        match: Match | None = None,
        is_no_user: bool = False,
        is_text: bool = False,
        why: str,
    ) -> tuple[Prediction, Source]:
        scores = self.default_scores()
        if action is not None:
            scores[action] = self._confidence(situation)
        # As in Rasa: of two that are equally sure the action that the domain counts first is taken.
        places = self.domain.action_places
        scores = dict(sorted(scores.items(), key=lambda scored: places.get(scored[0], len(places))))
        prediction = Prediction(
            policy=POLICY,
            priority=PRIORITY,
            scores=scores,
            hides_turn=source in self.hidden_sources,
            interrupts_loop=match.interrupts_loop if match else False,
            is_no_user=is_no_user,
            is_text=is_text,
            why=why,
        )
        return prediction, source

    def default_scores(self) -> dict[str, float]:
        """What remains when no rule fits."""
        if not self.settings.has_fallback:
            return {}
        return {self.settings.fallback_action: self.settings.fallback_threshold}

    def _confidence(self, situation: Situation) -> float:
        if not self.settings.uses_nlu_confidence or situation.message is None:
            return 1.0
        return float((situation.message.parse_data.get("intent") or {}).get("confidence", 1.0))

    @staticmethod
    def _default_intent(situation: Situation) -> tuple[str, str] | None:
        intent = situation.message.intent if situation.message else None
        action = DEFAULT_INTENT_ACTIONS.get(intent or "")
        if action is None or situation.action_name != ACTION_LISTEN:
            return None
        return action, f"default {intent}"

    @staticmethod
    def _happy_loop(situation: Situation) -> tuple[str, str] | None:
        """A form that was not rejected runs after each message, and listens after each run."""
        loop = situation.loop_name
        if loop is None or (situation.loop is not None and situation.loop.rejected):
            return None
        if situation.action_name == loop:
            return ACTION_LISTEN, listen_source(loop)
        return (loop, loop_source(loop)) if situation.action_name is not None else None

    def _find(self, tracker: Tracker, *, by_text: bool) -> Match:
        moments = tracker.moments()
        if by_text:
            moments = _with_text(moments, tracker.situation)
        best = self._best_rule(moments)
        action = best.action if best else None
        source = best.key if best else _own_states([moment.state for moment in moments])
        interrupts = False
        loop = tracker.situation.loop_name
        if loop is not None:
            interruptions = {kind for rule, kind in self.unhappy if rule.matches(moments)}
            if best and action == ACTION_LISTEN and best.key[-1].active_loop is None:
                if _DO_NOT_PREDICT_LOOP not in interruptions:
                    return Match(action=loop, source=source, name=best.name)
                action = None
            interrupts = _LOOP_WAS_INTERRUPTED in interruptions
        return Match(action=action, source=source, name=best.name if best else None, interrupts_loop=interrupts)

    def _best_rule(self, moments: Sequence[Moment]) -> CompiledRule | None:
        present = moments[-1].state
        best: CompiledRule | None = None
        for key in _index_keys(present):
            for rule in self.index.get(key, ()):
                if (best is None or rule.weight > best.weight) and rule.matches(moments):
                    best = rule
        return best


_LOOP_WAS_INTERRUPTED = True
_DO_NOT_PREDICT_LOOP = False


def loop_source(loop: str) -> str:
    return f"loop {loop}"


def listen_source(loop: str) -> str:
    return f"loop {loop} - {ACTION_LISTEN}"


def source_of(key: Key) -> str:
    """The look-up key as text: its length decides between rules, as it does in Rasa."""
    return json.dumps([state.to_json() for state in key], sort_keys=True)


def _form_reason(situation: Situation, action: str) -> str:
    loop = situation.loop_name
    return f"form {loop} waits for an answer" if action == ACTION_LISTEN else f"form {loop}"


def _with_text(moments: list[Moment], situation: Situation) -> list[Moment]:
    last = moments[-1]
    text = situation.message.text if situation.message else None
    return [*moments[:-1], last._replace(state=last.state._replace(intent=None, entities=(), text=text))]


def _index_keys(state: State) -> tuple[IndexKey, ...]:
    action = state.action or state.action_text
    keys: list[IndexKey] = [(action, None, None)]
    if state.intent:
        keys.append((action, state.intent, None))
    if state.text:
        keys.append((action, None, state.text))
    return tuple(keys)


# ---- learning ----


def training_examples(
    conversations: Iterable[TrainingConversation], domain: Domain, *, omit_unset: bool
) -> list[Example]:
    """The states before each action that may be learnt, with the action."""
    examples: list[Example] = []
    for conversation in conversations:
        moments, actions = _replay(conversation, domain, omit_unset=omit_unset)
        for index, action in enumerate(actions):
            if action is not None:
                examples.append((tuple(moments[: index + 1]), action, conversation.name))
    return examples


def _replay(
    conversation: TrainingConversation, domain: Domain, *, omit_unset: bool
) -> tuple[list[State], list[str | None]]:
    """States before each action; None stands for an action that cannot be learnt."""
    tracker = Tracker.fold(domain, conversation.name, conversation.events)
    situation = Situation(domain)
    states: list[State] = []
    actions: list[str | None] = []
    for event in tracker.applied_events:
        if isinstance(event, ActionExecuted):
            states.append(moment_of(situation, is_hidden=False, omit_unset=omit_unset).state)
            actions.append(None if conversation.is_unpredictable(event) else event.name or event.action_text)
        situation.apply(event)
    return states, actions


def _own_states(states: Sequence[State]) -> Key:
    """The states after the last snippet mark."""
    for index in range(len(states) - 1, -1, -1):
        if states[index].action == SNIPPET:
            return tuple(states[index + 1 :])
    return tuple(states)


def compile_rules(
    rules: Sequence[TrainingConversation],
    stories: Sequence[TrainingConversation],
    domain: Domain,
    settings: RuleSettings,
) -> RulePolicy:
    """The policy, with every turn visible; `contradictions.analyse` finds which turns stories do not see."""
    rule_examples = training_examples(rules, domain, omit_unset=True)
    story_examples = training_examples(stories, domain, omit_unset=False)
    look_up = _look_up(rule_examples)
    rule_slots, rule_loops = _slots_and_loops(rule_examples)
    story_slots, story_loops = _slots_and_loops(story_examples)
    rule_only = RuleOnly(
        slots=frozenset(rule_slots - story_slots), loops=frozenset(rule_loops - story_loops - {SHOULD_NOT_BE_SET})
    )
    return RulePolicy(
        settings=settings,
        domain=domain,
        rules=look_up,
        unhappy=_unhappy_look_up([*rule_examples, *story_examples]),
        rule_only=rule_only if settings.checks_contradictions else RuleOnly(),
        index=index_rules(look_up.values()),
    )


def _look_up(examples: Iterable[Example]) -> dict[Key, CompiledRule]:
    """Key → action; a key that leads to two actions is in nobody's interest and left out (it is reported later)."""
    look_up: dict[Key, CompiledRule] = {}
    ambiguous: set[Key] = set()
    for states, action, name in examples:
        key = _own_states(states)
        if not key or key in ambiguous:
            continue
        known = look_up.get(key)
        if known is None:
            look_up[key] = CompiledRule(key=key, action=action, name=name, weight=len(source_of(key)))
        elif known.action != action:
            ambiguous.add(key)
            del look_up[key]
    return {key: rule for key, rule in look_up.items() if rule.action != SNIPPET}


def index_rules(
    rules: Iterable[CompiledRule],
) -> dict[IndexKey, tuple[CompiledRule, ...]]:
    """Rules by the last state's action, intent and text: the only ones that can match there."""
    index: dict[IndexKey, list[CompiledRule]] = {}
    for rule in rules:
        last = rule.key[-1]
        index.setdefault((last.action or last.action_text, last.intent, last.text), []).append(rule)
    return {key: tuple(found) for key, found in index.items()}


def _unhappy_look_up(examples: Iterable[Example]) -> tuple[tuple[CompiledRule, bool], ...]:
    """After which turns a form comes back without validating, and after which it must not come back by itself."""
    found: dict[Key, tuple[CompiledRule, bool]] = {}
    for states, action, name in examples:
        last = states[-1]
        loop = last.active_loop
        if not loop:
            continue
        before = states[-2] if len(states) > 1 else State()
        window = [State(action=before.action, action_text=before.action_text), last] if before.has_action else [last]
        key = _own_states(window)
        if not key:
            continue
        if last.follows_listen and action == loop:
            kind = _LOOP_WAS_INTERRUPTED
        elif not last.follows_listen and action != loop:
            kind = _DO_NOT_PREDICT_LOOP
        else:
            continue
        found[key] = (CompiledRule(key=key, action=action, name=name, weight=0), kind)
    return tuple(found.values())


def _slots_and_loops(examples: Iterable[Example]) -> tuple[set[str], set[str]]:
    slots: set[str] = set()
    loops: set[str] = set()
    for states, _, _ in examples:
        for state in states:
            slots |= {name for name, _ in state.slots}
            if state.loop:
                loops.add(state.loop)
    return slots, loops
