"""What the starter says to questions that it was not made with: whole replies of a real `kefu serve`, read by strings.

python -m tests.bench.bench_answers              →  results/answers.json, results/answers_replies.jsonl
python -m tests.bench.bench_answers --tuned      →  results/answers_tuned.json, …_replies.jsonl: in a trained home after
    `kefu knowledge tune --only finder`
python -m tests.bench.bench_answers --generated  →  results/answers_generated.json, …_replies.jsonl: the starter with
    `generation: on`, in the trained home after `kefu knowledge tune --only judge --only writer`
python -m tests.bench.bench_answers --chinese BASE →  results/answers_generated_zh_BASE.json, …_replies.jsonl: what it
    learns of the Chinese replies, in a home of its own, and what it makes of the Chinese questions; in the trained
    home after `kefu knowledge tune --only judge`
python -m tests.bench.bench_answers --follow-ups →  results/follow_ups.json, …_replies.jsonl: second questions, which
    mean something only after the first (tests/answers/followups.jsonl, by an author who saw none of the learned ones);
    the starter as it is, and with an index that knows no follow-ups

The questions of tests/answers/questions_{en,zh}.jsonl were written from the shop's facts, by an author who saw neither
the articles nor the training questions. Each says which facts a right answer holds (alternatives of each) and which
strings only a wrong one does. A reply is what a customer would read: of a document, of a response, of an action.
Nothing here is shared with what decides about answers: this file compares strings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bot.assistant.loader import load_assistant
from bot.settings import load_settings
from bot.tuning import tune_writer
from tests.bench.report import REPOSITORY, RESULTS, latency, write
from tests.bench.serving import fresh_home, serving, starter
from tests.server import STARTER, kefu
from training.finetune_generation import GenerationRecipe
from training.scores import wilson_interval

ANSWERS = REPOSITORY / "tests" / "answers"
AT_ONCE = 8
WANTED, ANYWAY, GENERATED = 0.9, 0.03, 0.6
SEED = 0
PATIENCE_S = 30.0
"""How long a Chinese reply may take: what it is like is measured, not whether a customer would have waited."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = options.add_mutually_exclusive_group()
    kinds.add_argument("--tuned", action="store_true")
    kinds.add_argument("--generated", action="store_true")
    kinds.add_argument("--chinese", metavar="BASE")
    kinds.add_argument("--follow-ups", action="store_true")
    options.add_argument("--epochs", type=float, default=1.0, help="how often --chinese reads the replies")
    options.add_argument("--n", type=int, default=1_000, help="questions of --chinese, drawn at random where fewer")
    given = options.parse_args()
    if given.follow_ups:
        return _follow_ups()
    if given.chinese:
        return _chinese(given.chinese, GenerationRecipe(epochs=given.epochs), given.n)
    name = "answers_generated" if given.generated else "answers_tuned" if given.tuned else "answers"
    languages = ("en",) if given.generated else ("en", "zh")
    with fresh_home() as home:
        replies = _replies(home, languages, "on" if given.generated else None)
    return _write(name, replies, is_generated=given.generated, more={})


def _chinese(base: str, recipe: GenerationRecipe, n: int) -> int:
    generation = f"{{base: {base}, languages: [zh], deadline_s: {PATIENCE_S}}}"
    with fresh_home() as home:
        with starter(generation) as shop:
            began = time.perf_counter()
            settings, assistant = load_settings(home=home), load_assistant(shop, {})
            learned = tune_writer(settings, assistant, lambda *_: None, print, recipe)
            took_s = time.perf_counter() - began
        replies = _replies(home, ("zh",), generation, n)
    more = {
        "writer": {"base": base, "recipe": asdict(recipe), **asdict(learned)},
        "tuning_min": round(took_s / 60, 1),
        "deadline_s": PATIENCE_S,
    }
    return _write(f"answers_generated_zh_{base}", replies, is_generated=True, more=more)


def _replies(
    home: Path, languages: Sequence[str], generation: str | None, n: int | None = None
) -> dict[str, list[dict[str, Any]]]:
    questions = {language: _questions(language) for language in languages}
    if n is not None:
        questions = {name: random.Random(SEED).sample(each, min(n, len(each))) for name, each in questions.items()}
    with starter(generation) as shop, serving(home, assistant=shop) as server:
        return asyncio.run(_asked(server.url, questions, 1 if generation else AT_ONCE))


def _write(
    name: str, replies: Mapping[str, Sequence[Mapping[str, Any]]], *, is_generated: bool, more: Mapping[str, Any]
) -> int:
    lines = [json.dumps(reply, ensure_ascii=False) for found in replies.values() for reply in found]
    (RESULTS / f"{name}_replies.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = {language: _figures(found) for language, found in replies.items()}
    targets = {}
    for language, found in figures.items():
        targets[f"{language}: all required and no forbidden fact in >= 90 %"] = found["right"] >= WANTED
        targets[f"{language}: unanswerable answered in <= 3 %"] = found["answered_anyway"] <= ANYWAY
        if is_generated:
            found["generation"] = _of_generation(replies[language])
            targets[f"{language}: >= 60 % of answers are generated"] = found["generation"]["share"] >= GENERATED
            targets[f"{language}: 0 unsupported numbers"] = found["generation"]["unsupported_numbers"] == 0
    write(name, {**figures, **more}, targets=targets)
    return 0 if all(targets.values()) else 1


def _follow_ups() -> int:
    lines = (ANSWERS / "followups.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    questions = {name: [each for each in asked if each["id"].startswith(f"fu-{name}")] for name in ("en", "zh")}
    replies: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with fresh_home() as home, tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "starter"
        shutil.copytree(STARTER, plain)
        shutil.rmtree(plain / "answers" / "followups")
        for name, assistant in (("with", STARTER), ("without", plain)):
            kefu("knowledge", "sync", "--assistant", str(assistant), home=home, timeout=1_800)
            with serving(home, assistant=assistant) as server:
                replies[name] = asyncio.run(_asked(server.url, questions, AT_ONCE))
    said = [json.dumps({**each, "index": name}, ensure_ascii=False) for name, of in replies.items()
            for found in of.values() for each in found]  # fmt: skip
    (RESULTS / "follow_ups_replies.jsonl").write_text("\n".join(said) + "\n", encoding="utf-8")
    figures = {name: {language: _figures(found) for language, found in of.items()} for name, of in replies.items()}
    write("follow_ups", figures, targets={})
    return 0


def _of_generation(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the generator did with the questions that a document answered."""
    tried = [reply for reply in replies if reply["generation"]]
    written = [reply for reply in tried if reply["kind"] == "generated"]
    answerable = [reply for reply in written if reply["answerable"]]
    problems = Counter(str(reply["generation"].get("problem", "")).partition(":")[0] for reply in tried)
    quoted = [reply for reply in tried if reply["kind"] == "extracted" and reply["answerable"]]
    return {
        "n": len(tried),
        "share": round(len(written) / max(1, len(tried)), 4),
        "share_interval": wilson_interval(len(written) / max(1, len(tried)), len(tried)),
        "right_of_generated": round(sum(verdict(r) == "right" for r in answerable) / max(1, len(answerable)), 4),
        "n_generated": len(answerable),
        "right_of_quoted": round(sum(verdict(r) == "right" for r in quoted) / max(1, len(quoted)), 4),
        "n_quoted": len(quoted),
        "problems": dict(problems),
        "unsupported_numbers": sum(_has_a_number_from_nowhere(reply) for reply in written),
        "first_sentence": latency([r["generation"]["first_sentence_s"] for r in written]),
        "whole_reply": latency([r["generation"]["took_s"] for r in tried]),
    }


def _has_a_number_from_nowhere(reply: Mapping[str, Any]) -> bool:
    """Digits of the reply that stand neither in the question nor in the document it names; read as strings."""
    known = reply["question"] + "".join(
        (STARTER / "knowledge" / source.partition("#")[0]).read_text(encoding="utf-8") for source in reply["sources"]
    )
    return not set(re.findall(r"\d+", reply["reply"])) <= set(re.findall(r"\d+", known))


def _questions(language: str) -> list[dict[str, Any]]:
    lines = (ANSWERS / f"questions_{language}.jsonl").read_text(encoding="utf-8").splitlines()
    # Those that name a day are true on that day alone; the server runs today.
    return [found for line in lines if "as_of" not in (found := json.loads(line))]


async def _asked(
    url: str, questions: Mapping[str, Sequence[dict[str, Any]]], at_once: int
) -> dict[str, list[dict[str, Any]]]:
    places = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:

        async def ask(question: dict[str, Any]) -> dict[str, Any]:
            async with places:
                began = time.perf_counter()
                for text in (question.get("earlier", {}).get("customer"), question["question"]):
                    if text is not None:
                        body = {"sender": question["id"], "message": text}
                        messages = (await http.post("/webhooks/rest/webhook", json=body)).raise_for_status().json()
                took = time.perf_counter() - began
                tracker = (await http.get(f"/conversations/{question['id']}/tracker")).raise_for_status().json()
            # The first message of a conversation says that a machine speaks; that is no answer.
            answer = messages if "earlier" in question else messages[1:]
            text = "\n".join(message.get("text", "") for message in answer)
            parsed = [event for event in tracker["events"] if event["event"] == "user"][-1]["parse_data"]
            found = parsed.get("knowledge", {})
            about = {
                "intent": parsed["intent"]["name"],
                "sources": [each["source"] for each in found.get("sources", ())],
                "offered": [button["title"] for button in found.get("buttons", ())],
                "kind": found.get("kind"),
                "generation": found.get("generation"),
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
        "wrong_by_topic": dict(
            Counter(reply["topic"] for reply in answerable if "topic" in reply and verdict(reply) != "right")
        ),
    }


def verdict(reply: Mapping[str, Any]) -> str:
    """ "right", "wrong" (a forbidden string, and something was answered), or "incomplete"."""
    blank = "" if "zh" in reply["id"] else " "

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
