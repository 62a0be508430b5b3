"""How many false sentences the guard stops, and how many true ones.

python -m tests.bench.bench_guard   →  results/guard.json, after `kefu knowledge tune --only judge`

tests/answers/contrast_{en,zh}.jsonl: a source, a sentence that it supports and the same with the smallest change that
it does not, by authors who saw neither the pairs the guard learned from nor its code. Nothing is tuned on them.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

from bot.answers.guard import Guard
from bot.answers.index_files import GUARD
from bot.answers.writers import guard_of, named
from tests.bench.report import REPOSITORY, latency, write
from tests.bench.serving import trained_home
from training.scores import wilson_interval

STOPPED, STOPPED_TRUE = 0.9, 0.05


def main() -> int:
    store = trained_home() / "knowledge" / "kefu-starter"
    if named(store / GUARD) is None:
        sys.exit("no cross-encoder: run `kefu knowledge tune --only judge` in that home first")
    guard = guard_of(store, 1)
    figures = {language: _figures(guard, language) for language in ("en", "zh")}
    targets = {}
    for language, found in figures.items():
        targets[f"{language}: >= 90 % of false versions stopped"] = found["false_stopped"] >= STOPPED
        targets[f"{language}: <= 5 % of true versions stopped"] = found["true_stopped"] <= STOPPED_TRUE
    write("guard", {**figures, "judge": named(store / GUARD)}, targets=targets)
    return 0 if all(targets.values()) else 1


def _figures(guard: Guard, language: str) -> dict[str, Any]:
    path = REPOSITORY / "tests" / "answers" / f"contrast_{language}.jsonl"
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    took: list[float] = []

    def objections(version: str) -> list[str | None]:
        found = []
        for pair in pairs:
            began = time.perf_counter()
            objection = guard.objection(pair[version], pair["source"], "", language)
            took.append(time.perf_counter() - began)
            found.append(objection.kind if objection else None)
        return found

    true, false = objections("true"), objections("false")
    n = len(pairs)
    missed = Counter(pair["kind"] for pair, kind in zip(pairs, false, strict=True) if kind is None)
    shares = {name: sum(kind is not None for kind in found) / n for name, found in (("true", true), ("false", false))}
    return {
        "n": n,
        "false_stopped": round(shares["false"], 4),
        "false_stopped_interval": wilson_interval(shares["false"], n),
        "true_stopped": round(shares["true"], 4),
        "true_stopped_interval": wilson_interval(shares["true"], n),
        "false_missed_by_kind": dict(missed),
        "of_kind": dict(Counter(pair["kind"] for pair in pairs)),
        "true_stopped_by": dict(Counter(kind for kind in true if kind)),
        "false_stopped_by": dict(Counter(kind for kind in false if kind)),
        "check": latency(took),
    }


if __name__ == "__main__":
    sys.exit(main())
