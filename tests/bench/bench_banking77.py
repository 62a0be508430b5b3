"""BANKING77: accuracy of the `quick` recipe on the English base, through the version folder that serves.

python -m tests.bench.bench_banking77 [--seeds 0 1 2]  →  results/banking77_quick.json

Beside it the floor (the same recipe without an encoder) and out-of-scope detection on BANKING77-OOS: unknown banking
intents and
questions about anything else. Settings were chosen on parts of the training files; the test files are read here and
nowhere else.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from models.pretrained import BaseModel, ngram_base, resolve_base
from tests.bench.report import write
from training.evaluate import evaluate_files
from training.finetune_understanding import Recipe

BASE = "all-MiniLM-L6-v2"
ACCURACY = 0.926
SECONDS = 60.0
# Student's t, two-sided 95 %, by number of seeds.
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}


def measure(data: Path, base: BaseModel, seed: int, threads: int, oos: str | None = None) -> dict[str, float | None]:
    """One training and one test, with CPU seconds beside wall seconds: the machine may be shared."""
    folder = data / "banking77_oos" if oos else data / "banking77"
    suffix = "jsonl" if oos else "csv"
    started = time.process_time()
    figures = evaluate_files(
        folder / f"train.{suffix}",
        folder / f"test.{suffix}",
        folder / oos if oos else None,
        base,
        Recipe(threads=threads),
        seed,
    )
    measured = {**figures, "cpu_s": round(time.process_time() - started, 2)}
    print(measured, flush=True)
    return measured


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval over seeds; how the test set was drawn is not in it."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, T95.get(len(values), 2.0) * statistics.stdev(values) / math.sqrt(len(values))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    data = Path(os.environ.get("KEFU_DATA", "../shared/data"))
    if not (data / "banking77" / "train.csv").is_file():
        print(f"{data / 'banking77'}: not there; set KEFU_DATA to the folder that holds banking77", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as cache:
        base = resolve_base(BASE, Path(cache), print)
        runs = [measure(data, base, seed, given.threads) for seed in given.seeds]
        near = measure(data, base, given.seeds[0], given.threads, "id-oos_test.jsonl")
        far = measure(data, base, given.seeds[0], given.threads, "ood-oos_test.jsonl")
        floor = measure(data, ngram_base(), given.seeds[0], given.threads)
    accuracies = [float(run["accuracy"] or 0) for run in runs]
    mean, half = interval(accuracies)
    # The first run also exports the base to ONNX, once in a machine's life; it counts all the same.
    slowest = max(float(run["train_s"] or 0) for run in runs)
    figures = {
        "base": BASE,
        "recipe": "quick",
        "threads": given.threads,
        "accuracy_mean": round(mean, 5),
        "accuracy_interval_95": [round(mean - half, 5), round(mean + half, 5)],
        "test_standard_error": round(math.sqrt(mean * (1 - mean) / float(runs[0]["n_test"] or 1)), 5),
        "n_train": runs[0]["n_train"],
        "n_test": runs[0]["n_test"],
        "train_s_max": slowest,
        "runs": runs,
        "floor_ngram": floor,
        "oos_same_domain": near,
        "oos_other_domains": far,
    }
    targets = {"mean accuracy ≥ 92.6 %": mean >= ACCURACY, "each training ≤ 60 s": slowest <= SECONDS}
    write("banking77_quick", figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
