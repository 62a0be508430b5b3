"""What `kefu test` prints: figures first, then each story that went another way, with where and how."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bot.testing.play import StoryResult
from bot.testing.run import TestOutcome
from bot.testing.story_reports import action_figures

# Further ones stand in failed_test_stories.yml.
SHOWN = 20


def outcome_view(outcome: TestOutcome) -> Iterator[RenderableType]:
    """The parts of the output, in order."""
    table = Table("measured", "result", show_header=False)
    for name, found in _figures(outcome):
        table.add_row(name, found)
    yield table
    failed = [result for result in outcome.stories if not result.passed]
    for result in failed[:SHOWN]:
        yield Text.assemble(("failed ", "red"), f"{result.source}: {result.name}: {_first_error(result)}")
    if len(failed) > SHOWN:
        yield Text(f"… and {len(failed) - SHOWN} more in failed_test_stories.yml")
    for conversation in outcome.conversations:
        if not conversation.passed:
            yield Text.assemble(("failed ", "red"), conversation.diff())
    for notice in outcome.notices:
        yield Text(f"note: {notice}")
    yield Text(f"reports: {outcome.out}")


def _figures(outcome: TestOutcome) -> Iterator[tuple[str, str]]:
    if nlu := outcome.nlu:
        yield "messages", str(nlu.n)
        if nlu.intent_accuracy is not None:
            yield "intent accuracy", f"{nlu.intent_accuracy:.3f} (F1 {nlu.intent_f1:.3f})"
        if nlu.response_accuracy is not None:
            yield "response selection accuracy", f"{nlu.response_accuracy:.3f}"
        for extractor, f1 in nlu.entity_f1.items():
            yield f"entities, {extractor}", f"F1 {f1:.3f}"
    if outcome.stories:
        passed = sum(result.passed for result in outcome.stories)
        right, n, known = action_figures(outcome.stories)
        yield "test stories", f"{passed} of {len(outcome.stories)} as written"
        yield "actions", f"{right} of {n} right; {known:.0%} by rules and remembered stories"
    if outcome.conversations:
        passed = sum(result.passed for result in outcome.conversations)
        yield "test conversations", f"{passed} of {len(outcome.conversations)} as written"


def _first_error(result: StoryResult) -> str:
    for message in result.messages:
        if not message.is_right:
            found = ", ".join(f"{e.get('entity')}={e.get('value')}" for e in message.predicted_entities) or "no entity"
            return f"{message.said.text!r} was read as {message.predicted_intent} with {found}"
    for action in result.actions:
        if not action.is_right:
            return f"expected {action.expected}, {action.policy or 'nobody'} decided {action.predicted}"
    return ""
