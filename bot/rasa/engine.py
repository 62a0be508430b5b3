"""`dialogue: rasa`: Kefu's models read a message, a live Rasa server decides, Kefu delivers and logs.

A turn is Rasa's own, driven from outside: log the message with what our models read, then predict and execute until
the bot listens. What Rasa logged becomes the turn's events. Invariant: a message stands in Rasa's tracker once: it is
looked for before it is sent, and a turn that is tried again goes on where Rasa stands.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from bot.dialogue.events import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActionExecutionRejected,
    BotUttered,
    Event,
    ReminderScheduled,
    UserFeaturization,
    UserUttered,
    at,
    from_json,
)
from bot.dialogue.manager import MAX_ACTIONS, BotMessage, Decision, DialogueModel, Turn, UserMessage
from bot.dialogue.responses import message_body
from bot.dialogue.tracker import DISCLOSURE, Tracker
from bot.errors import KefuError
from bot.rasa.rasa_server import RasaPrediction, RasaServer, RasaUnavailable

log = logging.getLogger("kefu.rasa")

_MAX_STEPS = 50
"""Predictions of one turn, also of those that end in a rejection."""
_TICK_S = 1e-6
_STOPS = (ACTION_LISTEN, ACTION_SESSION_START)
_OURS = frozenset({"handoff", "operator"})
"""Events that Rasa does not know and cannot be given."""
_SURE_POLICIES = ("RulePolicy", "MemoizationPolicy", "AugmentedMemoizationPolicy")

_FOLLOWUP: dict[str, Any] = {"event": "action", "policy": "followup_action", "confidence": 1.0}
_AFTER_RESET: dict[str, list[dict[str, Any]]] = {
    ACTION_LISTEN: [{**_FOLLOWUP, "name": ACTION_LISTEN}],
    ACTION_SESSION_START: [
        {**_FOLLOWUP, "name": ACTION_SESSION_START},
        {"event": "session_started"},
        {"event": "action", "name": ACTION_LISTEN},
    ],
}
"""What Rasa logs by itself after `rewind` and `undo`, and after `restart`."""

Json = dict[str, Any]
Marks = set[tuple[str, float]]


class RasaEngine:
    """Turns of one assistant, decided by one Rasa server."""

    def __init__(self, server: RasaServer, model: DialogueModel) -> None:
        self._server, self._model = server, model

    async def close(self) -> None:
        await self._server.close()

    async def status(self) -> dict[str, str]:
        """For /readyz: `url`, and its `version` or the `problem` with it. Never raises for what the server is."""
        try:
            return {"url": self._server.url, "version": await self._server.check()}
        except (KefuError, RasaUnavailable) as error:
            return {"url": self._server.url, "problem": str(error)}

    async def check(self) -> None:
        """Raises ConfigurationError where a server answers and does not fit; one that is away may come later."""
        try:
            version = await self._server.check()
        except RasaUnavailable as error:
            log.warning("rasa.unavailable", extra={"reason": str(error)})
        else:
            log.info("rasa.connected", extra={"version": version})

    async def turn(self, tracker: Tracker, message: UserMessage, now: float) -> Turn:
        """Answer one message.

        Args:
            tracker: the conversation as Kefu logged it; it is not changed.
            now: stamps what Kefu adds; Rasa's events keep Rasa's time.
        Raises:
            RasaUnavailable: no answer; safe to call again with the same tracker and message.
            RasaRefused, ConfigurationError: the server does not fit or declines.
        """
        known = {_mark(event.to_json()) for event in tracker.events}
        events = await self._in_step(tracker, message, known)
        is_new = _place(events, message, known) is None
        if is_new:
            known |= {_mark(event) for event in events}
        turn = _Turn(tracker=tracker, message=message, known=known)
        if message.is_external:
            decisions = await self._trigger(turn, is_new=is_new)
        else:
            decisions = await self._act(turn, await self._log(tracker, message) if is_new else events)
        logged = turn.of((await self._server.tracker(tracker.sender_id))["events"])
        await self._settle(tracker.sender_id, logged)
        return self._outcome(turn, logged, decisions, now)

    # ---- the server's side ----

    async def _in_step(self, tracker: Tracker, message: UserMessage, known: Marks) -> Sequence[Json]:
        """The server's events; where it lost the conversation, or never had it, after giving it ours."""
        events: list[Json] = (await self._server.tracker(tracker.sender_id))["events"]
        last = next((event for event in reversed(tracker.events) if isinstance(event, UserUttered)), None)
        if last is None or _place(events, message, known) is not None or _knows(events, last):
            return events
        ours = [event.to_json() for event in tracker.events if event.type_name not in _OURS]
        await self._server.replace_events(tracker.sender_id, ours)
        log.warning("rasa.conversation_replayed", extra={"sender_id": tracker.sender_id, "events": len(ours)})
        return ours

    async def _log(self, tracker: Tracker, message: UserMessage) -> Sequence[Json]:
        # Of what we send, only the parse data comes back in the event: the id in it tells the message again.
        parse_data = {**_parse_data(message), "message_id": message.message_id, "metadata": dict(message.metadata)}
        state = await self._server.log_message(tracker.sender_id, message.text, parse_data)
        own = _own_slots(tracker, message)
        if own:
            state = await self._server.append_events(tracker.sender_id, own)
        events: list[Json] = state["events"]
        return events

    async def _trigger(self, turn: _Turn, *, is_new: bool) -> list[Decision]:
        """An intent that nobody wrote is a whole turn of Rasa's own."""
        if is_new:
            entities = turn.message.parse_data.get("entities") or []
            await self._server.trigger_intent(turn.tracker.sender_id, _intent(turn.message), entities)
        return [_decision("", "rasa", 1.0, f"{self._server.url} answered the event by itself")]

    async def _act(self, turn: _Turn, events: Sequence[Json]) -> list[Decision]:
        """Predict and execute until the bot listens, as Rasa's own loop: ten actions at most, silence while paused."""
        if turn.is_over(events):
            return [_decision("", "rasa", 1.0, "the turn had ended in Rasa before it was asked again")]
        decisions: list[Decision] = []
        for _ in range(_MAX_STEPS):
            live = turn.fold(events)
            if live.situation.paused and _intent(turn.message) != "restart":
                return decisions
            if live.actions_since_listen() >= MAX_ACTIONS:
                break
            decisions.append(await self._next_action(live))
            if decisions[-1].action in _STOPS:
                return decisions
            events = (await self._server.tracker(live.sender_id))["events"]
        why = f"{MAX_ACTIONS} actions without listening"
        return [*decisions, _decision(ACTION_LISTEN, "circuit_breaker", 1.0, why)]

    async def _next_action(self, live: Tracker) -> Decision:
        server, conversation = self._server, live.sender_id
        followup = live.situation.followup_action
        if not live.applied_events and followup in _AFTER_RESET:
            # `/predict` would take the emptied conversation for a new one and start a session in mid-turn.
            await server.append_events(conversation, _AFTER_RESET[followup])
            return _decision(followup, "followup_action", 1.0, "the action before took the conversation back")
        found = await server.predict(conversation)
        before = self._policy_events(live, found)
        if before:
            await server.append_events(conversation, before)
        await server.execute(conversation, found.action, found.policy, found.confidence)
        return _decision(found.action, found.policy or "", found.confidence, f"{server.url} said so")

    def _policy_events(self, live: Tracker, found: RasaPrediction) -> list[Json]:
        """What a policy logs before its action and `/execute` leaves out."""
        if live.situation.latest_action != ACTION_LISTEN:
            return []
        events: list[Json] = []
        loop = live.situation.loop
        # Kefu's rules, compiled from the same files, tell whether the form goes on without validating.
        if loop and loop.name == found.action and self._model.policies.predict(live).interrupts_loop:
            events.append({"event": "loop_interrupted", "is_interrupted": True})
        if found.policy in _SURE_POLICIES:
            events.append({"event": "user_featurization", "use_text_for_featurization": False})
        return events

    async def _settle(self, conversation: str, logged: Sequence[Event]) -> None:
        """Leave the server as Kefu leaves a conversation.

        A broken circuit and a pause end without listening, and the next message would meet silence. Reminders are
        Kefu's to keep: the server's own would answer into nowhere.
        """
        names = [event.name for event in logged if isinstance(event, ReminderScheduled)]
        if names:
            cancelled = [{"event": "cancel_reminder", "name": name} for name in names]
            await self._server.append_events(conversation, cancelled, has_effects=True)
        actions = [event.name for event in logged if isinstance(event, ActionExecuted)]
        if not actions or actions[-1] != ACTION_LISTEN:
            await self._server.append_events(conversation, [{"event": "action", "name": ACTION_LISTEN}])

    # ---- our side ----

    def _outcome(self, turn: _Turn, events: Sequence[Event], decisions: Sequence[Decision], now: float) -> Turn:
        after = turn.tracker.copy()
        logged: list[Event] = []
        clock = turn.tracker.last_timestamp

        def add(event: Event) -> None:
            nonlocal clock
            clock = max(event.timestamp, clock + _TICK_S)
            logged.append(at(event, clock))
            after.apply(logged[-1])

        for event in events:
            if isinstance(event, BotUttered) and not after.is_disclosed:
                self._disclose(after, turn.message, add)
            add(event)
        if after.situation.latest_action != ACTION_LISTEN:
            add(ActionExecuted(name=ACTION_LISTEN, timestamp=now))
        said = [event for event in logged if isinstance(event, BotUttered)]
        return Turn(
            events=tuple(logged),
            messages=tuple(BotMessage(body=message_body(event), metadata=event.metadata) for event in said),
            decisions=tuple(decisions),
            tracker=after,
        )

    def _disclose(self, after: Tracker, message: UserMessage, add: Any) -> None:
        """Before the first word of a session: that it is a machine that speaks."""
        brand = self._model.assistant.brand
        if brand.disclosure_enabled:
            spoken = message.language if message.language and message.language != "und" else None
            language = after.situation.slots.get("language") or spoken or self._model.assistant.language
            add(BotUttered(text=brand.disclosure(str(language)), metadata={"utter_action": DISCLOSURE}))


# ---- reading Rasa's log ----


def _mark(event: Mapping[str, Any]) -> tuple[str, float]:
    """What tells an event again: Rasa keeps its time to the last digit."""
    return str(event["event"]), float(event.get("timestamp") or 0.0)


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """One message on its way. `known` are the events that were there before it."""

    tracker: Tracker
    message: UserMessage
    known: Marks

    def of(self, events: Sequence[Json]) -> list[Event]:
        """The turn's part of Rasa's events, as Kefu logs it.

        Raises:
            RasaUnavailable: the message is not among them.
        """
        place = _place(events, self.message, self.known)
        if place is None:
            raise RasaUnavailable(
                "the message is not in Rasa's tracker; did the server restart in the middle of a turn?"
            )
        start = self._start(events, place)
        found = [event for index in range(start, len(events)) if (event := self._event(events[index]))]
        # We give the policy's word before its action; where that declined, Rasa itself leaves both out.
        return [event for event, after in pairwise([*found, None]) if event and not _is_withdrawn(event, after)]

    def fold(self, events: Sequence[Json]) -> Tracker:
        """The conversation as it stands in Rasa."""
        live = self.tracker.copy()
        for event in self.of(events):
            live.apply(event)
        return live

    def is_over(self, events: Sequence[Json]) -> bool:
        """Whether the bot listens already after the message: the turn is asked again after its end."""
        place = _place(events, self.message, self.known)
        later = events[place + 1 :] if place is not None else ()
        names = [event.get("name") for event in later if event["event"] == "action"]
        return bool(names) and names[-1] in _STOPS

    def _start(self, events: Sequence[Json], place: int) -> int:
        """Where the turn began: at its message, or at the session that the message started."""
        for index in range(place - 1, -1, -1):
            event = events[index]
            if event["event"] == "user" or _mark(event) in self.known:
                break
            if event["event"] == "action" and event.get("name") == ACTION_SESSION_START:
                return index
        return place

    def _event(self, body: Json) -> Event | None:
        """The message, also where Rasa logs it once more, gets what Rasa was not told: channel, id, metadata."""
        try:
            event = from_json(body)
        except ValueError as error:
            log.warning("rasa.event_left_out", extra={"reason": str(error)})
            return None
        message = self.message
        if not isinstance(event, UserUttered) or event.text != message.text:
            return event
        return replace(
            event,
            metadata=dict(message.metadata),
            input_channel=message.input_channel,
            message_id=message.message_id,
        )


def _place(events: Sequence[Json], message: UserMessage, known: Marks) -> int | None:
    """Where the message stands in Rasa's events; None where it does not (yet).

    The first place counts: a two-stage fallback that succeeds logs the message once more.
    """
    for index, event in enumerate(events):
        if event["event"] == "user" and event.get("text") == message.text and _mark(event) not in known:
            sent = (event.get("parse_data") or {}).get("message_id")
            # Of an external message Rasa keeps no id. In a conversation that Kefu begins, it is older than Kefu.
            if sent == message.message_id or (message.is_external and known):
                return index
    return None


def _knows(events: Sequence[Json], last: UserUttered) -> bool:
    """Whether the server has the latest message that Kefu logged."""
    sent = last.parse_data.get("message_id")
    return any(
        event["event"] == "user"
        and event.get("text") == last.text
        and (event.get("parse_data") or {}).get("message_id") == sent
        for event in events
    )


def _is_withdrawn(event: Event, after: Event | None) -> bool:
    return isinstance(event, UserFeaturization) and isinstance(after, ActionExecutionRejected)


def _parse_data(message: UserMessage) -> Json:
    missing: Json = {"intent": {"name": None, "confidence": 0.0}, "entities": [], "text": message.text}
    return {**missing, **message.parse_data}


def _own_slots(tracker: Tracker, message: UserMessage) -> list[Json]:
    """`language` and `sentiment` where the domain declares them and they changed, as in Kefu's own dialogue."""
    spoken = message.language if message.language != "und" else None
    found: list[Json] = []
    for name, value in (("language", spoken), ("sentiment", message.sentiment)):
        slot = tracker.domain.slots.get(name)
        if slot is None or value is None or tracker.situation.slots.get(name) == value:
            continue
        if slot.type != "categorical" or value.lower() in slot.values:
            found.append({"event": "slot", "name": name, "value": value})
    return found


def _intent(message: UserMessage) -> str:
    intent: Mapping[str, Any] = message.parse_data.get("intent") or {}
    return str(intent.get("name") or "")


def _decision(action: str, policy: str, confidence: float, why: str) -> Decision:
    return Decision(action=action, policy=policy, confidence=confidence, why=why)
