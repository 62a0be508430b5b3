"""Replies to another company's customers: what the local writer makes of faq_retrieval_en, beside what is quoted.

ROUGE-L is written here (`rouge_l`): a longest common subsequence needs no package.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.answers.compose import MOST_CHARS_ELSE, excerpt
from bot.answers.documents import Passage, sentences
from bot.answers.guard import Guard
from bot.answers.service import loaded
from bot.answers.writer import source_of
from bot.answers.writers import guard_of
from tests.bench.local_writer import SEED, Part, Trained, replies_to
from training.scores import mean_interval, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What was said of a passage, beside the data set's two answers."""

    question: str
    passage: Passage
    generated: str
    quoted: str
    human: str
    objections: Mapping[str, str | None]
    """By "generated" and "quoted": what the guard first objects to."""

    def text(self, kind: str) -> str:
        return self.generated if kind == "generated" else self.quoted


def faq_part(trained: Trained, n: int) -> Part:
    folder = Path(os.environ.get("KEFU_DATA", "../shared/data")) / "faq_retrieval_en"
    documents = {one["id"]: one for one in _lines(folder / "docs.jsonl")}
    queries = _lines(folder / "queries.jsonl")
    chosen = random.Random(SEED).sample(queries, min(n, len(queries)))
    passages = [_passage(documents[query["gold"][0]]) for query in chosen]
    prompts = [
        trained.prompt(query["query"], passage, passage.title) for query, passage in zip(chosen, passages, strict=True)
    ]
    generated = asyncio.run(replies_to(trained.writers, prompts))
    quoted = _quoted(trained, [query["query"] for query in chosen], passages)
    guard = guard_of(trained.store, 1)
    replies = []
    for query, passage, *texts in zip(chosen, passages, generated, quoted, strict=True):
        objections = {
            kind: _objection(guard, text, passage, query["query"])
            for kind, text in zip(("generated", "quoted"), texts, strict=True)
        }
        replies.append(
            Reply(
                question=query["query"],
                passage=passage,
                generated=texts[0],
                quoted=texts[1],
                human=query["response"],
                objections=objections,
            )
        )
    passed = [reply for reply in replies if reply.objections["generated"] is None]
    figures: dict[str, Any] = {
        "n": len(replies),
        "of": len(queries),
        "seed": SEED,
        "by_construction": "the entry's answer is the passage: against it what is quoted has ROUGE-L 1",
        "generated": _figures(replies, "generated"),
        "quoted": _figures(replies, "quoted"),
        "generated_less_quoted_against_human": _interval(
            [rouge_l(one.generated, one.human) - rouge_l(one.quoted, one.human) for one in replies]
        ),
        "generated_that_pass": _figures(passed, "generated"),
    }
    ours, theirs = (figures[kind]["rouge_l_against_human"]["mean"] for kind in ("generated", "quoted"))
    targets = {
        "ROUGE-L against a person's reply: generated >= quoted": ours >= theirs,
        "replies that pass hold no number from nowhere": all(_has_known_numbers(one, one.generated) for one in passed),
    }
    return figures, targets


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _passage(document: Mapping[str, Any]) -> Passage:
    """As a list of questions is read: the question is the heading."""
    return Passage(
        id=document["id"],
        source="faq.csv",
        title=document["entity"],
        heading=document["question"],
        anchor="",
        text=document["answer"],
        language="en",
    )


def _quoted(trained: Trained, questions: Sequence[str], passages: Sequence[Passage]) -> list[str]:
    finder = loaded(trained.store, 1)
    assert finder is not None
    vectors = finder.embedder.questions(questions)
    return [
        excerpt(passage.text, vector, finder.embedder, MOST_CHARS_ELSE)
        for passage, vector in zip(passages, vectors, strict=True)
    ]


def _objection(guard: Guard, text: str, passage: Passage, question: str) -> str | None:
    """The guard's first objection to a sentence; None where all of them may be said."""
    for sentence in sentences(text):
        if found := guard.objection(sentence, source_of(passage), question, "en"):
            return found.kind
    return None if text else "nothing was written"


def _figures(replies: Sequence[Reply], kind: str) -> dict[str, Any]:
    n = len(replies)
    passes = sum(one.objections[kind] is None for one in replies) / max(1, n)
    numbers = sum(_has_known_numbers(one, one.text(kind)) for one in replies) / max(1, n)
    return {
        "n": n,
        "rouge_l_against_human": _interval([rouge_l(one.text(kind), one.human) for one in replies]),
        "rouge_l_against_passage": _interval([rouge_l(one.text(kind), one.passage.text) for one in replies]),
        "every_sentence_passes": round(passes, 4),
        "every_sentence_passes_interval": wilson_interval(passes, n),
        "first_objections": dict(Counter(found for one in replies if (found := one.objections[kind]))),
        "with_a_number": sum(bool(_numbers(one.text(kind))) for one in replies),
        "every_number_in_passage": round(numbers, 4),
        "every_number_in_passage_interval": wilson_interval(numbers, n),
    }


def _interval(values: Sequence[float]) -> dict[str, Any]:
    """The mean and its 95 % interval."""
    if len(values) < 2:
        return {"mean": round(sum(values), 4), "interval": None}
    mean, *interval = mean_interval(values)
    return {"mean": round(mean, 4), "interval": [round(value, 4) for value in interval]}


def _has_known_numbers(reply: Reply, text: str) -> bool:
    """Digits read as strings; what the guard looks them up with is not used here. The headings are the passage's."""
    return _numbers(text) <= _numbers(source_of(reply.passage))


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", text))


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, in lower case, without stemming. Source: Lin 2004."""
    ours, theirs = (re.findall(r"[a-z0-9]+", one.lower()) for one in (text, reference))
    row = [0] * (len(theirs) + 1)
    for word in ours:
        before, row = row, [0]
        for place, other in enumerate(theirs):
            row.append(before[place] + 1 if word == other else max(before[place + 1], row[place]))
    return 2 * row[-1] / (len(ours) + len(theirs)) if row[-1] else 0.0
