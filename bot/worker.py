"""Claim → understand → drive the turn → commit; deliver. The only place where a turn meets the world.

Invariant: nothing a customer can see happens before `inbox.finish` (or, of a reply that is said while it is written,
`inbox.advance`) committed; a turn that dies before its first commit leaves no trace and runs again, with the same
random choices; after it the turn is over, and only the end of its reply is missing. One conversation at a time, many
conversations at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.answers.exchange import last_exchange
from bot.answers.parts import Rest
from bot.dialogue.effects import Steps
from bot.dialogue.events import ActionExecuted, from_json
from bot.dialogue.manager import (
    Turn,
    UserMessage,
    append_events,
    execute_action,
    external_message,
    log_message,
    turn,
)
from bot.dialogue.tracker import SnapshotOutdated, Tracker
from bot.errors import StaleConversation, StorageError
from bot.platform_files import PlatformFiles
from bot.storage import conversations, inbox, outbox, reminders
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.outbox import OutboxClaim
from bot.storage.records import Claim, Delivery, TurnRecord
from bot.streaming import beginning, begun, completed, continued, resumed
from bot.telemetry import Metrics, turn_id
from bot.turn_records import apology, has_handoff, silent_record, turn_record
from bot.turns import Bot, Reading, TurnTrace, drive, read_message, user_message
from connectors.base import PUSHED, Connector, DeliveryUnknown, PushConnector, RetryLater, SendResult
from models.base import ModelUnavailable, Understander

log = logging.getLogger("kefu.worker")


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """Bounds, with the reason of each default."""

    concurrency: int = 64  # turns in flight: enough to fill the model's batches on a small box
    lease_s: float = 30.0  # longer than the slowest turn (action deadline); a dead worker's messages wait at most this
    sends: int = 64  # messages on their way to push channels at once
    action_deadline_s: float = 10.0  # Rasa's action server default is 10 s; an nlg server gets as long
    poll_s: float = 1.0  # a missed wake-up costs at most this
    max_attempts: int = 4  # of a turn that fails; then the customer gets an apology instead of silence
    give_up_after: int = 20  # tries in all, outages of the model and deaths of the process included: some seven minutes
    backoff_s: float = 0.5  # doubled at each attempt


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
        chores: Sequence[Callable[[datetime], Awaitable[object]]] = (),
        files: PlatformFiles | None = None,
    ) -> None:
        self.bot = bot
        self._files = files
        self._chores = chores
        self._db, self._hub, self._understander = db, hub, understander
        self._push = {connector.name: connector for connector in connectors if isinstance(connector, PushConnector)}
        self._streams = {connector.name for connector in connectors if getattr(connector, "streams", False)}
        self._id, self._limits, self._clock = worker_id, limits, clock
        self._metrics = metrics or Metrics()
        self._observer = observer
        self._stopping = asyncio.Event()
        self._turns: set[asyncio.Task[None]] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._turn_over = asyncio.Event()
        self._to_send = asyncio.Event()
        self._turnstile = asyncio.Lock()

    @property
    def assistant_id(self) -> str:
        return self.bot.assistant.assistant_id

    async def run(self) -> None:
        """Work until `stop`, then let the turns in flight finish."""
        deliver = [self._deliver_forever()] if self._push else []
        try:
            await asyncio.gather(self._claim_forever(), self._keep_house(), self._remind_forever(), *deliver)
        finally:
            await asyncio.gather(*self._turns, *self._sends, return_exceptions=True)

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
            async with self._lease_kept(claim), AsyncExitStack() as writings:
                record, rest = await self._decide(await self._with_files(claim), writings)
                place = beginning(record) if rest else None
                if rest and place is not None and place < len(record.bodies) - 1:
                    record = await completed(record, place, rest)
                elif rest and place is not None:
                    claim = await self._advance(claim, begun(record, rest))
                    async for part in rest.parts:
                        record = continued(claim, record, part, self._clock().timestamp())
                        if part.whole is None:
                            claim = await self._advance(claim, record)
            sent = await self._db.write(lambda c: inbox.finish(c, claim, record, self._clock()))
        except StaleConversation:
            self._metrics.turns.labels("stale").inc()
            return
        except Exception as error:  # noqa: BLE001  one bad turn is retried, then apologised for; the loop goes on
            await self._failed(claim, error)
            return
        self._hub.turn_finished(claim.inbound_id, claim.sender_id, [*claim.said, *sent])
        self._to_send.set()
        self._metrics.turns.labels("answered").inc()
        self._metrics.turn_seconds.observe(time.perf_counter() - started)

    async def _advance(self, claim: Claim, record: TurnRecord) -> Claim:
        """Say a part of a reply; the claim to go on with."""
        claim = await self._db.write(lambda c: inbox.advance(c, claim, record, self._clock()))
        self._hub.part_said(claim.sender_id)
        self._to_send.set()
        return claim

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

    async def _with_files(self, claim: Claim) -> Claim:
        """Fetch what the customer sent beside the words, where it lies with the platform; once, however often the turn
        has to run."""
        attachments = await self._files.collect(claim.message) if self._files else None
        if attachments is None:
            return claim
        metadata = {**claim.message.metadata, "attachments": attachments}
        await self._db.write(lambda c: inbox.note_metadata(c, claim, metadata))
        return replace(claim, message=replace(claim.message, metadata=metadata))

    async def _decide(self, claim: Claim, writings: AsyncExitStack) -> tuple[TurnRecord, Rest | None]:
        """What the turn leaves behind, and what follows it: a reply may still be written, until `writings` close."""
        bot = self.bot
        if claim.said:
            tracker, _ = await self._tracker(bot, claim)
            now = self._clock().timestamp()
            return resumed(claim, tracker.last_timestamp, now, self._delivery(claim)), None
        if claim.message.command is not None:
            return await self._carry_out(claim, claim.message.command), None
        self._hub.typing(claim.sender_id)
        started = time.perf_counter()
        reading = await read_message(
            claim.message.text,
            bot,
            self._understander,
            last_exchange(claim.events),
            streams=self._may_stream(claim),
        )
        if reading.rest is not None:
            writings.push_async_callback(reading.rest.parts.aclose)
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
            return silent_record(claim, reading, tracker, message, now), None
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
        return self._record(claim, reading, outcome, folded_to), reading.rest

    def _may_stream(self, claim: Claim) -> bool:
        is_told_to = self.bot.assistant.config.generation.stream and self.bot.engine is None
        return is_told_to and claim.channel in self._streams and claim.status != "with_operator"

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
                record = self._record(claim, None, outcome, 0)
                return replace(record, replaces_log=True, snapshot=None, bodies=[], body_metadata=[])
            case _:
                raise ValueError(f"unknown command: {sorted(command)}")
        outcome = await playing
        record = self._record(claim, reading, outcome, folded_to)
        return record if command.get("send", True) else replace(record, bodies=[], body_metadata=[])

    async def _play(self, tracker: Tracker, message: UserMessage, now: float, rng: random.Random) -> Turn:
        """A whole turn: Kefu's own, or the engine's where the assistant has one."""
        if self.bot.engine is not None:
            return await self.bot.engine.turn(tracker, message, now)
        return await self._drive(turn(tracker, message, self.bot.dialogue, now, rng))

    async def _drive(self, steps: Steps[Turn]) -> Turn:
        bot = self.bot
        deadline_s = self._limits.action_deadline_s
        return await drive(steps, bot.actions, deadline_s, bot.nlg, self._one_by_one, bot.rephraser)

    async def _one_by_one(self) -> None:
        """A batch of the model, or of actions, lets many turns go on at once, each for some milliseconds of this loop.
        They pass here one by one, so that what a channel has to acknowledge in time comes in between."""
        async with self._turnstile:
            await asyncio.sleep(0)

    async def _reading(self, text: str, parse_data: Mapping[str, Any] | None) -> Reading:
        if parse_data is not None:
            return Reading(parse_data=dict(parse_data), understanding=None)
        return await read_message(text, self.bot, self._understander)

    async def _tracker(self, bot: Bot, claim: Claim) -> tuple[Tracker, int]:
        """The conversation so far, and the event its snapshot stands for: 0 where there is none that fits."""
        await self._one_by_one()
        domain = bot.assistant.domain
        bodies = claim.events
        if claim.snapshot is not None:
            try:
                return Tracker.restore(domain, claim.snapshot, claim.events), claim.snapshot_seq
            except SnapshotOutdated:
                bodies = await self._db.read(lambda c: conversations.events(c, self.assistant_id, claim.sender_id))
        return Tracker.fold(domain, claim.sender_id, map(from_json, bodies)), 0

    def _record(self, claim: Claim, reading: Reading | None, outcome: Turn, folded_to: int) -> TurnRecord:
        record = turn_record(claim, reading, outcome, self._delivery(claim), folded_to)
        hold_s = self._push[claim.channel].hold_s if claim.channel in self._push else 0.0
        if not hold_s or claim.message.command is not None:
            return record
        return replace(record, send_after=claim.message.received_at + timedelta(seconds=hold_s))

    def _delivery(self, claim: Claim) -> Delivery:
        if claim.channel in PUSHED and claim.channel not in self._push:
            # Its answers wait for a worker that has it, where `kefu outbox list --waiting` shows them.
            log.error("worker.channel_missing", extra={"channel": claim.channel})
            return "push"
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
            self._hub.turn_finished(claim.inbound_id, claim.sender_id, [*claim.said, *sent])
        except StaleConversation:
            return
        except Exception:  # the database itself failed: the lease runs out and the message is claimed again
            log.exception("worker.fail_failed")

    async def _keep_house(self) -> None:
        while not self._stopping.is_set():
            for chore in (self._close_idle, *self._chores):
                try:
                    await chore(self._clock())
                except Exception:  # housekeeping must not end the service, nor one chore the next
                    log.exception("worker.chore_failed")
            await self._pause(60.0)

    async def _close_idle(self, now: datetime) -> None:
        after_min = self.bot.assistant.config.close_after_min
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
                claimed = await self._deliver_due()
            except Exception:  # as above
                log.exception("worker.deliver_failed")
                claimed = 0
            if not claimed:
                await self._pause(self._limits.poll_s, self._to_send)

    async def _deliver_due(self) -> int:
        """Begin to send what is due; a conversation whose channel is slow holds up no other."""
        claimed = 0
        for channel in self._push:
            # A share for each: a platform that answers nobody must not take the others' places.
            sending = sum(task.get_name() == channel for task in self._sends)
            free = max(1, self._limits.sends // len(self._push)) - sending
            claimed += await self._deliver_to(channel, free) if free > 0 else 0
        return claimed

    async def _deliver_to(self, channel: str, free: int) -> int:
        now, lease_s = self._clock(), self._limits.lease_s
        repeatable = [channel] if self._push[channel].can_repeat else []
        held = await self._db.write(
            lambda c: outbox.claim(c, self.assistant_id, [channel], self._id, now, lease_s, free, resendable=repeatable)
        )
        for one in held:
            task = asyncio.create_task(self._deliver(one), name=channel)
            self._sends.add(task)
            task.add_done_callback(self._send_ended)
        return len(held)

    def _send_ended(self, task: asyncio.Task[None]) -> None:
        self._sends.discard(task)
        self._to_send.set()  # the conversation's next message may go
        if not task.cancelled() and (error := task.exception()):
            log.error("worker.settle_failed", exc_info=error)  # the lease runs out, then it is asked or unknown

    async def _deliver(self, held: OutboxClaim) -> None:
        result: SendResult
        connector = self._push[held.channel]
        try:
            async with asyncio.timeout(self._limits.lease_s * 0.8):  # settled before another worker may take it up
                result = await connector.send(held.message, is_repeat=held.attempts > 1)
        except Exception as error:  # a connector's bug must not block the others; whether it was sent is unknown
            log.exception("worker.send_failed", extra={"channel": held.channel})
            result = DeliveryUnknown(reason=repr(error)[:200])
        if isinstance(result, DeliveryUnknown) and connector.can_repeat:
            result = RetryLater(reason=result.reason)
        self._metrics.sends.labels(held.channel, type(result).__name__).inc()
        await self._db.write(lambda c: outbox.settle(c, held, result, self._clock()))

    async def _pause(self, seconds: float, until: asyncio.Event | None = None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for((until or self._stopping).wait(), seconds)
