"""Making a counterexample small: fewer steps first, then fewer rules, stories, slots and words, while it still differs.

Invariant: what is returned differs as what was given does; the caller says what "differs" means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from tests.conformance.project import Json, Project

Steps = list[Json]
Differs = Callable[[Project, Steps], Awaitable[bool]]
"""Whether both engines accept the project and part somewhere in these steps. Never raises."""


async def shrink(project: Project, steps: Steps, differs: Differs, *, budget: int = 150) -> tuple[Project, Steps]:
    """Cut until nothing more can go, or `budget` attempts are used up. Whole projects cost a training each."""
    left = budget
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in _smaller(project, steps):
            left -= 1
            if left <= 0:
                break
            if await differs(*candidate):
                (project, steps), progress = candidate, True
                break
    return project, steps


def _smaller(project: Project, steps: Steps) -> Iterator[tuple[Project, Steps]]:
    """Candidates, the boldest and cheapest first."""
    for size in (len(steps) // 2, 2, 1):
        for start in range(0, len(steps) - size + 1, max(size, 1)):
            if 0 < size < len(steps):
                yield project, [*steps[:start], *steps[start + size :]]
    for index, step in enumerate(steps):
        for plainer in _plainer(step):
            yield project, [*steps[:index], plainer, *steps[index + 1 :]]
    for body in _cuts(project.to_json()):
        yield Project.from_json(body), steps


def _plainer(step: Json) -> Iterator[Json]:
    if "metadata" in step:
        yield {key: value for key, value in step.items() if key != "metadata"}
    parse: Json = step.get("parse_data") or {}
    if parse.get("entities"):
        yield step | {"parse_data": parse | {"entities": parse["entities"][1:]}}
    if len(parse.get("intent_ranking", [])) > 1:
        yield step | {"parse_data": parse | {"intent_ranking": parse["intent_ranking"][:1]}}


def _cuts(body: Json) -> Iterator[Json]:
    """The project without one of its parts."""
    for key in ("stories", "rules"):
        for index in range(len(body[key])):
            yield body | {key: _without(body[key], index)}
    for name in body["behaviour"]:
        actions = [action for action in body["domain"]["actions"] if action != name]
        behaviour = {key: value for key, value in body["behaviour"].items() if key != name}
        yield body | {"behaviour": behaviour, "domain": body["domain"] | {"actions": actions}}
    domain: Json = body["domain"]
    for section in ("slots", "forms", "responses"):
        for name in domain[section]:
            rest = {key: value for key, value in domain[section].items() if key != name}
            yield body | {"domain": domain | {section: rest}}
    for key in ("stories", "rules"):
        for index, item in enumerate(body[key]):
            for place in range(len(item["steps"]) - 1, 0, -1):
                shorter = item | {"steps": _without(item["steps"], place)}
                yield body | {key: [*body[key][:index], shorter, *body[key][index + 1 :]]}
    for section in ("slots", "forms"):
        for name, described in domain[section].items():
            for plainer in _plainer_part(described):
                yield body | {"domain": domain | {section: domain[section] | {name: plainer}}}


def _plainer_part(described: Json) -> Iterator[Json]:
    for key in ("initial_value", "min_value", "max_value", "ignored_intents"):
        if key in described:
            yield {name: value for name, value in described.items() if name != key}
    for key in ("mappings", "required_slots"):
        for index in range(len(described.get(key, [])) if len(described.get(key, [])) > 1 else 0):
            yield described | {key: _without(described[key], index)}


def _without(items: list[Any], index: int) -> list[Any]:
    return [*items[:index], *items[index + 1 :]]
