"""Claim → understand → drive the turn → commit; deliver. The only place where a turn meets the world.

Invariant: nothing a customer can see happens before `inbox.finish` committed; a turn that dies before its commit leaves
no trace and runs again, with the same random choices. One conversation at a time, many conversations at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from bot.assistant.brand import Brand
from bot.assistant.loader import Assistant
from bot.dialogue.effects import AskNlg, Effect, EffectResult, NlgFailed, RunAction, Steps
from bot.dialogue.events import ActionExecuted, HandoffRequested, UserUttered, from_json, to_json
from bot.dialogue.manager import (
    Decision,
    DialogueModel,
    Turn,
    UserMessage,
    append_events,
    compile_assistant,
    execute_action,
    external_message,
    log_message,
    turn,
)
from bot.dialogue.parsing import parse_payload, to_parse_data
from bot.dialogue.policies import Policy
from bot.dialogue.tracker import SnapshotOutdated, Tracker
from bot.errors import StaleConversation, StorageError
from bot.storage import conversations, inbox, outbox, reminders
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.outbox import OutboxClaim
from bot.storage.records import Claim, Delivery, PredictionRecord, TurnRecord
from bot.telemetry import Metrics, turn_id
from connectors.base import Connector, DeliveryUnknown, SendResult
from models.base import ModelUnavailable, Understander, Understanding
from models.value_options import DUCKLINGS, EXTRACTOR

log = logging.getLogger("kefu.worker")

# Events, some ten turns, after which a new snapshot is taken: one is as large as all the events it stands for.
SNAPSHOT_EVERY = 100

APOLOGY = {
    "en": "Sorry, something went wrong on our side. Please try again in a moment, or ask for a person.",
    "zh": "抱歉，我们这边出了点问题。请稍后再试，或者回复“转人工”。",
}


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
    who words its responses where the domain does not, and who decides where Kefu does not."""

    assistant: Assistant
    dialogue: DialogueModel
    actions: ActionRunner
    values: ValueServer | None = None
    nlg: ResponseServer | None = None
    engine: Engine | None = None

    async def close(self) -> None:
        """Let go of whatever its actions, its servers and its engine hold."""
        await self.actions.close()
        for part in (self.values, self.nlg, self.engine):
            if part is not None:
                await part.close()

    def worded_by(self, nlg: ResponseServer | None) -> Bot:
        """The same bot, its responses worded by this server; None: by the domain."""
        return replace(self, nlg=nlg, dialogue=replace(self.dialogue, asks_nlg=nlg is not None))

    @classmethod
    def of(cls, assistant: Assistant, actions: ActionRunner, learned: Sequence[Policy] = ()) -> Bot:
        """`learned`: what learned from the stories and decides beside rules and memories."""
        return cls(assistant=assistant, dialogue=compile_assistant(assistant, learned), actions=actions)


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """Bounds, with the reason of each default."""

    concurrency: int = 64  # turns in flight: enough to fill the model's batches on a small box
    lease_s: float = 30.0  # longer than the slowest turn (action deadline); a dead worker's messages wait at most this
    action_deadline_s: float = 10.0  # Rasa's action server default is 10 s; an nlg server gets as long
    poll_s: float = 1.0  # a missed wake-up costs at most this
    max_attempts: int = 4  # of a turn that fails; then the customer gets an apology instead of silence
    give_up_after: int = 20  # tries in all, outages of the model and deaths of the process included: some seven minutes
    backoff_s: float = 0.5  # doubled at each attempt


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one message was read: Rasa's parse data, and the model's own words unless it was a button's payload."""

    parse_data: dict[str, Any]
    understanding: Understanding | None


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
    steps: Steps[Turn], actions: ActionRunner, deadline_s: float, nlg: ResponseServer | None = None
) -> Turn:
    """Run a turn to its end: every effect it yields is carried out and its result sent back.

    Args:
        nlg: None where nobody shall be asked; then the domain words the responses of every bot.
    """
    try:
        effect = next(steps)
        while True:
            effect = steps.send(await _carried_out(effect, actions, nlg, deadline_s))
    except StopIteration as end:
        result: Turn = end.value
        return result


async def _carried_out(
    effect: Effect, actions: ActionRunner, nlg: ResponseServer | None, deadline_s: float
) -> EffectResult:
    if isinstance(effect, RunAction):
        return await actions.run(effect, deadline_s)
    return await nlg.ask(effect, deadline_s) if nlg else NlgFailed(why="there is none")


async def read_message(text: str, bot: Bot, understander: Understander) -> Reading:
    """`/intent{json}` is taken at its word; anything else goes through the model. Raises ModelUnavailable."""
    payload = parse_payload(text, bot.assistant.domain)
    if payload is not None:
        return Reading(parse_data=payload, understanding=None)
    served, [understanding] = await asyncio.gather(_served_values(text, bot), understander.understand([text]))
    assistant = bot.assistant
    parse_data = to_parse_data(
        understanding, assistant.fallback, assistant.domain, selects_across=assistant.selects_across
    )
    if served is not None:
        parse_data["entities"] = [*(one for one in parse_data["entities"] if not _is_value(one)), *served]
    return Reading(parse_data=parse_data, understanding=understanding)


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


class Worker:
    """Answers one assistant's inbox until stopped. `bot` may be replaced between turns (`kefu serve --reload`)."""

    def __init__(
        self,
        *,
        db: Database,
        hub: Hub,
        bot: Bot,
        understander: Understander,
        worker_id: str,
        connectors: Sequence[Connector] = (),
        metrics: Metrics | None = None,
        observer: Callable[[TurnTrace], None] | None = None,
        limits: WorkerLimits = WorkerLimits(),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.bot = bot
        self._db, self._hub, self._understander = db, hub, understander
        self._push = {connector.name: connector for connector in connectors if connector.delivery == "push"}
        self._id, self._limits, self._clock = worker_id, limits, clock
        self._metrics = metrics or Metrics()
        self._observer = observer
        self._stopping = asyncio.Event()
        self._turns: set[asyncio.Task[None]] = set()
        self._turn_over = asyncio.Event()
        self._to_send = asyncio.Event()

    @property
    def assistant_id(self) -> str:
        return self.bot.assistant.assistant_id

    async def run(self) -> None:
        """Work until `stop`, then let the turns in flight finish."""
        deliver = [self._deliver_forever()] if self._push else []
        try:
            await asyncio.gather(self._claim_forever(), self._close_idle_forever(), self._remind_forever(), *deliver)
        finally:
            if self._turns:
                await asyncio.gather(*self._turns, return_exceptions=True)

    def stop(self) -> None:
        self._stopping.set()
        self._turn_over.set()
        self._to_send.set()
        self._hub.inbound_arrived()

    # ---- inbox ----

    async def _claim_forever(self) -> None:
        while not self._stopping.is_set():
            ticket = self._hub.ticket()
            try:
                claimed = await self._claim()
            except Exception:  # the worker loop's one broad except: a database restart must not end the service
                log.exception("worker.claim_failed")
                await self._pause(self._limits.poll_s)
                continue
            if len(self._turns) >= self._limits.concurrency:
                self._turn_over.clear()
                await self._turn_over.wait()
            elif not claimed:
                await self._hub.wait_inbound(ticket, self._limits.poll_s)

    async def _claim(self) -> int:
        now, lease_s = self._clock(), self._limits.lease_s
        free = self._limits.concurrency - len(self._turns)
        claims = await self._db.write(lambda c: inbox.claim(c, self.assistant_id, self._id, now, lease_s, free))
        for claim in claims:
            task = asyncio.create_task(self._answer(claim))
            self._turns.add(task)
            task.add_done_callback(self._turn_ended)
        return len(claims)

    def _turn_ended(self, task: asyncio.Task[None]) -> None:
        self._turns.discard(task)
        self._turn_over.set()
        self._hub.inbound_arrived()  # the same conversation may have its next message waiting

    async def _answer(self, claim: Claim) -> None:
        turn_id.set(str(claim.inbound_id))
        started = time.perf_counter()
        if claim.attempts > self._limits.give_up_after:
            # Claimed again and again without an outcome: its turn ends the process. Let go of it before it does again.
            await self._failed(claim, RuntimeError("the process ended in the middle of each try"))
            return
        try:
            async with self._lease_kept(claim):
                record = await self._decide(claim)
            sent = await self._db.write(lambda c: inbox.finish(c, claim, record, self._clock()))
        except StaleConversation:
            self._metrics.turns.labels("stale").inc()
            return
        except Exception as error:  # noqa: BLE001  one bad turn is retried, then apologised for; the loop goes on
            await self._failed(claim, error)
            return
        self._hub.turn_finished(claim.inbound_id, claim.sender_id, sent)
        self._to_send.set()
        self._metrics.turns.labels("answered").inc()
        self._metrics.turn_seconds.observe(time.perf_counter() - started)

    @asynccontextmanager
    async def _lease_kept(self, claim: Claim) -> AsyncIterator[None]:
        """Renew the lease while a slow custom action runs, so that nobody else begins the same turn."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._limits.lease_s / 3)
                await self._db.write(lambda c: inbox.extend(c, claim, self._clock(), self._limits.lease_s))

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError, StorageError):  # `finish` finds out for itself what a renewal met
                await renewing

    async def _decide(self, claim: Claim) -> TurnRecord:
        bot = self.bot
        if claim.message.command is not None:
            return await self._carry_out(claim, claim.message.command)
        self._hub.typing(claim.sender_id)
        started = time.perf_counter()
        reading = await read_message(claim.message.text, bot, self._understander)
        self._metrics.understand_seconds.observe(time.perf_counter() - started)
        tracker, folded_to = await self._tracker(bot, claim)
        message = user_message(
            claim.message.text,
            reading,
            input_channel=claim.message.input_channel or claim.message.channel,
            message_id=str(claim.inbound_id),
            metadata=claim.message.metadata,
            # Only until the customer has written in a language: then that one sticks, whatever the page is in.
            language_hint=claim.message.language_hint if claim.language is None else None,
        )
        now = self._clock().timestamp()
        if claim.status == "with_operator":
            return silent_record(claim, reading, tracker, message, now)
        # The same message draws the same variations when its turn has to run again.
        rng = random.Random(f"{self.assistant_id}:{claim.inbound_id}")
        outcome = await self._play(tracker, message, now, rng)
        if self._observer:
            self._observer(
                TurnTrace(
                    sender_id=claim.sender_id,
                    text=claim.message.text,
                    reading=reading,
                    decisions=outcome.decisions,
                    slots=outcome.tracker.situation.slots,
                )
            )
        if has_handoff(outcome):
            self._metrics.handoffs.inc()
            log.warning("handoff.requested", extra={"sender_id": claim.sender_id})
        return turn_record(claim, reading, outcome, self._delivery(claim), folded_to)

    async def _carry_out(self, claim: Claim, command: Mapping[str, Any]) -> TurnRecord:
        """Do what the company's systems asked for: `trigger` an intent, `log` a message without answering, `execute` an
        action, `append` events, or `replace` the whole log by events.

        Raises ValueError where the command says none of these; the message becomes a dead letter.
        """
        bot, now = self.bot, self._clock().timestamp()
        rng = random.Random(f"{self.assistant_id}:{claim.inbound_id}")
        tracker, folded_to = await self._tracker(bot, claim)
        reading: Reading | None = None
        match command:
            case {"trigger": {"name": str(name), **more}}:
                message = external_message(tracker, name, more.get("entities"), str(claim.inbound_id))
                reading = Reading(parse_data=dict(message.parse_data), understanding=None)
                if claim.status == "with_operator":
                    return silent_record(claim, reading, tracker, message, now)
                playing = self._play(tracker, message, now, rng)
            case {"log": {"text": str(text), **more}}:
                read_as = more.get("parse_data")
                reading = await self._reading(text, read_as if isinstance(read_as, Mapping) else None)
                channel = tracker.latest_input_channel or claim.message.channel
                message = user_message(
                    text, reading, input_channel=channel, message_id=str(claim.inbound_id), metadata={}
                )
                playing = self._drive(log_message(tracker, message, bot.dialogue, now, rng))
            case {"execute": {"name": str(name), **more}}:
                # From JSON as the events are, with the same checks.
                said = {str(key): value for key, value in more.items()}
                executed = from_json({**said, "event": "action", "name": name})
                assert isinstance(executed, ActionExecuted)
                playing = self._drive(execute_action(tracker, executed, bot.dialogue, now, rng))
            case {"append": list(bodies)}:
                events = [from_json(body) for body in bodies]
                playing = self._drive(append_events(tracker, events, bot.dialogue, now, rng))
            case {"replace": list(bodies)}:
                empty = Tracker.empty(bot.assistant.domain, claim.sender_id)
                outcome = await self._drive(append_events(empty, [*map(from_json, bodies)], bot.dialogue, now, rng))
                record = turn_record(claim, None, outcome, self._delivery(claim), 0)
                return replace(record, replaces_log=True, snapshot=None, bodies=[], body_metadata=[])
            case _:
                raise ValueError(f"unknown command: {sorted(command)}")
        outcome = await playing
        record = turn_record(claim, reading, outcome, self._delivery(claim), folded_to)
        return record if command.get("send", True) else replace(record, bodies=[], body_metadata=[])

    async def _play(self, tracker: Tracker, message: UserMessage, now: float, rng: random.Random) -> Turn:
        """A whole turn: Kefu's own, or the engine's where the assistant has one."""
        if self.bot.engine is not None:
            return await self.bot.engine.turn(tracker, message, now)
        return await self._drive(turn(tracker, message, self.bot.dialogue, now, rng))

    async def _drive(self, steps: Steps[Turn]) -> Turn:
        bot = self.bot
        return await drive(steps, bot.actions, self._limits.action_deadline_s, bot.nlg)

    async def _reading(self, text: str, parse_data: Mapping[str, Any] | None) -> Reading:
        if parse_data is not None:
            return Reading(parse_data=dict(parse_data), understanding=None)
        return await read_message(text, self.bot, self._understander)

    async def _tracker(self, bot: Bot, claim: Claim) -> tuple[Tracker, int]:
        """The conversation so far, and the event its snapshot stands for: 0 where there is none that fits."""
        domain = bot.assistant.domain
        bodies = claim.events
        if claim.snapshot is not None:
            try:
                return Tracker.restore(domain, claim.snapshot, claim.events), claim.snapshot_seq
            except SnapshotOutdated:
                bodies = await self._db.read(lambda c: conversations.events(c, self.assistant_id, claim.sender_id))
        return Tracker.fold(domain, claim.sender_id, map(from_json, bodies)), 0

    def _delivery(self, claim: Claim) -> Delivery:
        return "push" if claim.channel in self._push else "pull"

    async def _failed(self, claim: Claim, error: Exception) -> None:
        """Retry with backoff; after the last attempt say sorry, so that no acknowledged message meets silence."""
        fields = {"inbound_id": claim.inbound_id, "attempts": claim.attempts}
        log.error("worker.turn_failed", exc_info=error, extra=fields)
        self._metrics.turns.labels("failed").inc()
        now, why = self._clock(), repr(error)[:500]
        try:
            is_away = isinstance(error, ModelUnavailable) and claim.attempts < self._limits.give_up_after
            if claim.attempts < self._limits.max_attempts or is_away:
                wait_s = min(30.0, self._limits.backoff_s * 2 ** min(claim.attempts - 1, 10))
                retry_at = now + timedelta(seconds=wait_s)
                await self._db.write(lambda c: inbox.fail(c, claim, why, retry_at, now))
                return
            # A command came from the company's own systems: no customer waits for words about it.
            bodies = apology(claim, self.bot.assistant.brand) if claim.message.command is None else []
            delivery = self._delivery(claim)
            sent = await self._db.write(
                lambda c: inbox.fail(c, claim, why, None, now, bodies=bodies, delivery=delivery)
            )
            self._hub.turn_finished(claim.inbound_id, claim.sender_id, sent)
        except StaleConversation:
            return
        except Exception:  # the database itself failed: the lease runs out and the message is claimed again
            log.exception("worker.fail_failed")

    async def _close_idle_forever(self) -> None:
        while not self._stopping.is_set():
            await self._pause(60.0)
            try:
                await self._close_idle()
            except Exception:  # housekeeping must not end the service
                log.exception("worker.close_idle_failed")

    async def _close_idle(self) -> None:
        now, after_min = self._clock(), self.bot.assistant.config.close_after_min
        await self._db.write(lambda c: conversations.close_idle(c, self.assistant_id, now, after_min))

    async def _remind_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                fired = await self._remind()
            except Exception:  # a database restart must not end the service
                log.exception("worker.remind_failed")
                fired = 0
            if not fired:
                await self._pause(self._limits.poll_s)

    async def _remind(self) -> int:
        now = self._clock()
        if not await self._db.read(lambda c: reminders.is_any_due(c, self.assistant_id, now)):
            return 0
        fired = await self._db.write(lambda c: reminders.fire(c, self.assistant_id, now))
        self._hub.inbound_arrived()
        return fired

    # ---- outbox (push channels; pull channels read the transcript) ----

    async def _deliver_forever(self) -> None:
        while not self._stopping.is_set():
            self._to_send.clear()
            try:
                sent = await self._deliver_due()
            except Exception:  # as above
                log.exception("worker.deliver_failed")
                sent = 0
            if not sent:
                await self._pause(self._limits.poll_s, self._to_send)

    async def _deliver_due(self) -> int:
        now, lease_s, channels = self._clock(), self._limits.lease_s, list(self._push)
        held = await self._db.write(
            lambda c: outbox.claim(c, self.assistant_id, channels, self._id, now, lease_s, limit=32)
        )
        await asyncio.gather(*(self._deliver(one) for one in held))
        return len(held)

    async def _deliver(self, held: OutboxClaim) -> None:
        result: SendResult
        try:
            result = await self._push[held.channel].send(held.message)
        except Exception as error:  # a connector's bug must not block the others; whether it was sent is unknown
            log.exception("worker.send_failed", extra={"channel": held.channel})
            result = DeliveryUnknown(reason=repr(error)[:200])
        self._metrics.sends.labels(held.channel, type(result).__name__).inc()
        await self._db.write(lambda c: outbox.settle(c, held, result, self._clock()))

    async def _pause(self, seconds: float, until: asyncio.Event | None = None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for((until or self._stopping).wait(), seconds)


def has_handoff(outcome: Turn) -> bool:
    return any(isinstance(event, HandoffRequested) for event in outcome.events)


def turn_record(claim: Claim, reading: Reading | None, outcome: Turn, delivery: Delivery, folded_to: int) -> TurnRecord:
    seen = reading.understanding if reading else None
    is_far = outcome.tracker.event_count - folded_to >= SNAPSHOT_EVERY
    return TurnRecord(
        events=[to_json(event) for event in outcome.events],
        expected_event_seq=claim.event_seq,
        snapshot=outcome.tracker.snapshot() if is_far else None,
        bodies=[message.body for message in outcome.messages],
        body_metadata=[{"model_version": seen.model_version} if seen else {} for _ in outcome.messages],
        prediction=prediction(seen, reading) if seen and reading else None,
        status="waiting" if has_handoff(outcome) else None,
        delivery=delivery,
    )


def prediction(seen: Understanding, reading: Reading) -> PredictionRecord:
    return PredictionRecord(
        text=seen.text,
        ranking=[{"name": score.name, "confidence": round(score.confidence, 6)} for score in seen.ranking[:10]],
        confidence=seen.intent.confidence,
        out_of_scope_score=seen.out_of_scope_score,
        is_out_of_scope=seen.is_out_of_scope,
        sentiment=seen.sentiment,
        entities=reading.parse_data.get("entities", []),
        language=seen.language,
        model_version=seen.model_version,
        latency_ms=seen.latency_ms,
        fallback=(reading.parse_data.get("intent") or {}).get("name") == "nlu_fallback",
    )


def silent_record(claim: Claim, reading: Reading, tracker: Tracker, message: UserMessage, now: float) -> TurnRecord:
    """An operator holds the conversation: the customer's message is logged, the bot says nothing."""
    event = UserUttered(
        timestamp=max(now, tracker.last_timestamp + 1e-6),
        metadata=message.metadata,
        text=message.text,
        parse_data=message.parse_data,
        input_channel=message.input_channel,
        message_id=message.message_id,
    )
    tracker.apply(event)
    seen = reading.understanding
    return TurnRecord(
        events=[to_json(event)],
        expected_event_seq=claim.event_seq,
        prediction=prediction(seen, reading) if seen else None,
    )


def apology(claim: Claim, brand: Brand) -> list[dict[str, str]]:
    """In the language of the conversation, else of the message; a first word says who speaks, as any other would."""
    is_chinese = claim.language == "zh" or any("\u4e00" <= char <= "\u9fff" for char in claim.message.text)
    language = "zh" if is_chinese else "en"
    is_first = claim.event_seq == 0 and brand.disclosure_enabled
    disclosure = [{"text": brand.disclosure(language)}] if is_first else []
    return [*disclosure, {"text": APOLOGY[language]}]
