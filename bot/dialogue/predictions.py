"""What one policy proposes, and how the best proposal is found. The policies are `rules` and `memoization`.

Invariant: as in Rasa: the higher confidence wins, then the higher priority, then the policy named first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.dialogue.events import ACTION_LISTEN


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Scores of actions (those left out have 0).

    Attributes:
        hides_turn: the decision comes from a rule that occurs in no story.
        interrupts_loop: the form comes back after another answer and must not validate the message.
        is_no_user: the form just goes on; what the customer said does not matter to the choice.
        is_text: decided on the customer's words instead of the intent.
        why: for people: "rule 'Greet user'".
    """

    policy: str
    priority: int
    scores: dict[str, float] = field(default_factory=dict)
    hides_turn: bool = False
    interrupts_loop: bool = False
    is_no_user: bool = False
    is_text: bool = False
    why: str = ""

    def best(self, rejected: str | None = None) -> tuple[str, float]:
        """The action with the highest score, `rejected` left out; listening where none has any."""
        best_action, best_score = ACTION_LISTEN, 0.0
        for action, score in self.scores.items():
            if score > best_score and action != rejected:
                best_action, best_score = action, score
        return best_action, best_score


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The winning proposal. `interrupts_loop` holds where any policy said so, whichever won."""

    action: str
    confidence: float
    prediction: Prediction
    interrupts_loop: bool


def choose(predictions: Sequence[Prediction], rejected: str | None = None) -> Choice:
    """Join the proposals; an action that just rejected to run cannot win."""
    if any(prediction.is_no_user for prediction in predictions):
        candidates = [prediction for prediction in predictions if prediction.is_no_user]
    elif any(prediction.is_text for prediction in predictions):
        candidates = [prediction for prediction in predictions if prediction.is_text]
    else:
        candidates = list(predictions)
    winner = max(candidates, key=lambda prediction: (prediction.best(rejected)[1], prediction.priority))
    action, confidence = winner.best(rejected)
    return Choice(
        action=action,
        confidence=confidence,
        prediction=winner,
        interrupts_loop=any(prediction.interrupts_loop for prediction in predictions),
    )
