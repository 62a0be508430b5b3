"""Counterexamples that random walks found, shrunk and kept with what Rasa did: replayed without a Rasa.

A case is a project, the steps and Rasa's events and state after each; `refused` marks a project that Rasa refuses.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import AssistantError
from tests.conformance.campaign import CASES, bot_of
from tests.conformance.compare import first_difference, play
from tests.conformance.domains import generate
from tests.conformance.project import Json, Project
from tests.conformance.stage import Bot, Outcome
from tests.conformance.walks import Walker

KEPT = sorted(path.stem for path in CASES.glob("*.json"))


def _case(name: str) -> Json:
    case: Json = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return case


@pytest.mark.parametrize("name", KEPT)
async def test_case_goes_as_it_went_in_rasa(name: str, tmp_path: Path) -> None:
    case = _case(name)
    folder = Project.from_json(case["project"]).write(tmp_path)
    if case.get("refused"):
        with pytest.raises(AssistantError):
            Bot(folder)
        return
    async with bot_of(folder) as bot:
        ours = await play(bot, case["steps"], "kept")
    theirs = [Outcome(events=each["events"], state=each["state"]) for each in case["expected"]]
    difference = first_difference(ours, theirs)
    assert difference is None, str(difference)


def test_generator_and_walker_repeat_themselves(tmp_path: Path) -> None:
    """A seed names the same project and the same first step on every machine, or no finding could be looked up."""
    project = generate(5)
    assert Project.from_json(json.loads(json.dumps(project.to_json()))) == generate(5)
    assert project != generate(6)
    bot = Bot(replace(project, rules=[], stories=[], config={"policies": [{"name": "RulePolicy"}]}).write(tmp_path))
    first, second = (Walker(bot.model.assistant, 7) for _ in range(2))
    assert first.length == second.length
