"""Random walks beside a live Rasa 3.6.21, TED left out: how many turns are equal, event by event and state by state?

`python -m tests.bench.bench_conformance` with KEFU_RASA_PYTHON (and KEFU_RASA for Rasa's example bots) writes
results/conformance.json; it is written anew after every project, so that a run that is stopped leaves its figures.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import report
from tests.conformance.campaign import (
    BOT_VALUES,
    EXAMPLES,
    TESTS,
    Counts,
    Live,
    bot_folder,
    bot_of,
    compare_generated,
    converse,
    converse_served,
    live,
)

TARGET_CONVERSATIONS = 5_000


@dataclass(kw_only=True)
class Campaign:
    """The figures so far: one count per bot, one for all generated projects together."""

    versions: dict[str, str]
    seeds: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    bots: dict[str, Counts] = field(default_factory=dict)
    served: dict[str, Counts] = field(default_factory=dict)
    generated: Counts = field(default_factory=Counts)

    def write(self) -> None:
        every = [*self.bots.values(), *self.served.values(), self.generated]
        conversations = sum(each.conversations for each in every)
        turns, equal = sum(each.turns for each in every), sum(each.turns_equal for each in every)
        refusals = self.generated.refusals_that_differ
        figures = {
            "rasa": self.versions,
            "seeds": self.seeds,
            "seconds": round(time.monotonic() - self.started),
            "conversations": conversations,
            "turns": turns,
            "turns_equal": equal,
            "share_equal": round(equal / turns, 6) if turns else None,
            "bots": {name: _figures(counts) for name, counts in self.bots.items()},
            "through_kefu_serve": {name: _figures(counts) for name, counts in self.served.items()},
            "generated": {
                **_figures(self.generated),
                "projects": self.generated.projects,
                "refused_by_both": self.generated.refused_by_both,
                "refusals_that_differ": len(refusals),
            },
            "without_answer": [each for counts in every for each in counts.without_answer],
            "differences": [each for counts in every for each in counts.differences][:50] + refusals[:50],
        }
        report.write(
            "conformance",
            figures,
            targets={
                f"at least {TARGET_CONVERSATIONS} conversations": conversations >= TARGET_CONVERSATIONS,
                "every turn equal": turns > 0 and equal == turns,
                "the same projects refused": not refusals,
            },
        )


def _figures(counts: Counts) -> dict[str, Any]:
    turns = max(counts.turns, 1)
    return {
        "conversations": counts.conversations,
        "turns": counts.turns,
        "turns_equal": counts.turns_equal,
        "without_answer": len(counts.without_answer),
        "kefu_ms_per_turn": round(counts.ours_s / turns * 1000, 2),
        "rasa_ms_per_turn": round(counts.rasa_s / turns * 1000, 2),
    }


async def _bots(there: Live, campaign: Campaign, names: list[str], walks: range, served: int) -> None:
    examples = Path(os.environ.get("KEFU_RASA", TESTS.parent.parent / "shared" / "rasa"))
    with TemporaryDirectory() as scratch:
        for name in names:
            folder = bot_folder(name, examples, Path(scratch))
            if folder is None:
                print(f"{name}: not at hand (KEFU_RASA)")
                continue
            counts = campaign.bots.setdefault(name, Counts())
            there.load(folder, without=["TEDPolicy"])
            async with bot_of(folder) as bot:
                findings = await converse(there, bot, walks, BOT_VALUES, counts)
            counts.differences += [f"{name}, walk {each.seed}: {each.difference}" for each in findings]
            campaign.write()
            counts = campaign.served.setdefault(name, Counts())
            findings = await converse_served(there, folder, walks[:served], BOT_VALUES, counts)
            counts.differences += [f"{name} served, walk {each.seed}: {each.difference}" for each in findings]
            campaign.write()


async def main() -> None:
    """Walk over the bots, then over generated projects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=700, help="per bot")
    parser.add_argument("--served", type=int, default=100, help="of them per bot also through `kefu serve`")
    parser.add_argument("--projects", type=int, default=350, help="seeds of generated projects; a third is accepted")
    parser.add_argument("--walks-per-project", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed of both")
    given = parser.parse_args()
    python = os.environ.get("KEFU_RASA_PYTHON")
    if not python:
        print("no walks: KEFU_RASA_PYTHON does not name the interpreter of an environment with rasa 3.6.21")
        return
    logging.disable(logging.CRITICAL)
    first = given.first
    seeds = {"walks": [first, first + given.walks], "projects": [first, first + given.projects]}
    with live(Path(python)) as there:
        campaign = Campaign(versions=there.oracle.versions, seeds=seeds)
        await _bots(there, campaign, ["labbot", *EXAMPLES], range(first, first + given.walks), given.served)
        for seed in range(first, first + given.projects):
            await compare_generated(there, seed, given.walks_per_project, campaign.generated)
            if seed % 10 == 9:
                campaign.write()
        campaign.write()


if __name__ == "__main__":
    asyncio.run(main())
