"""The files that `rasa test core` writes, of stories that were played.

Invariant: names, keys and shapes are Rasa's; where Rasa leaves out what went wrong, it is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from bot.dialogue.events import ACTION_LISTEN, ACTION_SESSION_START, ActiveLoop, SlotSet
from bot.testing.measures import Report, classification_report, confusions, write_json
from bot.testing.pictures import draw_confusions
from bot.testing.play import UNLIKELY_INTENT, ActionStep, MessageStep, Step, StoryResult

NONE = "None"
"""Stands where an entity has no counterpart."""
_WRITTEN = ("MemoizationPolicy", "AugmentedMemoizationPolicy", "RulePolicy")


def story_report(results: Sequence[StoryResult]) -> Report:
    """Figures over all actions, intents and entities, with `conversation_accuracy`."""
    targets = [step.expected for result in results for step in result.actions]
    predicted = [step.predicted for result in results for step in result.actions]
    for result in results:
        targets += [step.intent or "" for step in result.messages]
        predicted += [step.predicted_intent or "" for step in result.messages]
    for meant, found in _aligned(step for result in results for step in result.messages):
        targets.append(meant)
        predicted.append(found)
    report = classification_report(targets, predicted)
    correct = sum(result.passed for result in results)
    if results:
        report["conversation_accuracy"] = {
            "accuracy": correct / len(results),
            "correct": correct,
            "with_warnings": sum(result.passed and result.has_warning for result in results),
            "total": len(results),
        }
    return report


def action_figures(results: Sequence[StoryResult]) -> tuple[int, int, float]:
    """Right actions, all actions, and the share that rules or remembered stories decided."""
    actions = [step for result in results for step in result.actions]
    known = sum(step.policy in _WRITTEN for step in actions)
    return sum(step.is_right for step in actions), len(actions), known / len(actions) if actions else 0.0


def _aligned(messages: Iterator[MessageStep]) -> Iterator[tuple[str, str]]:
    """Each entity with the one that was found at the same place of the same text; `None` where there is none."""
    by_text: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = {}
    for step in messages:
        meant, found = by_text.setdefault(step.said.text or "", ([], []))
        meant += (entity for entity in step.entities if "start" in entity)
        found += (entity for entity in step.predicted_entities if "start" in entity)
    for text in sorted(by_text):
        meant, found = (sorted(entities, key=lambda entity: entity["start"]) for entities in by_text[text])
        while meant or found:
            # A place that one side lacks counts for the other alone.
            left = _place(meant[0]) if meant else _BEYOND
            right = _place(found[0]) if found else _BEYOND
            target = _annotation(text, meant.pop(0)) if left <= right else NONE
            other = _annotation(text, found.pop(0)) if right <= left else NONE
            yield target, other


_BEYOND = (float("inf"), float("inf"))


def _place(entity: Mapping[str, Any]) -> tuple[float, float]:
    return entity["start"], entity["end"]


def _annotation(text: str, entity: Mapping[str, Any]) -> str:
    """`[Berlin](city)`, with the value where it is another than the words."""
    surface = text[entity["start"] : entity["end"]]
    if entity.get("value") in (None, "", surface):
        return f"[{surface}]({entity['entity']})"
    return f"[{surface}]{json.dumps({'entity': entity['entity'], 'value': entity['value']}, ensure_ascii=False)}"


def write_story_reports(
    results: Sequence[StoryResult], out: Path, *, successes: bool = False, pictures: bool = True
) -> None:
    """Write every file of the stories into `out`, which is made."""
    write_json(out / "story_report.json", story_report(results))
    failed = [result for result in results if not result.passed]
    passed = [result for result in results if result.passed]
    warned = [result for result in passed if result.has_warning]
    _write_stories(out / "failed_test_stories.yml", failed, "None of the test stories failed - all good!")
    _write_stories(out / "stories_with_warnings.yml", warned, "No warnings for test stories")
    if successes:
        _write_stories(out / "successful_test_stories.yml", passed, "None of the test stories succeeded :(")
    actions = [step for result in results for step in result.actions]
    if pictures and actions:
        matrix, labels = confusions([step.expected for step in actions], [step.predicted for step in actions])
        draw_confusions(out / "story_confusion_matrix.png", matrix, labels, "Action Confusion matrix")


# ---- stories as YAML ----


class _Representer(RoundTripRepresenter):
    """Writes None as `null`; ruamel's own way is an empty value."""


def _represent_none(representer: _Representer, _: None) -> ScalarNode:
    node: ScalarNode = representer.represent_scalar("tag:yaml.org,2002:null", "null")
    return node


_Representer.add_representer(type(None), _represent_none)


def _write_stories(path: Path, results: Sequence[StoryResult], none: str) -> None:
    path.write_text(stories_yaml(results) if results else f"# {none}", encoding="utf-8")


def stories_yaml(results: Sequence[StoryResult]) -> str:
    """The stories as they were written, with what was predicted instead as comments."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 4096
    stories = [{"story": f"{r.name} ({r.source})", "steps": list(_written(r.steps))} for r in results]
    stream = StringIO()
    yaml.dump({"version": DoubleQuotedScalarString("3.1"), "stories": stories}, stream)
    return stream.getvalue()


def _written(steps: Sequence[Step]) -> Iterator[CommentedMap]:
    for step in steps:
        match step:
            case MessageStep():
                yield _message(step)
            case ActionStep():
                if written := _action(step):
                    yield written
            case SlotSet():
                yield CommentedMap({"slot_was_set": [{step.name: step.value}]})
            case ActiveLoop():
                yield CommentedMap({"active_loop": step.name})


def _message(step: MessageStep) -> CommentedMap:
    written = CommentedMap()
    if step.intent is not None:
        written["intent"] = step.intent
    else:
        written["user"] = step.said.text
    if step.entities:
        named = (entity for entity in step.entities if "entity" in entity)
        written["entities"] = [{entity["entity"]: entity.get("value")} for entity in named]
    if not step.is_right:
        comment = f"predicted: {step.predicted_intent}: {_annotated(step)}"
        written.yaml_add_eol_comment(comment, next(iter(written)))
    return written


def _annotated(step: MessageStep) -> str:
    """The message with the entities that were found in it."""
    text = step.said.text or ""
    parts: list[str] = []
    position = 0
    found = [entity for entity in step.predicted_entities if "start" in entity]
    for entity in sorted(found, key=lambda entity: entity["start"]):
        if entity["start"] >= position:
            parts += [text[position : entity["start"]], _annotation(text, entity)]
            position = entity["end"]
    return "".join([*parts, text[position:]]).replace("\n", " ")


def _action(step: ActionStep) -> CommentedMap | None:
    """Listening is written only where something else was decided."""
    key = "bot" if step.is_text else "action"
    written = CommentedMap({key: step.expected})
    if not step.is_right:
        after = f" after {UNLIKELY_INTENT}" if step.was_unlikely else ""
        written.yaml_add_eol_comment(f"predicted: {step.predicted}{after}", key)
    elif step.was_unlikely:
        written.yaml_add_eol_comment(f"predicted: {UNLIKELY_INTENT}", key)
    elif step.expected in (ACTION_LISTEN, ACTION_SESSION_START):
        return None
    return written
