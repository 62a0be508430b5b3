"""Accuracy of the recipes on public data sets, through the version folder that serves; one file a set under results/.

python -m tests.bench.bench_accuracy [NAME...] [--seeds 0 1 2] [--threads 2]

Recipes, epochs and scores were chosen on parts of the training files; a test file is read here, once a figure. A run
that stops early keeps the seeds it has measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.pretrained import BaseModel, ngram_base, resolve_base
from tests.bench.bench_banking77 import interval
from tests.bench.report import RESULTS, write
from training.dataset import Utterance, draw_shots
from training.evaluate import Task, measure, sum_up
from training.readers import read_corpus, read_utterances
from training.recipes import RECIPES, Recipe

ENGLISH = "all-MiniLM-L6-v2"
MULTILINGUAL = "multilingual-e5-small"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training and one test of a set."""

    learned: Sequence[Utterance]
    held: Sequence[Utterance]
    strange: Sequence[Utterance] = ()


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured on a set, and what it must reach.

    Attributes:
        read: (data folder, seed) → the rows; a seed may choose the few-shot draw.
        targets: figure → at least this; met when the mean is not more than one standard error below it.
        seconds: longest training allowed.
    """

    base: str
    recipe: Recipe
    read: Callable[[Path, int], Part]
    targets: dict[str, float]
    seconds: float | None = None
    task: Task = "intent"


def banking(data: Path, seed: int) -> Part:
    return Part(
        learned=read_utterances(data / "banking77/train.csv"), held=read_utterances(data / "banking77/test.csv")
    )


def banking_ten(data: Path, seed: int) -> Part:
    """The fixed draw for seed 0, draws of our own from the whole training file for the others."""
    fixed = read_utterances(data / "banking77_oos/banking77_train_10.jsonl")
    drawn = fixed if seed == 0 else draw_shots(read_utterances(data / "banking77/train.csv"), 10, seed)
    names = {u.label.replace(" ", "_").lower(): u.label for u in read_utterances(data / "banking77/test.csv")}
    learned = [replace(u, label=names.get(u.label.replace(" ", "_").lower(), u.label)) for u in drawn]
    return Part(learned=learned, held=read_utterances(data / "banking77/test.csv"))


def banking_near(data: Path, seed: int) -> Part:
    folder = data / "banking77_oos"
    return Part(
        learned=read_utterances(folder / "train.jsonl"),
        held=read_utterances(folder / "test.jsonl"),
        strange=read_utterances(folder / "id-oos_test.jsonl"),
    )


def clinc(data: Path, seed: int) -> Part:
    corpus = read_corpus(data / "clinc150/data_full.json")
    return Part(learned=corpus.train, held=corpus.test, strange=corpus.out_of_scope)


def hwu(data: Path, seed: int) -> Part:
    return Part(learned=read_utterances(data / "hwu64/train.jsonl"), held=read_utterances(data / "hwu64/test.jsonl"))


def waimai(data: Path, seed: int) -> Part:
    def rows(split: str) -> list[Utterance]:
        lines = (data / f"waimai_10k/waimai_10k.{split}.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines if line.strip()]
        return [Utterance(text=row["text"], label="positive" if row["label"] else "negative") for row in found]

    return Part(learned=rows("train"), held=rows("test"))


def xsid(data: Path, seed: int) -> Part:
    folder = data / "xsid_zh"
    return Part(learned=read_utterances(folder / "zh.valid.jsonl"), held=read_utterances(folder / "zh.test.jsonl"))


BENCHES: dict[str, Bench] = {
    "banking77_full": Bench(
        base=ENGLISH, recipe=RECIPES["full"], read=banking, targets={"accuracy": 0.936}, seconds=600
    ),
    "banking77_small": Bench(
        base=ENGLISH, recipe=RECIPES["small"], read=banking, targets={"accuracy": 0.936}, seconds=600
    ),
    "banking77_10shot": Bench(base=ENGLISH, recipe=RECIPES["few-shot"], read=banking_ten, targets={"accuracy": 0.86}),
    "banking77_near_oos": Bench(base=ENGLISH, recipe=RECIPES["full"], read=banking_near, targets={"oos_auroc": 0.87}),
    "clinc150_full": Bench(
        base=ENGLISH, recipe=RECIPES["full"], read=clinc, targets={"accuracy": 0.965, "oos_auroc": 0.979}
    ),
    "hwu64_full": Bench(base=ENGLISH, recipe=RECIPES["full"], read=hwu, targets={"accuracy": 0.915}),
    "waimai_full": Bench(
        base=MULTILINGUAL, recipe=RECIPES["full"], read=waimai, targets={"accuracy": 0.912}, task="sentiment"
    ),
    "xsid_zh": Bench(base=MULTILINGUAL, recipe=RECIPES["full"], read=xsid, targets={"accuracy": 0.93}),
}


def one(part: Part, base: BaseModel, recipe: Recipe, task: Task) -> dict[str, Any]:
    """One training and one test, with CPU seconds beside wall seconds: the machine may be shared."""
    started = time.process_time()

    def show(step: str, done: int, total: int) -> None:
        if step == "tune" and done % 50 == 0:
            print(f"  {step} {done}/{total}", end="\r", file=sys.stderr, flush=True)

    measured = measure(part.learned, part.held, part.strange, base, recipe, task, show)
    report = sum_up(measured.judged, measured.out_of_scope)
    found = {
        "seed": recipe.seed,
        "accuracy": report.accuracy,
        "macro_f1": report.macro_f1,
        "ece": report.ece,
        "oos_auroc": report.oos_auroc,
        "n_train": measured.n_train,
        "n_test": len(part.held),
        "n_out_of_scope": len(part.strange),
        "train_s": measured.train_s,
        "cpu_s": round(time.process_time() - started, 1),
        "coverage": [asdict(row) for row in report.coverage],
    }
    print({name: value for name, value in found.items() if name != "coverage"}, flush=True)
    return found


def _earlier(name: str, recipe: Recipe, task: Task) -> list[dict[str, Any]]:
    """The runs in results/, if they were made with this recipe for this task."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return []
    document = json.loads(file.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(asdict(recipe)))
    # Threads change the time alone, and of data this large one fold holds out more rows than any setting asked for.
    is_same = all(value == now.get(key) for key, value in document["recipe"].items() if key not in _OF_NO_ACCOUNT)
    return list(document["runs"]) if is_same and document.get("task", "intent") == task else []


_OF_NO_ACCOUNT = ("threads", "enough_held_out")


def figures(bench: Bench, recipe: Recipe, runs: Sequence[dict[str, Any]], floor: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "base": bench.base,
        "task": bench.task,
        "recipe": asdict(recipe),
        "runs": list(runs),
        "floor_ngram": floor,
    }
    for name in ("accuracy", "oos_auroc", "ece"):
        values = [float(run[name]) for run in runs if run[name] is not None]
        if values:
            mean, half = interval(values)
            out[f"{name}_mean"] = round(mean, 5)
            out[f"{name}_interval_95"] = [round(mean - half, 5), round(mean + half, 5)] if len(values) > 1 else None
            out[f"{name}_standard_error"] = round(
                float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0, 5
            )
    return out


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help=f"of {', '.join(sorted(BENCHES))}; all without one")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--add", action="store_true", help="keep the runs of other seeds with the same recipe")
    given = options.parse_args()
    if unknown := set(given.names) - set(BENCHES):
        options.error(f"no such data set: {', '.join(sorted(unknown))}")
    data = Path(os.environ.get("KEFU_DATA", "../shared/data"))
    if not data.is_dir():
        print(f"{data}: not there; set KEFU_DATA to the folder that holds banking77 and the others", file=sys.stderr)
        return 2
    missed = 0
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as cache:
        for name in given.names or sorted(BENCHES):
            missed += not run(name, data, Path(cache), given.seeds, given.threads, add=given.add)
    return 1 if missed else 0


def run(name: str, data: Path, cache: Path, seeds: Sequence[int], threads: int, *, add: bool) -> bool:
    bench = BENCHES[name]
    base = resolve_base(bench.base, cache, print)
    recipe = replace(bench.recipe, threads=threads)
    floor = one(bench.read(data, seeds[0]), ngram_base(), replace(recipe, name="quick", epochs=0), bench.task)
    runs = [one_run for one_run in _earlier(name, recipe, bench.task) if one_run["seed"] not in seeds] if add else []
    is_met = False
    for seed in seeds:
        runs.append(one(bench.read(data, seed), base, replace(recipe, seed=seed), bench.task))
        found = figures(bench, recipe, runs, floor)
        targets = {}
        for figure, least in bench.targets.items():
            slack = found[f"{figure}_standard_error"]
            targets[f"mean {figure} ≥ {least}, less one standard error"] = found[f"{figure}_mean"] >= least - slack
        if bench.seconds is not None:
            slowest = max(float(one_run["train_s"]) for one_run in runs)
            targets[f"each training ≤ {bench.seconds:.0f} s"] = slowest <= bench.seconds
        write(name, found, targets=targets)
        is_met = all(targets.values())
    return is_met


if __name__ == "__main__":
    raise SystemExit(main())
