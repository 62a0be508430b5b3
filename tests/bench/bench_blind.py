"""Which of two answers to the same question readers prefer who do not know how they were made: written, or quoted.

python -m tests.bench.bench_blind pairs FOLDER  →  FOLDER/pairs.jsonl, and key.json, which is not for readers:
questions that results/answers_generated_replies.jsonl and results/answers_replies.jsonl both answer from the same page,
without the line that says whose words it is, in a random order.

python -m tests.bench.bench_blind count FOLDER  →  results/blind.json and results/blind_verdicts.jsonl, of what readers
wrote to FOLDER/reader*.jsonl: {"pair": 1, "prefers": "A" | "B" | "same", "why": …}.

The readers so far were two language models, which are no customers; each read all pairs, one of them from the end.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.report import RESULTS, write
from training.scores import wilson_interval

PAIRS, SEED, WANTED = 120, 0, 0.6
_MARK = re.compile(r"\n?\((?:From our help page|Written by our assistant)[^\n]*\)")


def main() -> int:
    match sys.argv[1:]:
        case ["pairs", folder]:
            return pairs(Path(folder))
        case ["count", folder]:
            return count(Path(folder))
    sys.exit(__doc__)


def pairs(folder: Path) -> int:
    written, quoted = (_replies(name) for name in ("answers_generated", "answers"))
    both = [
        name
        for name, reply in written.items()
        if reply["answerable"] and reply["kind"] == "generated" and quoted[name]["kind"] == "extracted"
        and quoted[name]["sources"] == reply["sources"]
    ]  # fmt: skip
    rng = random.Random(SEED)
    rng.shuffle(both)
    key: dict[int, dict[str, str]] = {}
    shown = []
    for pair, name in enumerate(both[:PAIRS], start=1):
        sides = {"generated": written[name], "quoted": quoted[name]}
        first, second = sides if rng.random() < 0.5 else reversed(sides)
        key[pair] = {"id": name, "A": first, "B": second}
        texts = (_MARK.sub("", sides[side]["reply"]).strip() for side in (first, second))
        shown.append({"pair": pair, "question": written[name]["question"], **dict(zip("AB", texts, strict=True))})
    folder.mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "pairs.jsonl", shown)
    (folder / "key.json").write_text(json.dumps(key), encoding="utf-8")
    return 0


def count(folder: Path) -> int:
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    verdicts: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for file in sorted(folder.glob("reader*.jsonl")):
        read = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert {str(each["pair"]) for each in read} == key.keys(), file
        chosen = [{**each, **key[str(each["pair"])], "reader": file.stem} for each in read]
        for each in chosen:
            each["prefers"] = each.get(each["prefers"], "same")
        counts = Counter(each["prefers"] for each in chosen)
        share = counts["generated"] / len(chosen)
        interval = wilson_interval(share, len(chosen))
        figures[file.stem] = {**counts, "n": len(chosen), "share_generated": round(share, 4), "interval": interval}
        verdicts += [{name: each[name] for name in ("reader", "id", "prefers", "why")} for each in chosen]
    _write_lines(RESULTS / "blind_verdicts.jsonl", verdicts)
    met = all(found["share_generated"] >= WANTED for found in figures.values())
    write("blind", {"pairs": len(key), **figures}, targets={"en: readers prefer what is written in >= 60 %": met})
    return 0 if met else 1


def _replies(name: str) -> dict[str, dict[str, Any]]:
    lines = (RESULTS / f"{name}_replies.jsonl").read_text(encoding="utf-8").splitlines()
    return {found["id"]: found for line in lines if (found := json.loads(line))}


def _write_lines(file: Path, values: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
