"""One assistant, ready to answer: how a message is read, and a turn driven to its end.

Which message, and what becomes of the outcome, is `worker.py`'s. Invariant: whatever the world does to an effect, the
turn gets a value and ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bot.answers.exchange import Exchange
from bot.answers.parts import Begun, Rest
from bot.assistant.config import AnswersConfig
from bot.assistant.loader import Assistant
from bot.dialogue.effects import (
    AskNlg,
    Effect,
    EffectResult,
    NlgFailed,
    NotRephrased,
    Rephrase,
    Rephrased,
    RunAction,
    Steps,
)
from bot.dialogue.manager import Decision, DialogueModel, Turn, UserMessage, compile_assistant
from bot.dialogue.parsing import (
    FALLBACK_INTENT,
    KNOWLEDGE,
    SAFETY,
    answered_by_knowledge,
    parse_payload,
    screened,
    to_parse_data,
)
from bot.dialogue.policies import Policy
from bot.dialogue.tracker import Tracker
from bot.safety.screening import Finding, screen
from models.base import OUT_OF_SCOPE_INTENTS, Understander, Understanding
from models.languages import is_asking
from models.value_options import DUCKLINGS, EXTRACTOR

PASSAGE = "passage"
"""The entity with which a button asks for a passage of the documents."""


class ActionRunner(Protocol):
    """Runs custom actions: in this process, or an action server over HTTP. Never raises."""

    async def run(self, effect: RunAction, deadline_s: float) -> EffectResult: ...

    async def close(self) -> None: ...


class ValueServer(Protocol):
    """Finds dates, amounts and other values in a text, elsewhere. Never raises."""

    async def find(self, text: str) -> list[dict[str, Any]] | None:
        """Entities as parse data have them; None where it gave no answer."""
        ...

    async def close(self) -> None: ...


class ResponseServer(Protocol):
    """Words responses in the domain's place. Never raises."""

    async def ask(self, effect: AskNlg, deadline_s: float) -> EffectResult: ...

    async def close(self) -> None: ...


class ResponseRephraser(Protocol):
    """Says responses in other words. Never raises, and keeps a turn no longer than an answer may take."""

    async def rephrase(self, effect: Rephrase) -> Rephrased | NotRephrased: ...

    def usage(self) -> Mapping[str, float]:
        """What the generator was asked since the start, and what it cost; empty where none was."""
        ...

    async def close(self) -> None: ...


class KnowledgeSource(Protocol):
    """Answers from the company's documents."""

    async def look_up(
        self, text: str, intent: str | None, *, may_offer: bool, is_guarded: bool, earlier: Exchange | None = None
    ) -> Mapping[str, Any] | None:
        """What they say to this message, with a `text` and a `probability`; None where they do not answer it, or where
        the assistant's own response to `intent` does it better. `may_offer`: headings may be offered instead;
        `is_guarded`: nothing reads the message that could be talked into something; `earlier`: what was said before."""
        ...

    async def begin(
        self, text: str, intent: str | None, *, may_offer: bool, is_guarded: bool, earlier: Exchange | None = None
    ) -> Begun | None:
        """`look_up`, which returns as soon as the first sentence of a reply may be said."""
        ...

    async def quote(self, passage_id: str) -> Mapping[str, Any] | None:
        """A passage that the customer chose among those."""
        ...

    def usage(self) -> Mapping[str, float]:
        """What a generator was asked since the start, and what it cost; empty where none was."""
        ...

    async def close(self) -> None: ...


class Engine(Protocol):
    """Decides turns in Kefu's place (`dialogue: rasa`)."""

    async def turn(self, tracker: Tracker, message: UserMessage, now: float) -> Turn:
        """Answer one message; an error is retried with the same arguments, ModelUnavailable the longest."""
        ...

    async def check(self) -> None:
        """Raises ConfigurationError where what it talks to does not fit."""
        ...

    async def status(self) -> Mapping[str, str]:
        """For /readyz; a `problem` in it means that no turn can be decided now."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Bot:
    """One assistant, ready to answer: its files, what was compiled from them, its custom actions, its value server,
    who words its responses where the domain does not, who says the domain's in other words, and who decides where Kefu
    does not."""

    assistant: Assistant
    dialogue: DialogueModel
    actions: ActionRunner
    values: ValueServer | None = None
    nlg: ResponseServer | None = None
    engine: Engine | None = None
    knowledge: KnowledgeSource | None = None
    rephraser: ResponseRephraser | None = None

    async def close(self) -> None:
        """Let go of whatever its actions, its servers and its engine hold."""
        await self.actions.close()
        for part in (self.values, self.nlg, self.engine, self.knowledge, self.rephraser):
            if part is not None:
                await part.close()

    def worded_by(self, nlg: ResponseServer | None) -> Bot:
        """The same bot, its responses worded by this server; None: by the domain."""
        return replace(self, nlg=nlg, dialogue=replace(self.dialogue, asks_nlg=nlg is not None))

    def rephrased_by(self, rephraser: ResponseRephraser | None) -> Bot:
        """The same bot, responses that ask for it said in this one's words; None: as they are written."""
        return replace(self, rephraser=rephraser, dialogue=replace(self.dialogue, rephrases=rephraser is not None))

    def usage(self) -> Mapping[str, float]:
        """What was asked of the generator that words answers and responses; empty where there is none."""
        source = self.rephraser or self.knowledge
        return source.usage() if source else {}

    @classmethod
    def of(cls, assistant: Assistant, actions: ActionRunner, learned: Sequence[Policy] = ()) -> Bot:
        """`learned`: what learned from the stories and decides beside rules and memories."""
        return cls(assistant=assistant, dialogue=compile_assistant(assistant, learned), actions=actions)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one message was read: Rasa's parse data, and the model's own words unless it was a button's payload.

    `rest`: parse data have the beginning of a reply that is still being written; whoever gets it closes it.
    """

    parse_data: dict[str, Any]
    understanding: Understanding | None
    rest: Rest | None = None


@dataclass(frozen=True, kw_only=True)
class TurnTrace:
    """What `kefu chat --debug` and `/demo/?debug` show of one turn."""

    sender_id: str
    text: str
    reading: Reading
    decisions: tuple[Decision, ...]
    slots: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        parse, seen = self.reading.parse_data, self.reading.understanding
        intent = parse.get("intent") or {}
        return {
            "text": self.text,
            "intent": intent.get("name"),
            "confidence": intent.get("confidence"),
            "ranking": (parse.get("intent_ranking") or [])[:5],
            "entities": parse.get("entities", []),
            "sentiment": seen.sentiment if seen else None,
            "language": seen.language if seen else None,
            "out_of_scope_score": seen.out_of_scope_score if seen else None,
            "model_version": seen.model_version if seen else None,
            "latency_ms": seen.latency_ms if seen else None,
            "slots": {name: value for name, value in self.slots.items() if value is not None},
            "decisions": decisions_json(self.decisions),
        }


def decisions_json(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    return [{"action": d.action, "policy": d.policy, "confidence": d.confidence, "why": d.why} for d in decisions]


async def drive(
    steps: Steps[Turn],
    actions: ActionRunner,
    deadline_s: float,
    nlg: ResponseServer | None = None,
    before_going_on: Callable[[], Awaitable[None]] | None = None,
    rephraser: ResponseRephraser | None = None,
) -> Turn:
    """Run a turn to its end: every effect it yields is carried out and its result sent back.

    Args:
        nlg: None where nobody shall be asked; then the domain words the responses of every bot.
        before_going_on: awaited between an effect's result and the steps that follow it.
        rephraser: None: responses are said as they are written.
    """
    try:
        effect = next(steps)
        while True:
            result = await _carried_out(effect, actions, nlg, rephraser, deadline_s)
            if before_going_on is not None:
                await before_going_on()
            effect = steps.send(result)
    except StopIteration as end:
        done: Turn = end.value
        return done


async def _carried_out(
    effect: Effect,
    actions: ActionRunner,
    nlg: ResponseServer | None,
    rephraser: ResponseRephraser | None,
    deadline_s: float,
) -> EffectResult:
    if isinstance(effect, RunAction):
        return await actions.run(effect, deadline_s)
    if isinstance(effect, Rephrase):
        return await rephraser.rephrase(effect) if rephraser else NotRephrased(why="there is no generator")
    return await nlg.ask(effect, deadline_s) if nlg else NlgFailed(why="there is none")


async def read_message(
    text: str, bot: Bot, understander: Understander, earlier: Exchange | None = None, *, streams: bool = False
) -> Reading:
    """`/intent{json}` is taken at its word; anything else goes through the model. Raises ModelUnavailable.

    Args:
        earlier: what was said just before; only who words answers may read it.
        streams: a reply may be said while it is written.
    """
    payload = parse_payload(text, bot.assistant.domain)
    if payload is not None:
        return Reading(parse_data=await _chosen(payload, bot) or payload, understanding=None)
    served, [understanding], finding = await asyncio.gather(
        _served_values(text, bot), understander.understand([text]), asyncio.to_thread(screen, text)
    )
    assistant = bot.assistant
    parse_data = to_parse_data(
        understanding, assistant.fallback, assistant.domain, selects_across=assistant.selects_across
    )
    if served is not None:
        parse_data["entities"] = [*(one for one in parse_data["entities"] if not _is_value(one)), *served]
    intent = _intent_of(finding, bot) if finding else None
    if finding is not None:
        parse_data = screened(parse_data, finding.to_json(), intent)
    found = await _looked_up(text, parse_data, bot, earlier, streams=streams) if intent is None else None
    if found is None or assistant.config.answers is None:
        return Reading(parse_data=parse_data, understanding=understanding)
    parse_data = answered_by_knowledge(parse_data, assistant.config.answers.intent, found.known)
    return Reading(parse_data=parse_data, understanding=understanding, rest=found.rest)


def _intent_of(finding: Finding, bot: Bot) -> str | None:
    """What a message gets that needs care; None where it is answered as any other: the assistant has no such intent, or
    beside the abuse there is something to answer."""
    intent = bot.assistant.config.safety.intents.get(finding.kind)
    return intent if intent in bot.assistant.domain.intents and not finding.has_a_wish else None


async def _chosen(payload: dict[str, Any], bot: Bot) -> dict[str, Any] | None:
    """The parse data of a button that asks for a passage."""
    config = bot.assistant.config.answers
    if bot.knowledge is None or config is None or payload["intent"]["name"] != config.intent:
        return None
    names = [str(entity["value"]) for entity in payload["entities"] if entity["entity"] == PASSAGE]
    found = await bot.knowledge.quote(names[0]) if names else None
    return None if found is None else {**payload, KNOWLEDGE: dict(found)}


def is_looked_up(text: str, intent: str | None, config: AnswersConfig) -> bool:
    """Whether the documents are asked what answers a message that was read so."""
    may_give_way = intent in config.instead_of or (intent in config.before and is_asking(text))
    return may_give_way or _is_lost(intent, config)


def _is_lost(intent: str | None, config: AnswersConfig) -> bool:
    return intent in {config.intent, FALLBACK_INTENT, *OUT_OF_SCOPE_INTENTS}


async def _looked_up(
    text: str, parse_data: Mapping[str, Any], bot: Bot, earlier: Exchange | None, *, streams: bool
) -> Begun | None:
    """What the documents say to a message that they answer and nothing else does."""
    config, intent = bot.assistant.config.answers, parse_data["intent"]["name"]
    if bot.knowledge is None or config is None:
        return None
    if not is_looked_up(text, intent, config):
        return None
    is_lost = _is_lost(intent, config)
    is_guarded = SAFETY in parse_data
    if streams:
        return await bot.knowledge.begin(text, intent, may_offer=is_lost, is_guarded=is_guarded, earlier=earlier)
    known = await bot.knowledge.look_up(text, intent, may_offer=is_lost, is_guarded=is_guarded, earlier=earlier)
    return None if known is None else Begun(known=known)


async def _served_values(text: str, bot: Bot) -> list[dict[str, Any]] | None:
    return None if bot.values is None else await bot.values.find(text)


def _is_value(entity: Mapping[str, Any]) -> bool:
    """Whether a value server's answer takes its place; kefu.yml's own names stay."""
    return entity["extractor"] == EXTRACTOR and entity["entity"] in DUCKLINGS


def user_message(
    text: str,
    reading: Reading,
    *,
    input_channel: str,
    message_id: str,
    metadata: Mapping[str, Any],
    language_hint: str | None = None,
) -> UserMessage:
    """What the dialogue core is given. `language_hint` counts where the text itself does not tell (a button, "OK")."""
    seen = reading.understanding
    language = seen.language if seen and seen.language != "und" else language_hint
    return UserMessage(
        text=text,
        parse_data=reading.parse_data,
        input_channel=input_channel,
        message_id=message_id,
        metadata=dict(metadata),
        language=language,
        sentiment=seen.sentiment if seen else None,
    )
