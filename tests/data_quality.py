"""`python -m tests.data_quality`: fails where a shipped assistant's texts repeat each other or its tests.

Part of `make check`. Writes results/starter_data.json, the same bytes for the same texts: counts, distinct-n and a
random 50 to read.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.answers.documents import read_passages
from bot.answers.gate import earlier_of, read_asked
from bot.answers.knowledge import Asked
from bot.assistant.loader import Assistant, AssistantTests, find_repetition, load_assistant, load_tests
from bot.assistant.quality import Sample, distinct, grams, pairs_between, pairs_within, samples_of
from bot.knowing import FOLLOW_UPS
from bot.settings import STARTER

REPOSITORY = Path(__file__).parents[1]
RESULT = REPOSITORY / "results" / "starter_data.json"
TO_READ = 50
SEED = 7


def shipped() -> list[Path]:
    """The folders of the starter and of every template."""
    templates = REPOSITORY / "bot" / "templates"
    folders = sorted(templates.iterdir()) if templates.is_dir() else []
    return [STARTER, *(folder for folder in folders if (folder / "config.yml").is_file())]


def complaints(assistant: Assistant, tests: AssistantTests) -> Iterator[str]:
    """One line a finding: where, what."""
    for kind, found in find_repetition(assistant, tests).items():
        for finding in found:
            where = finding.samples[0].where
            yield f"{where.file}:{where.line}: {kind}: {finding}"


def answer_complaints(starter: Path) -> Iterator[str]:
    """Of the starter's documents and its questions to them: what cannot be read, sections that do not exist, questions
    that repeat each other or those that measure."""
    passages, problems = read_passages(starter / "knowledge")
    yield from map(str, problems)
    known = {name for each in passages for name in (each.source, f"{each.source}#{each.anchor}")}
    learned = _questions(
        sorted([*(starter / "answers").glob("*.jsonl"), *(starter / "answers" / FOLLOW_UPS).glob("*")])
    )
    measured = _questions(sorted((REPOSITORY / "tests" / "answers").glob("*.jsonl")))
    for path, asked in [*learned, *measured]:
        for source in asked.sources:
            if source not in known:
                yield f"{path}: no document is {source} ({asked.question})"
    grams_of_learned = [grams(asked.question) for _, asked in learned]
    for i, j in pairs_within(grams_of_learned):
        yield f"{learned[j][0]}: alike: {learned[i][1].question} / {learned[j][1].question}"
    for i, j in pairs_between(grams_of_learned, [grams(asked.question) for _, asked in measured]):
        yield f"{measured[j][0]}: learned from too: {learned[i][1].question} / {measured[j][1].question}"


def claim_complaints(starter: Path) -> Iterator[str]:
    """Of the pairs that the guard learns from: those that repeat each other or the ones that measure it."""
    learned = _claims(sorted((starter / "answers" / "claims").glob("*.jsonl")))
    measured = _claims(sorted((REPOSITORY / "tests" / "answers").glob("contrast_*.jsonl")))
    grams_of_learned = [grams(text) for _, text in learned]
    for i, j in pairs_within(grams_of_learned):
        yield f"{learned[j][0]}: alike: {learned[i][1]} / {learned[j][1]}"
    for i, j in pairs_between(grams_of_learned, [grams(text) for _, text in measured]):
        yield f"{measured[j][0]}: learned from too: {learned[i][1]} / {measured[j][1]}"


def _claims(files: Sequence[Path]) -> list[tuple[Path, str]]:
    """The true sentence of each pair; the false one is nearly the same."""
    return [(path, json.loads(line)["true"]) for path in files for line in path.read_text("utf-8").splitlines()]


def _questions(files: Sequence[Path]) -> list[tuple[Path, Asked]]:
    found = []
    for path in files:
        if path.name.startswith("contrast"):
            continue
        asked, problems = read_asked(path)
        assert not problems, problems
        found += [(path, _with_what_was_before(each)) for each in asked]
    return found


def _with_what_was_before(asked: Asked) -> Asked:
    """Two follow-ups may read alike ("and to Spain?") where what was said before does not."""
    earlier = earlier_of(asked)
    return replace(asked, question=f"{earlier.customer} {asked.question}") if earlier else asked


def figures(assistant: Assistant, tests: AssistantTests) -> dict[str, Any]:
    """Counts and distinct-n by language, and messages drawn at random (seed 7)."""
    texts = {
        "intents": samples_of(assistant.nlu.examples),
        "sentiment": samples_of(assistant.sentiment),
        "test_intents": samples_of(tests.nlu.examples),
        "test_sentiment": samples_of(tests.sentiment),
    }
    drawn = random.Random(SEED).sample(texts["intents"], min(TO_READ, len(texts["intents"])))
    return {
        **{name: _described(samples) for name, samples in texts.items()},
        "random_messages": [f"{sample.label}: {sample.text}" for sample in drawn],
    }


def _described(samples: Sequence[Sample]) -> dict[str, Any]:
    languages = sorted({sample.language or "und" for sample in samples})
    return {language: _of([s for s in samples if (s.language or "und") == language]) for language in languages}


def _of(samples: Sequence[Sample]) -> dict[str, Any]:
    counts = Counter(sample.label for sample in samples)
    return {
        "n": len(samples),
        **{f"distinct_{n}": round(distinct(samples, n), 4) for n in (1, 2, 3)},
        "by_label": dict(sorted(counts.items())),
    }


def main() -> int:
    found = []
    for folder in shipped():
        assistant, tests = load_assistant(folder, {}), load_tests(folder)
        found += complaints(assistant, tests)
        if folder == STARTER:
            found += [*answer_complaints(folder), *claim_complaints(folder)]
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(
                json.dumps(figures(assistant, tests), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
            )
    for line in found:
        print(line.removeprefix(f"{REPOSITORY}/"), file=sys.stderr)
    print(f"data quality: {len(found)} findings in {len(shipped())} assistants")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
