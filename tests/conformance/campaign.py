"""Many walks over many projects, both engines: the counts, and each first difference with what leads to it.

`python -m tests.conformance.campaign generated 0 20` runs by hand, shrinks what differs and keeps it as a case.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bot.errors import AssistantError, KefuError
from bot.rasa.oracle import Oracle, OracleError
from bot.settings import environment
from tests.conformance.compare import Difference, ask, first_difference, play, until_endless, until_unended, walk
from tests.conformance.domains import VALUES, generate
from tests.conformance.project import Json, Project
from tests.conformance.served import ServedTalks, serving
from tests.conformance.shrink import Steps, shrink
from tests.conformance.stage import Bot
from tests.conformance.walks import Walker

TESTS = Path(__file__).parent.parent
CASES = Path(__file__).parent / "cases"
EXAMPLES = ("moodbot", "formbot", "concertbot")
"""Rasa's own examples, outside the repository (KEFU_RASA); labbot is ours."""
BOT_VALUES: dict[str, Sequence[Any]] = {
    "tier": ("gold", "silver", "golden", "GOLD"),
    "amount": (50, "20", "x", 5000, 0),
    "recipient": ("bob", "nobody", "stop"),
    "item": ("x", "y"),
    "city": ("rome", "oslo"),
    "cuisine": ("greek", "martian", "Chinese"),
    "number": (4, "2", "x", -1),
    "seating": ("outside", "inside", "roof"),
}


_ENOUGH_HUNG = 2
"""Walks over one project that Rasa did not come back from, after which the project's other walks are left out."""


@dataclass(kw_only=True)
class Counts:
    """What a campaign has seen so far."""

    conversations: int = 0
    turns: int = 0
    turns_equal: int = 0
    projects: int = 0
    refused_by_both: int = 0
    refusals_that_differ: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    without_answer: list[str] = field(default_factory=list)
    """Walks that Rasa did not come back from, and why; their turns are not counted."""
    ours_s: float = 0.0
    rasa_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Where the engines part: the steps up to there."""

    seed: int
    steps: Steps
    difference: Difference


class Live:
    """A live Rasa of the environment whose interpreter is `python`, and a scratch folder for its models."""

    def __init__(self, python: Path, scratch: Path) -> None:
        self._python, self.scratch = python, scratch
        self._process = ExitStack()
        self.oracle = self._process.enter_context(Oracle(python))
        self._count = 0
        self._loaded: tuple[Path, Sequence[str], bool] | None = None

    def load(self, folder: Path, *, without: Sequence[str] = (), end_to_end: bool = False) -> None:
        """Train and load the project; Rasa trains one with end-to-end stories only with its NLU model.

        Raises:
            OracleError: Rasa refuses it.
        """
        self._loaded = folder, without, end_to_end
        self._count += 1
        name, core_only = f"model{self._count}", not end_to_end
        model = self.oracle.train(folder, self.scratch, name=name, without=without, core_only=core_only)
        self.oracle.load(model, folder if (folder / "actions.py").exists() else None)
        model.unlink()

    def revive(self) -> None:
        """Another process in the place of one that died or hangs, with the same project loaded."""
        self.close()
        self.oracle = self._process.enter_context(Oracle(self._python))
        if self._loaded is not None:
            self.load(self._loaded[0], without=self._loaded[1], end_to_end=self._loaded[2])

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def fresh_folder(self) -> Path:
        self._count += 1
        return self.scratch / f"project{self._count}"


@contextmanager
def live(python: Path) -> Iterator[Live]:
    """A Rasa process of the environment whose interpreter is `python`."""
    with TemporaryDirectory(prefix="kefu-conformance-") as scratch:
        there = Live(python, Path(scratch))
        try:
            yield there
        finally:
            there.close()


@asynccontextmanager
async def bot_of(folder: Path) -> AsyncIterator[Bot]:
    bot = Bot(folder)
    try:
        yield bot
    finally:
        await bot.actions.close()


def bot_folder(name: str, examples: Path, scratch: Path) -> Path | None:
    """labbot, or one of Rasa's examples with our equivalent of its actions; None where the examples are not at hand."""
    source = TESTS / "bots" / name if name == "labbot" else examples / "bots" / name
    if not source.is_dir():
        return None
    folder = scratch / name
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    actions = TESTS / "bots" / f"{name}_actions.py"
    if actions.exists():
        shutil.copyfile(actions, folder / "actions.py")
    return folder


async def converse(
    there: Live,
    bot: Bot,
    seeds: Sequence[int],
    values: Mapping[str, Sequence[Any]],
    counts: Counts,
    served: ServedTalks | None = None,
) -> list[Finding]:
    """Walk once per seed over the project that is loaded on both sides, with `served` over HTTP on ours."""
    findings: list[Finding] = []
    hung = 0
    for seed in seeds:
        if hung == _ENOUGH_HUNG:
            break
        started = time.perf_counter()
        walker = Walker(bot.model.assistant, seed, values, is_served=served is not None)
        steps, ours = until_endless(*await walk(bot, walker, f"walk-{seed}"))
        if served is not None:
            started = time.perf_counter()
            ours = await served.play(steps, f"walk-{seed}")
        between = time.perf_counter()
        try:
            theirs = ask(there.oracle, steps, f"walk-{seed}")
        except OracleError as error:  # one conversation that hangs Rasa does not end the campaign
            counts.without_answer.append(f"walk {seed}: {str(error).splitlines()[0]}")
            there.revive()
            hung += 1
            continue
        counts.ours_s += between - started
        counts.rasa_s += time.perf_counter() - between
        if served is not None:
            ours, theirs = until_unended(ours, theirs)
            steps = steps[: len(ours)]
        difference = first_difference(ours, theirs)
        equal = len(steps) if difference is None else difference.index
        counts.conversations += 1
        counts.turns += len(steps)
        counts.turns_equal += equal
        if difference:
            findings.append(Finding(seed=seed, steps=steps[: difference.index + 1], difference=difference))
    return findings


async def converse_served(
    there: Live, folder: Path, seeds: Sequence[int], values: Mapping[str, Sequence[Any]], counts: Counts
) -> list[Finding]:
    """Walks over the project that is loaded in Rasa, on our side through a `kefu serve` process. Changes `folder`."""
    with serving(folder, there.fresh_folder()) as url:
        served = ServedTalks(url)
        async with bot_of(folder) as bot:
            findings = await converse(there, bot, seeds, values, counts, served)
        await served.close()
    return findings


async def compare_generated(there: Live, seed: int, walks: int, counts: Counts) -> list[Finding]:
    """The generated project of this seed: do both accept it, and do `walks` conversations go the same way?"""
    folder = generate(seed).write(there.fresh_folder())
    ours = _refusal_of_ours(folder)
    theirs = _refusal_of_rasa(there, folder)
    try:
        if ours and theirs:
            counts.refused_by_both += 1
            return []
        if ours or theirs:
            counts.refusals_that_differ.append(f"seed {seed}: Kefu {ours or 'accepts'}; Rasa {theirs or 'accepts'}")
            return []
        counts.projects += 1
        async with bot_of(folder) as bot:
            findings = await converse(there, bot, range(seed * 1000, seed * 1000 + walks), VALUES, counts)
        counts.differences += [f"generated {seed}, walk {each.seed}: {each.difference}" for each in findings]
        return findings
    finally:
        shutil.rmtree(folder)


def _refusal_of_ours(folder: Path) -> str | None:
    try:
        Bot(folder)
    except AssistantError as error:
        return str(error)
    return None


def _refusal_of_rasa(there: Live, folder: Path) -> str | None:
    try:
        there.load(folder)
    except OracleError as error:
        return str(error)
    return None


# ---- counterexamples ----


async def part(there: Live, project: Project, steps: Steps) -> Difference | None:
    """Where the engines part in these steps; None also where one of them refuses the project."""
    folder = project.write(there.fresh_folder())
    try:
        there.load(folder)
        async with bot_of(folder) as bot:
            ours = await play(bot, steps, "shrink")
            return first_difference(ours, ask(there.oracle, steps, "shrink"))
    except KefuError:
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def keep(there: Live, project: Project, finding: Finding, about: str) -> Path:
    """Shrink a finding and write it down with what Rasa did, for `test_cases`."""

    async def differs(smaller: Project, steps: Steps) -> bool:
        return await part(there, smaller, steps) is not None

    project, steps = await shrink(project, finding.steps, differs)
    folder = project.write(there.fresh_folder())
    there.load(folder)
    expected = ask(there.oracle, steps, "kept")
    body: Json = {
        "about": about,
        "project": project.to_json(),
        "steps": steps,
        "expected": [{"events": each.events, "state": each.state} for each in expected],
    }
    path = CASES / f"{about.replace(' ', '_')}.json"
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


async def _main(first: int, count: int, walks: int) -> None:
    logging.disable(logging.CRITICAL)
    counts = Counts()
    with live(Path(environment()["KEFU_RASA_PYTHON"])) as there:
        for seed in range(first, first + count):
            findings = await compare_generated(there, seed, walks, counts)
            for finding in findings[:1]:
                print(finding.difference, flush=True)
                print("kept:", await keep(there, generate(seed), finding, f"seed {seed}"), flush=True)
            print(f"{seed}: {counts.turns_equal} of {counts.turns} turns equal", flush=True)
    print(*counts.refusals_that_differ, sep="\n")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
