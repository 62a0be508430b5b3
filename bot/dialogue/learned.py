"""A model that has learned from the stories, as a policy beside rules and memories: the part that TED plays in Rasa.

How the model scores is `models.policy`'s, how it is trained `training.finetune_policy`'s; a state crosses to both as
a mapping of feature names to values. Invariant: a turn's cost is bounded, whatever the conversation's length; what the
model has never seen (an intent, a slot, an action that is gone) changes nothing and breaks nothing.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bot.assistant.domain import Domain
from bot.dialogue.augmentation import glue_stories
from bot.dialogue.predictions import Prediction
from bot.dialogue.rules import Example, training_examples
from bot.dialogue.states import RuleOnly, State, story_view
from bot.dialogue.tracker import Tracker
from bot.dialogue.training import TrainingConversation
from training.policy_data import MAX_STATES, Features, Lesson

POLICY = "TEDPolicy"
"""The name that config.yml and Rasa's events give to the learned policy."""
PRIORITY = 1
SURE_OF_WORDS = 0.5
"""As in Rasa: an end-to-end model goes by the customer's words only where it is surer than this."""

_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


class Scorer(Protocol):
    """A trained model as the dialogue needs one.

    Attributes:
        window: states it looks back on; more are of no use to it.
        reads_words: whether it has learned from stories that hold the customer's words.
    """

    @property
    def version(self) -> str: ...

    @property
    def window(self) -> int: ...

    @property
    def reads_words(self) -> bool: ...

    def scores(self, states: Sequence[Features]) -> dict[str, float]:
        """Calibrated probability of each action that it knows, given the last states, oldest first."""
        ...


class Expectation(NamedTuple):
    """An intent and where it is said: the bot's action before it (None: at the beginning), and the form that runs."""

    action: str | None
    loop: str | None
    intent: str


@dataclass(frozen=True, kw_only=True)
class LearnedPolicy:
    """What a `Scorer` says, as the dialogue needs it.

    Attributes:
        texts: the stories' end-to-end bot messages.
        sure_of_words: config.yml's e2e_confidence_threshold.
        expected: what the stories' customers say where; elsewhere this policy holds back. None: it never does.
    """

    scorer: Scorer
    texts: frozenset[str] = frozenset()
    priority: int = PRIORITY
    sure_of_words: float = SURE_OF_WORDS
    expected: frozenset[Expectation] | None = None

    def predict(self, tracker: Tracker, rule_only: RuleOnly) -> Prediction:
        """The model's scores for the present moment. It abstains by low scores: below the fallback's it loses."""
        view = story_view(tracker.moments(), rule_only)
        if self.expected is not None and (said := last_said(view)) and said not in self.expected:
            why = f"no story has the intent '{said.intent}' after {said.action or 'the beginning'}"
            return Prediction(policy=POLICY, priority=self.priority, scores={}, why=why)
        states = view[-self.scorer.window :]
        known = [features_of(state) for state in states]
        scores = self._known_actions(self.scorer.scores(known), tracker.domain)
        by_words = self._by_words(known, states, tracker) if states else None
        is_text = by_words is not None and max(by_words.values()) > max(scores.values(), default=0.0)
        return Prediction(
            policy=POLICY,
            priority=self.priority,
            scores=by_words if by_words is not None and is_text else scores,
            is_text=is_text,
            why=f"learned from the stories ({self.scorer.version})",
        )

    def _by_words(
        self, known: Sequence[Features], states: Sequence[State], tracker: Tracker
    ) -> dict[str, float] | None:
        """Scores with the customer's words in the intent's place; None where they are of no use or not sure enough."""
        message = tracker.situation.message
        last = states[-1]
        if not self.scorer.reads_words or message is None or not message.text or not last.follows_listen or last.text:
            return None
        spoken = features_of(last._replace(intent=None, entities=(), text=message.text))
        scores = self._known_actions(self.scorer.scores([*known[:-1], spoken]), tracker.domain)
        return scores if max(scores.values(), default=0.0) > self.sure_of_words else None

    def _known_actions(self, scores: dict[str, float], domain: Domain) -> dict[str, float]:
        """Without the actions that left the files since the model was trained."""
        return {
            action: score for action, score in scores.items() if action in domain.action_names or action in self.texts
        }


def last_said(states: Sequence[State]) -> Expectation | None:
    """The customer's last intent and its place; None where they have said nothing, or only words."""
    for index in range(len(states) - 1, -1, -1):
        if states[index].follows_listen and (intent := states[index].intent):
            before = states[index - 1].action if index else None
            return Expectation(action=before, loop=states[index].active_loop, intent=intent)
    return None


def expected_intents(stories: Sequence[TrainingConversation], domain: Domain) -> frozenset[Expectation]:
    """What the customers of the stories say where. One story may begin where another ended."""
    found: set[Expectation] = set()
    begins: set[str] = set()
    ends: set[tuple[str | None, str | None]] = set()
    for story in stories:  # one by one: the ways through a story share its name
        examples = training_examples([story], domain, omit_unset=False)
        for states, _, _ in examples:
            if said := last_said(states):
                found.add(said)
                if not any(state.intent for state in states[:-1]):
                    begins.add(said.intent)
        if examples:
            last = examples[-1][0][-1]
            ends.add((last.action, last.active_loop))
    return frozenset(found | {Expectation(*end, intent) for end in ends for intent in begins})


def features_of(state: State) -> dict[str, float]:
    """A state by the names of what it holds. The customer's message counts only right after it was said."""
    found: dict[str, float] = {}
    if state.follows_listen:
        if state.intent:
            found[f"intent:{state.intent}"] = 1.0
        found |= {f"entity:{name}": 1.0 for name in state.entities}
        if state.text and not state.intent:
            found |= _word_features(state.text)
    for name, features in state.slots:
        if not isinstance(features, str):
            found |= {f"slot:{name}:{place}": value for place, value in enumerate(features) if value}
    if state.action:
        found[f"action:{state.action}"] = 1.0
    if state.action_text:
        found[f"bot:{state.action_text}"] = 1.0
    if state.active_loop:
        found[f"form:{state.active_loop}"] = 1.0
    return found


def _word_features(text: str) -> dict[str, float]:
    words = {f"word:{word}" for word in _WORDS.findall(text.lower())}
    return dict.fromkeys(sorted(words), 1 / math.sqrt(len(words))) if words else {}


def policy_lessons(
    stories: Sequence[TrainingConversation], domain: Domain, max_history: int | None, rng: random.Random
) -> list[Lesson]:
    """What a learned policy learns from: the stories, then stories glued together; each decision once.

    Args:
        max_history: states a lesson holds at most; None: as many as the longest story has.
    """
    examples = training_examples(stories, domain, omit_unset=False)
    window = max_history or max((len(states) for states, _, _ in examples), default=1)
    window = min(window, MAX_STATES)
    known: dict[State, Features] = {}
    seen: set[tuple[tuple[State, ...], str]] = set()

    def lessons(found: Iterable[Example], *, is_glued: bool) -> Iterator[Lesson]:
        for states, action, story in found:
            last = states[-window:]
            if (last, action) in seen:
                continue
            seen.add((last, action))
            for state in last:
                if state not in known:
                    known[state] = features_of(state)
            features = tuple(known[state] for state in last)
            yield Lesson(states=features, action=action, story=story, is_glued=is_glued)

    glued = training_examples(glue_stories(stories, rng), domain, omit_unset=False)
    return [*lessons(examples, is_glued=False), *lessons(glued, is_glued=True)]
