"""The learned policy beside a live TED: a story left out, every action of it predicted; results/policy.json.

python -m tests.bench.bench_policy [--rasa-python PATH] [--seeds 0 1 2] [--splits 2]

The bots of $KEFU_RASA (default ../shared/rasa/bots) and the projects of $KEFU_DATA/rasa_examples. For each seed and
project as many stories as `--splits` says are drawn and left out one at a time; all ways through a story's checkpoints
and alternatives are left out with it. Both sides get the same conversations, TED the settings of the project's
config.yml, or epochs 100 and max_history 5 where it has none. Sizes and training of ours were chosen on labbot and the
starter; nothing was chosen on the other projects. The live side is `rasa_ted.py`, run by a Python 3.10 with rasa 3.6.21
($KEFU_RASA_PYTHON); without one only our side is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.assistant.loader import Assistant, load_assistant
from bot.assistant.source import Problems
from bot.dialogue.learned import features_of, policy_lessons
from bot.dialogue.rules import training_examples
from bot.dialogue.training import TrainingConversation, expand_stories
from models.policy import load_policy
from tests.bench.bench_banking77 import interval
from tests.bench.report import write
from training.finetune_policy import train_policy
from training.policy_data import PolicySettings

TED = Path(__file__).with_name("rasa_ted.py")
DEFAULT_SETTINGS: Mapping[str, Any] = {"epochs": 100, "max_history": 5}
LISTEN = "action_listen"
TED_TIMEOUT_S = 3600


@dataclass(frozen=True, kw_only=True)
class Split:
    """A story left out: what is left, and the ways through the story."""

    name: str
    train: tuple[TrainingConversation, ...]
    test: tuple[TrainingConversation, ...]


@dataclass(frozen=True, kw_only=True)
class Project:
    name: str
    folder: Path
    assistant: Assistant
    conversations: tuple[TrainingConversation, ...]
    settings: Mapping[str, Any]

    def splits(self, count: int, seed: int) -> list[Split]:
        places = list(dict.fromkeys(conversation.where for conversation in self.conversations))
        drawn = random.Random(f"{self.name}:{seed}").sample(places, min(count, len(places)))
        return [
            Split(
                name=f"{place.file.name}:{place.line}",
                train=tuple(c for c in self.conversations if c.where != place),
                test=tuple(c for c in self.conversations if c.where == place),
            )
            for place in drawn
        ]


def projects(scratch: Path) -> Iterator[Project]:
    """Every project with at least two stories, each read from a copy whose stories all have names of their own."""
    bots = Path(os.environ.get("KEFU_RASA", "../shared/rasa/bots"))
    examples = Path(os.environ.get("KEFU_DATA", "../shared/data")) / "rasa_examples"
    for source in sorted(path.parent for root in (bots, examples) for path in root.glob("*/domain.yml")):
        folder = scratch / source.name
        shutil.copytree(source, folder)
        _name_stories_apart(folder)
        assistant = load_assistant(folder, {})
        conversations = expand_stories(assistant.stories, assistant.domain, Problems())
        if len({conversation.where for conversation in conversations}) < 2:
            continue
        settings = next((dict(p.settings) for p in assistant.policies if p.name == "TEDPolicy"), DEFAULT_SETTINGS)
        yield Project(
            name=source.name,
            folder=folder,
            assistant=assistant,
            conversations=tuple(conversations),
            settings=settings,
        )


def _name_stories_apart(folder: Path) -> None:
    """Rasa trains on two stories of one name; for us that is an error, so the second gets a number."""
    seen: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        seen[found[2]] = seen.get(found[2], 0) + 1
        return found[0] if seen[found[2]] == 1 else f"{found[1]}{found[2]} ({seen[found[2]]})"

    for path in sorted((folder / "data").rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(?m)^(\s*- story: *)(.*?)\s*$", numbered, text), encoding="utf-8")


def ours(project: Project, split: Split, seed: int, scratch: Path) -> dict[str, Any]:
    """Our policy on one split: seconds of everything that training takes, and each prediction."""
    named = {key: project.settings[key] for key in ("max_history", "epochs") if key in project.settings}
    constrained = bool(project.settings.get("constrain_similarities", False))
    settings = PolicySettings(**named, constrain_similarities=constrained, random_seed=seed)
    started, cpu = time.perf_counter(), time.process_time()
    domain = project.assistant.domain
    lessons = policy_lessons(split.train, domain, settings.max_history, random.Random(seed))
    out = scratch / "policy"
    shutil.rmtree(out, ignore_errors=True)
    train_policy(lessons, settings, out, "bench")
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    policy = load_policy(out)
    known = {(_key(lesson.states), lesson.action) for lesson in lessons}
    rows, new = [], 0
    for states, action, _ in training_examples(split.test, domain, omit_unset=False):
        seen = [features_of(state) for state in states[-policy.window :]]
        scores = policy.scores(seen)
        best = max(scores, key=scores.__getitem__)
        rows.append({"action": action, "predicted": best, "confidence": scores[best]})
        new += (_key(seen), action) not in known
    return {"train_s": seconds, "train_cpu_s": cpu_s, "rows": rows, "is_duplicate": new == 0}


def _key(states: Sequence[Mapping[str, float]]) -> tuple[tuple[tuple[str, float], ...], ...]:
    return tuple(tuple(sorted(state.items())) for state in states)


def live(project: Project, splits: Sequence[Split], seed: int, python: str, scratch: Path) -> list[dict[str, Any]]:
    """TED on the same splits, in a process of its own; unlike ours, the first action of a story may count there."""

    def events(conversations: Sequence[TrainingConversation]) -> list[list[dict[str, Any]]]:
        return [[event.to_json() for event in conversation.events] for conversation in conversations]

    request, answer = scratch / "request.json", scratch / "answer.json"
    body = {
        "domain": str(project.folder / "domain.yml"),
        "settings": dict(project.settings),
        "seed": seed,
        "splits": [{"train": events(split.train), "test": events(split.test)} for split in splits],
    }
    request.write_text(json.dumps(body), encoding="utf-8")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "RASA_TELEMETRY_ENABLED": "false"}
    with (scratch / "ted.log").open("w") as log:
        subprocess.run(
            [python, "-W", "ignore", str(TED), str(request), str(answer)],
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            check=True,
            timeout=TED_TIMEOUT_S,
        )
    found = json.loads(answer.read_text(encoding="utf-8"))
    for one, split in zip(found, splits, strict=True):
        one["rows"] = [
            row
            for rows, conversation in zip(one.pop("tests"), split.test, strict=True)
            for place, row in enumerate(rows)
            if not _is_unpredictable(conversation, place)
        ]
    return list(found)


def _is_unpredictable(conversation: TrainingConversation, place: int) -> bool:
    actions = [index for index, event in enumerate(conversation.events) if event.type_name == "action"]
    return actions[place] in conversation.unpredictable


def sum_up(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy over all predicted actions, over those beside listening, and seconds a training."""
    rows = [row for run in runs for row in run["rows"]]
    acting = [row for row in rows if row["action"] != LISTEN]
    return {
        "actions": len(rows),
        "accuracy": round(_share(rows), 4),
        "accuracy_beside_listening": round(_share(acting), 4),
        "mean_confidence_right": _confidence(rows, is_right=True),
        "mean_confidence_wrong": _confidence(rows, is_right=False),
        "train_s": round(sum(run["train_s"] for run in runs) / len(runs), 2),
        "train_cpu_s": round(sum(run["train_cpu_s"] for run in runs) / len(runs), 2),
    }


def _share(rows: Sequence[Mapping[str, Any]]) -> float:
    return sum(bool(row["action"] == row["predicted"]) for row in rows) / max(1, len(rows))


def _confidence(rows: Sequence[Mapping[str, Any]], *, is_right: bool) -> float | None:
    found = [row["confidence"] for row in rows if (row["action"] == row["predicted"]) == is_right]
    return round(sum(found) / len(found), 3) if found else None


def report(seeds: Mapping[int, Mapping[str, Mapping[str, list[Any]]]], count: int) -> None:
    """Write what is measured so far."""
    sides = [side for side in ("kefu", "ted") if all(side in runs for s in seeds.values() for runs in s.values())]
    by_seed = {
        side: [sum_up([run for runs in found.values() for run in runs[side]]) for found in seeds.values()]
        for side in sides
    }
    figures: dict[str, Any] = {
        "splits_a_project_and_seed": count,
        "seeds": list(seeds),
        "stories_left_out": sum(len(runs["kefu"]) for found in seeds.values() for runs in found.values()),
        "of_them_duplicates_in_states": sum(
            run["is_duplicate"] for found in seeds.values() for runs in found.values() for run in runs["kefu"]
        ),
    }
    for side in sides:
        mean, half = interval([one["accuracy"] for one in by_seed[side]])
        figures[side] = {
            "accuracy_mean": round(mean, 4),
            "accuracy_interval_95": [round(mean - half, 4), round(mean + half, 4)] if len(seeds) > 1 else None,
            "all": sum_up([run for found in seeds.values() for runs in found.values() for run in runs[side]]),
            "by_seed": by_seed[side],
            "by_project": {
                name: sum_up([run for found in seeds.values() if name in found for run in found[name][side]])
                for name in sorted({name for found in seeds.values() for name in found})
            },
        }
    targets: dict[str, bool] = {}
    if "ted" in sides:
        kefu, ted = figures["kefu"], figures["ted"]
        targets["action accuracy not below TED's"] = kefu["accuracy_mean"] >= ted["accuracy_mean"]
        targets["training ≥ 10 × faster than TED (CPU seconds)"] = (
            ted["all"]["train_cpu_s"] >= 10 * kefu["all"]["train_cpu_s"]
        )
    write("policy", figures, targets=targets)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rasa-python", default=os.environ.get("KEFU_RASA_PYTHON"))
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--splits", type=int, default=2)
    given = options.parse_args()
    if not given.rasa_python:
        print("only our side is measured: KEFU_RASA_PYTHON names no Python with rasa 3.6.21", file=sys.stderr)
    measured: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as folder:
        scratch = Path(folder)
        found = list(projects(scratch))
        for seed in given.seeds:
            for project in found:
                splits = project.splits(given.splits, seed)
                runs = {"kefu": [ours(project, split, seed, scratch) for split in splits]}
                if given.rasa_python:
                    runs["ted"] = live(project, splits, seed, given.rasa_python, scratch)
                measured.setdefault(seed, {})[project.name] = runs
                print(seed, project.name, {side: sum_up(of) for side, of in runs.items()}, flush=True)
                report(measured, given.splits)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
