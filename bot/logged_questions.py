"""What the log teaches the search and the writer: questions with the passages that answer them, as people have shown.

In this order of trust: a reviewer names the passage; a customer, offered some headings, chooses one; an operator's
reply says what a passage says. Nothing of it is learned from before it stands in `answers/from_logs.jsonl`, where a
person can read it.

Invariants: no personal data, and no text that needs care, leaves the log; what one customer did counts once, and never
puts a passage before another that the search found nearer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bot.answers.documents import Passage, sentences
from bot.answers.finder import JUDGED, Finder
from bot.answers.from_logs import FROM_LOGS, LoggedQuestion, Origin, counted
from bot.answers.guard import invented
from bot.answers.knowledge import KnowledgeIndex, is_from
from bot.answers.service import UNDECIDED
from bot.assistant.config import AnswersConfig
from bot.assistant.loader import Assistant
from bot.dialogue.parsing import KNOWLEDGE, SAFETY
from bot.knowing import bare, training_questions
from bot.lessons import text_of
from bot.redaction import redact
from bot.safety.screening import screen
from bot.storage import asked
from bot.storage.asked import OPERATORS, Log, ReviewedQuestion
from bot.storage.database import Database
from bot.turns import is_looked_up
from models.languages import identify_language

MOST_OF_ONE = 5
"""Questions of one customer that are learned from, whatever they pressed: whoever wants to teach the bot something
false needs many names."""
AGREE = 2
"""Customers who chose the same heading for the same question: so many are believed against the search's order."""
COVERED = 0.4
"""Of an operator's reply, this share of its words (by how much they tell) is in the passage. Of the starter's written
replies 95% in English (n = 1145) and 85% in Chinese (n = 1194) have as much in theirs; "one moment, please" has .3."""
TRUST: Mapping[Origin, int] = {"reviewed": 0, "pressed": 1, "operator": 2}

NEEDS_CARE = "need care (docs/safety.md)"
SEVERAL = "several headings were chosen"
GONE = "the passage is not there any more"
FAR = "the passage is far from the question"
NO_REPLY = "no passage says what the operator replied"
KNOWN = "known already"
DISAGREE = "customers disagree"
TOO_MANY = f"more than {MOST_OF_ONE} of one customer"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One person's word about one question, before it is weighed; `question` and `reply` not yet redacted."""

    question: str
    passages: tuple[str, ...]
    origin: Origin
    customer: str
    reply: str | None = None


@dataclass(frozen=True, kw_only=True)
class Learnable:
    """What may be written down, and how many pieces of evidence were left out, by why."""

    questions: Sequence[LoggedQuestion]
    left_out: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search as customers have it, and what was left out so far."""

    finder: Finder[KnowledgeIndex]
    day: date
    left_out: Counter[str] = field(default_factory=Counter)

    def nearest(self, question: str) -> list[Passage]:
        """What is found first, without help from the same question in `answers/`."""
        language = _language(question)
        found = self.finder.find(question, day=self.day, language=language, limit=JUDGED, but_itself=True)
        return [hit.passage for hit in found.hits]

    def said_by(self, reply: str) -> Passage | None:
        """The passage that is nearest to a reply, if it has most of its words."""
        vector = self.finder.embedder.questions([reply])[0]
        found = bare(self.finder.index).search(reply, vector, limit=1, day=self.day, language=_language(reply))
        hits = found.hits
        return hits[0].passage if hits and hits[0].coverage >= COVERED else None

    def has(self, name: str) -> bool:
        return any(is_from(passage, [name]) for passage in self.finder.index.passages)


def _language(text: str) -> str | None:
    language = identify_language(text)
    return None if language == UNDECIDED else language


async def learnable(
    db: Database, assistant: Assistant, finder: Finder[KnowledgeIndex], since: datetime, day: date
) -> Learnable:
    """What the log tells that the assistant's `answers/` do not say yet.

    Args:
        finder: what searches for customers now.
        since: only conversations in which something was chosen or replied from then on.
    """
    name, config = assistant.assistant_id, assistant.config.answers or AnswersConfig()
    logs = await db.read(lambda c: asked.logs(c, name, since))
    reviewed = await db.read(lambda c: asked.reviewed(c, name, since))
    known = {text_of(each.question) for each in training_questions(assistant, unused=True)[0]}
    search = Search(finder=finder, day=day)
    evidence = [*_reviewed(reviewed), *_chosen(logs, search), *_replied(logs, config, search)]
    questions = weigh(evidence, known, counted(assistant.root / FROM_LOGS), search)
    return Learnable(questions=questions, left_out=dict(search.left_out))


# ---- evidence ----


def _reviewed(questions: Iterable[ReviewedQuestion]) -> Iterator[Evidence]:
    """What people said in review; of one question their last word."""
    latest = {text_of(each.text): each for each in questions}
    for each in latest.values():
        yield Evidence(question=each.text, passages=each.passages, origin="reviewed", customer=each.customer)


def _chosen(logs: Iterable[Log], search: Search) -> Iterator[Evidence]:
    for log in logs:
        for offer in offers(log.events):
            sources = {*offer.sources}
            if len(sources) > 1:
                search.left_out[SEVERAL] += 1
            elif sources:
                yield Evidence(question=offer.question, passages=(*sources,), origin="pressed", customer=log.customer)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Headings that were shown for a question, and the passages whose headings were pressed before anything else was
    said. A question that needs care has none."""

    question: str
    sources: Sequence[str]


def offers(events: Sequence[Mapping[str, Any]]) -> Iterator[Offer]:
    """The offers of a conversation. Only a button that was shown can be pressed: whoever types its payload chose
    nothing."""
    for number, event in enumerate(events):
        if not _is_offer(event):
            continue
        before = [each for each in events[:number] if each["event"] == "user"][-1:]
        if before and before[0].get("text") and SAFETY not in before[0]["parse_data"]:
            shown = {button.get("payload") for button in event["data"]["buttons"]}
            yield Offer(question=before[0]["text"], sources=[*_pressed(events[number + 1 :], shown)])


def _is_offer(event: Mapping[str, Any]) -> bool:
    about = (event.get("metadata") or {}).get(KNOWLEDGE) or {}
    return event["event"] == "bot" and about.get("kind") == "offered" and bool((event.get("data") or {}).get("buttons"))


def _pressed(events: Sequence[Mapping[str, Any]], shown: set[Any]) -> Iterator[str]:
    for event in events:
        if event["event"] != "user":
            continue
        quoted = event["parse_data"].get(KNOWLEDGE) or {}
        if event.get("text") not in shown:
            return
        yield from (str(source["source"]) for source in quoted.get("sources", ())[:1])


def _replied(logs: Iterable[Log], config: AnswersConfig, search: Search) -> Iterator[Evidence]:
    """Operators' replies that a passage says too, which is also one of those found for the question."""
    for log in logs:
        for question, replies in exchanges(log.events, config):
            near = {passage.id for passage in search.nearest(redact(question))}
            said = [(reply, search.said_by(redact(reply))) for reply in replies]
            found = [(reply, passage) for reply, passage in said if passage and passage.id in near]
            if not found:
                search.left_out[NO_REPLY] += 1
                continue
            reply, passage = found[0]
            yield Evidence(
                question=question,
                passages=(f"{passage.source}#{passage.anchor}",),
                origin="operator",
                customer=log.customer,
                reply=reply if _is_of(reply, passage, question) else None,
            )


def exchanges(events: Sequence[Mapping[str, Any]], config: AnswersConfig) -> Iterator[tuple[str, list[str]]]:
    """Questions that were looked up, each with what operators said after it until the customer spoke again."""
    question: str | None = None
    replies: list[str] = []
    for event in events:
        if event["event"] in OPERATORS:
            replies += [event["text"]] if question and event.get("text") else []
        elif event["event"] == "user":
            if question and replies:
                yield question, replies
                question, replies = None, []
            if _is_question(event, config):
                question = event["text"]
    if question and replies:
        yield question, replies


def _is_question(event: Mapping[str, Any], config: AnswersConfig) -> bool:
    """Whether a message was looked up; what stands for a button was not, nor what needs care."""
    text, read = event.get("text") or "", event["parse_data"]
    intent = (read.get("intent") or {}).get("name")
    return not text.lstrip().startswith("/") and SAFETY not in read and is_looked_up(text, intent, config)


def _is_of(reply: str, passage: Passage, question: str) -> bool:
    """Whether a reply may be an example to the writer: about nobody, in the passage's language, and with no number,
    link or name that the passage lacks."""
    is_alike = redact(reply) == reply and identify_language(reply) in (passage.language, UNDECIDED)
    sources = [passage.indexed, question]
    return is_alike and not any(invented(sentence, sources) for sentence in sentences(reply))


# ---- what it is worth ----


def weigh(
    evidence: Iterable[Evidence], known: set[str], counts: Mapping[str, int], search: Search
) -> list[LoggedQuestion]:
    """One line a question: what most customers chose, a reviewer's word before theirs, and theirs before an operator's.

    Args:
        known: what `text_of` makes of questions that are written down already.
        counts: how many of them are from each customer.
    """
    groups: dict[str, list[Evidence]] = {}
    for each in sorted(evidence, key=lambda one: TRUST[one.origin]):
        if screen(each.question) or not (key := text_of(each.question)):
            search.left_out[NEEDS_CARE] += 1
        elif key in known:
            search.left_out[KNOWN] += 1
        elif not all(map(search.has, each.passages)):
            search.left_out[GONE] += 1
        else:
            groups.setdefault(key, []).append(each)
    given = Counter(counts)
    found = (_one(group, given, search) for group in groups.values())
    return [each for each in found if each is not None]


def _one(group: Sequence[Evidence], given: Counter[str], search: Search) -> LoggedQuestion | None:
    """What a group of evidence about one question comes to; `given` grows by it."""
    most = [each for each in group if each.origin == group[0].origin]
    customers = {each.passages: {one.customer for one in most if one.passages == each.passages} for each in most}
    first, *others = sorted(customers.items(), key=lambda item: -len(item[1]))
    if others and len(others[0][1]) == len(first[1]):
        search.left_out[DISAGREE] += 1
        return None
    passages, named = first
    best = next(each for each in most if each.passages == passages)
    doubt = None
    if best.origin != "reviewed":
        named = {key for key in named if given[key] < MOST_OF_ONE}
        why_not, doubt = _doubts(best, len(named), search)
        if why_not is not None:
            search.left_out[why_not] += 1
            return None
        given.update(named)
    return LoggedQuestion(
        question=redact(best.question),
        passages=passages,
        origin=best.origin,
        customers=tuple(sorted(named)),
        reply=best.reply,
        doubt=doubt,
    )


def _doubts(each: Evidence, customers: int, search: Search) -> tuple[str | None, str | None]:
    """Why it is left out, and else why a person has to decide."""
    if not customers:
        return TOO_MANY, None
    if each.origin != "pressed":
        return None, None
    place = _place(each, search)
    if place is None:
        return FAR, None
    is_alone = place > 0 and customers < AGREE
    return None, f"one customer chose it, and the search finds {place} others nearer" if is_alone else None


def _place(each: Evidence, search: Search) -> int | None:
    """Where the search finds the passage: 0 is first; None: not among those that are read again."""
    found = search.nearest(redact(each.question))
    return next((place for place, passage in enumerate(found) if is_from(passage, each.passages)), None)
