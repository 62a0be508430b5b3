"""How well passages are found, by the default base, before any tuning.

python -m tests.bench.bench_retrieval           →  results/retrieval.json
python -m tests.bench.bench_retrieval --tuned   →  results/retrieval_tuned.json, after `kefu knowledge tune` (minutes)

- faq_retrieval_en (KEFU_DATA): within the entity that the conversation is about, as its README asks; nothing is
  tuned on it.
- tests/answers/faq_zh.jsonl: 408 Chinese questions over the starter's Chinese articles, by an author who saw neither
  the training questions nor the other tests; the floor is tf-idf over single characters and pairs.
- tests/answers/cross.jsonl: questions in one language, articles in the other.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from bot.answers.finder import Finder
from bot.answers.gate import measure, read_asked
from bot.answers.knowledge import Asked, KnowledgeIndex, Known, is_from
from bot.answers.service import loaded
from models.embeddings import Embedder
from tests.bench.report import REPOSITORY, write
from tests.bench.serving import trained_home
from tests.server import STARTER, kefu
from training.scores import wilson_interval

DAY = date(2026, 11, 30)
ANSWERS = REPOSITORY / "tests" / "answers"


def main() -> int:
    is_tuned = "--tuned" in sys.argv[1:]
    home = trained_home()
    if is_tuned:
        kefu("knowledge", "tune", "--only", "finder", "--assistant", str(STARTER), home=home, timeout=3_600)
    store = home / "knowledge" / "kefu-starter"
    finder = loaded(store, 1)
    assert finder is not None
    index = finder.index
    english, chinese, cross = faq_en(finder.embedder), faq_zh(finder), across(finder)
    targets = {
        "faq_retrieval_en R@1 >= 0.55": english["recall_at_1"] >= 0.55,
        "faq_retrieval_en R@5 >= 0.80": english["recall_at_5"] >= 0.80,
        "faq_zh R@1 20 points above its tf-idf floor": chinese["recall_at_1"] >= chinese["tfidf_recall_at_1"] + 0.2,
        "cross-language R@5 >= 0.85, zh -> en": cross["zh"]["recall_at_5"] >= 0.85,
        "cross-language R@5 >= 0.85, en -> zh": cross["en"]["recall_at_5"] >= 0.85,
    }
    figures = {"faq_retrieval_en": english, "faq_zh": chinese, "cross": cross, "passages": len(index.passages)}
    write("retrieval_tuned" if is_tuned else "retrieval", {**figures, "embedder": index.embedder}, targets=targets)
    return 0 if all(targets.values()) else 1


def faq_en(embedder: Embedder) -> dict[str, Any]:
    folder = Path(os.environ.get("KEFU_DATA", "../shared/data")) / "faq_retrieval_en"
    documents = [json.loads(line) for line in (folder / "docs.jsonl").read_text(encoding="utf-8").splitlines()]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [f"{document['question']} {document['answer']}" for document in documents]
    asked = [query["query"] for query in queries]
    of_entity: dict[str, list[int]] = defaultdict(list)
    for row, document in enumerate(documents):
        of_entity[document["id"].rpartition("/")[0]].append(row)
    gold = [{row for row in range(len(documents)) if documents[row]["id"] in query["gold"]} for query in queries]
    candidates = [of_entity[query["gold"][0].rpartition("/")[0]] for query in queries]
    ours = embedder.questions(asked) @ embedder.passages(texts).T
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    passages = vectorizer.fit_transform(texts)
    floor = (vectorizer.transform(asked) @ passages.T).toarray()
    return {**_recalls(ours, candidates, gold), **_prefixed("tfidf", _recalls(floor, candidates, gold))}


def faq_zh(finder: Finder) -> dict[str, Any]:
    asked, problems = read_asked(ANSWERS / "faq_zh.jsonl")
    assert not problems
    part = only(finder.index, "zh")
    found = measure(replace(finder, index=part), asked, DAY)
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    passages = vectorizer.fit_transform([passage.indexed for passage in part.passages])
    floor = (vectorizer.transform([each.question for each in asked]) @ passages.T).toarray()
    every = list(range(len(part.passages)))
    gold = [{row for row in every if is_from(part.passages[row], each.sources)} for each in asked]
    recalls = _recalls(floor, [every] * len(asked), gold)
    n = found.n
    return {
        "n": n,
        "recall_at_1": round(found.recall_at_1, 4),
        "recall_at_1_interval": wilson_interval(found.recall_at_1, n),
        "recall_at_5": round(found.recall_at_5, 4),
        "mrr": round(found.mrr, 4),
        **_prefixed("tfidf", recalls),
    }


def across(finder: Finder) -> dict[str, Any]:
    asked, problems = read_asked(ANSWERS / "cross.jsonl")
    assert not problems
    found = {}
    for language, other in (("zh", "en"), ("en", "zh")):
        part: Sequence[Asked] = [each for each in asked if each.language == language]
        scores = measure(replace(finder, index=only(finder.index, other)), part, DAY)
        found[language] = {
            "n": scores.n,
            "recall_at_1": round(scores.recall_at_1, 4),
            "recall_at_5": round(scores.recall_at_5, 4),
            "recall_at_5_interval": wilson_interval(scores.recall_at_5, scores.n),
        }
    return found


def only(index: KnowledgeIndex, language: str) -> KnowledgeIndex:
    """The passages in one language, whenever they are valid: the questions about seasons are to be found too."""
    rows = [row for row, passage in enumerate(index.passages) if passage.language == language]
    rows = [row for row in rows if index.passages[row].response is None]
    places = {row: place for place, row in enumerate(rows)}
    kept = [tuple(places[row] for row in found if row in places) for found in index.known.rows]
    asked = [place for place, (now, before) in enumerate(zip(kept, index.known.rows, strict=True)) if now or not before]
    known = Known(
        questions=tuple(index.known.questions[place] for place in asked),
        rows=tuple(kept[place] for place in asked),
        vectors=index.known.vectors[asked],
    )
    passages = [index.passages[row] for row in rows]
    return KnowledgeIndex(passages, index.vectors[rows], index.embedder, index.gates, known, index.judge)


def _recalls(scores: Any, candidates: Sequence[Sequence[int]], gold: Sequence[set[int]]) -> dict[str, Any]:
    first = five = 0
    for row, (among, right) in enumerate(zip(candidates, gold, strict=True)):
        order = [among[place] for place in np.argsort(-scores[row, among], kind="stable")[:5]]
        first += order[0] in right
        five += bool(right & set(order))
    n = len(gold)
    return {
        "n": n,
        "recall_at_1": round(first / n, 4),
        "recall_at_1_interval": wilson_interval(first / n, n),
        "recall_at_5": round(five / n, 4),
    }


def _prefixed(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}_{name}": value for name, value in values.items() if name in ("recall_at_1", "recall_at_5")}


if __name__ == "__main__":
    sys.exit(main())
