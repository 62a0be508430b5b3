"""The README's figures, from results/*.json and nowhere else: `python -m tests.bench.readme` writes them in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tests.bench.report import REPOSITORY, RESULTS

README = REPOSITORY / "README.md"
BEGIN = "<!-- results:begin (tests/bench/readme.py writes this from results/*.json) -->"
END = "<!-- results:end -->"

Figures = Mapping[str, Any]


def banking77(found: Figures) -> str:
    low, high = found["accuracy_interval_95"]
    return (
        f"{found['accuracy_mean']:.2%} (95 % interval over {len(found['runs'])} seeds {low:.2%}–{high:.2%}; "
        f"n = {found['n_test']}; n-grams alone {found['floor_ngram']['accuracy']:.2%}); "
        f"training at most {found['train_s_max']:.0f} s"
    )


def webhook(found: Figures) -> str:
    return (
        f"{found['turns_per_s']:.0f} turns/s, p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms "
        f"({found['n_turns']} turns, {found['typed_share']:.0%} typed, client on the same machine)"
    )


def start(found: Figures) -> str:
    worst = max(figures["rss"] for figures in found["memory_mb"].values())
    return f"{found['ready_median_s']:.1f} s; {worst:.0f} MB resident after messages; no PyTorch loaded"


def first_run(found: Figures) -> str:
    return (
        f"{found['first_answer_s']:.0f} s with an empty pip cache (network included); "
        f"second start {found['second_start_first_answer_s']:.1f} s"
    )


def kill(found: Figures) -> str:
    return (
        f"{found['lost']} lost, {found['answered_twice']} answered twice, {found['out_of_order']} out of order, "
        f"{found['resume_gaps']} resume gaps ({found['acknowledged']} messages acknowledged, {found['sigkills']} kills)"
    )


def swap(found: Figures) -> str:
    return (
        f"{found['n_messages'] - found['answered']} of {found['n_messages']} dropped, "
        f"{found['answers_not_from_exactly_one_version']} answers from other than one version, "
        f"slowest {found['swap_slowest_s']:.1f} s from command to first answer"
    )


def storage(found: Figures) -> str:
    return f"{found['sqlite_full']['turns_per_s']:.0f} turns/s on SQLite (`synchronous=FULL`)"


ROWS: tuple[tuple[str, str, Callable[[Figures], str]], ...] = (
    ("BANKING77 test accuracy, `quick`, all-MiniLM-L6-v2, as served (ONNX int8)", "banking77_quick", banking77),
    ("REST webhook of the starter, 32 customers at once, every turn durable", "webhook", webhook),
    ("`kefu serve` with a trained model, to ready; memory", "start", start),
    ("`make run` from an empty folder to the first answer", "first_run", first_run),
    ("SIGKILLs under 2,000 web-chat messages with reconnecting clients", "kill", kill),
    ("Model swaps and rollbacks under 20 messages a second", "swap", swap),
    ("Storage alone: accept, claim, finish; 32 customers", "storage", storage),
)


def table() -> str:
    """The README's table; a measurement without a file is left out."""
    lines = ["| measure | result |", "|---|---|"]
    for title, name, describe in ROWS:
        file = RESULTS / f"{name}.json"
        if file.exists():
            lines.append(f"| {title} | {describe(json.loads(file.read_text(encoding='utf-8')))} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    note = "Two cores, no GPU; each file in `results/` names the machine, the commit and whether its target was met."
    return f"{before}{BEGIN}\n{note}\n\n{table()}\n{END}{after}"


def main() -> int:
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
