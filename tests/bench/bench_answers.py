"""What the starter says to questions that it was not made with: whole replies of a real `kefu serve`, read by strings.

python -m tests.bench.bench_answers  →  results/answers.json, results/answers_replies.jsonl

The questions of tests/answers/questions_{en,zh}.jsonl were written from the shop's facts, by an author who saw neither
the articles nor the training questions. Each says which facts a right answer holds (alternatives of each) and which
strings only a wrong one does. A reply is what a customer would read: of a document, of a response, of an action.
Nothing here is shared with what decides about answers: this file compares strings.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.bench.report import REPOSITORY, RESULTS, latency, write
from tests.bench.serving import fresh_home, serving
from training.scores import wilson_interval

ANSWERS = REPOSITORY / "tests" / "answers"
AT_ONCE = 8
WANTED, ANYWAY = 0.9, 0.03


def main() -> int:
    questions = {language: _questions(language) for language in ("en", "zh")}
    with fresh_home() as home, serving(home) as server:
        replies = asyncio.run(_asked(server.url, questions))
    lines = [json.dumps(reply, ensure_ascii=False) for found in replies.values() for reply in found]
    (RESULTS / "answers_replies.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = {language: _figures(found) for language, found in replies.items()}
    targets = {}
    for language, found in figures.items():
        targets[f"{language}: all required and no forbidden fact in >= 90 %"] = found["right"] >= WANTED
        targets[f"{language}: unanswerable answered in <= 3 %"] = found["answered_anyway"] <= ANYWAY
    write("answers", figures, targets=targets)
    return 0 if all(targets.values()) else 1


def _questions(language: str) -> list[dict[str, Any]]:
    lines = (ANSWERS / f"questions_{language}.jsonl").read_text(encoding="utf-8").splitlines()
    # Those that name a day are true on that day alone; the server runs today.
    return [found for line in lines if "as_of" not in (found := json.loads(line))]


async def _asked(url: str, questions: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    places = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:

        async def ask(question: dict[str, Any]) -> dict[str, Any]:
            async with places:
                began = time.perf_counter()
                body = {"sender": question["id"], "message": question["question"]}
                messages = (await http.post("/webhooks/rest/webhook", json=body)).raise_for_status().json()
                took = time.perf_counter() - began
                tracker = (await http.get(f"/conversations/{question['id']}/tracker")).raise_for_status().json()
            # The first message of a conversation says that a machine speaks; that is no answer.
            text = "\n".join(message.get("text", "") for message in messages[1:])
            parsed = [event for event in tracker["events"] if event["event"] == "user"][-1]["parse_data"]
            found = parsed.get("knowledge", {})
            about = {
                "intent": parsed["intent"]["name"],
                "sources": [each["source"] for each in found.get("sources", ())],
                "offered": [button["title"] for button in found.get("buttons", ())],
            }
            return {**question, "reply": text, **about, "took_s": took}

        return {
            language: list(await asyncio.gather(*(ask(question) for question in found)))
            for language, found in questions.items()
        }


def _figures(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answerable = [reply for reply in replies if reply["answerable"]]
    others = [reply for reply in replies if not reply["answerable"]]
    verdicts = Counter(verdict(reply) for reply in answerable)
    right, n = verdicts["right"] / len(answerable), len(answerable)
    from_documents = [reply for reply in answerable if reply["sources"]]
    offered = [reply for reply in replies if reply["offered"]]
    anyway = sum(bool(reply["sources"]) for reply in others) / len(others)
    return {
        "n": n,
        "right": round(right, 4),
        "right_interval": wilson_interval(right, n),
        "verdicts": dict(verdicts),
        "answered_from_documents": len(from_documents),
        "right_of_those": round(
            sum(verdict(reply) == "right" for reply in from_documents) / max(1, len(from_documents)), 4
        ),
        "offered_a_choice": sum(reply["answerable"] for reply in offered),
        "offered_a_choice_unanswerable": sum(not reply["answerable"] for reply in offered),
        "n_unanswerable": len(others),
        "answered_anyway": round(anyway, 4),
        "answered_anyway_interval": wilson_interval(anyway, len(others)),
        "turn": latency([reply["took_s"] for reply in replies]),
        "wrong_by_topic": dict(Counter(reply["topic"] for reply in answerable if verdict(reply) != "right")),
    }


def verdict(reply: Mapping[str, Any]) -> str:
    """ "right", "wrong" (a forbidden string, and something was answered), or "incomplete"."""
    blank = "" if reply["id"].startswith("zh") else " "

    def holds(part: str) -> bool:
        return _plain(part, blank) in text

    text = _plain(reply["reply"], blank)
    if any(map(holds, reply["forbidden"])):
        return "wrong"
    return "right" if all(any(map(holds, fact)) for fact in reply["required"]) else "incomplete"


def _plain(text: str, blank: str) -> str:
    """Lower case, compatible forms, each run of blanks as `blank`."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.sub(r"\s+", blank, folded).strip()


if __name__ == "__main__":
    sys.exit(main())
