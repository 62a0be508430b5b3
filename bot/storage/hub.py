"""Wake-ups inside one process: a message arrived, a turn finished, somebody types. No SQL, no truth.

Invariants: everything runs on one event loop; no wake-up is lost between a look and a wait, because whoever will wait
takes a ticket (or follows the turn) before looking; a missed word costs a second, never a message.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress

from connectors.base import OutboundMessage

REMEMBERED_TURNS = 2_048


class Turn:
    """What this process knows about the answer to one inbound message.

    Attributes:
        is_expected: it was accepted here, so that its end will be heard here; no first read of the database is needed.
        messages: the answer, once a worker of this process gave it.
    """

    __slots__ = ("_news", "is_expected", "messages")

    def __init__(self) -> None:
        self.is_expected = False
        self.messages: list[OutboundMessage] | None = None
        self._news = asyncio.Event()

    def tell(self, messages: list[OutboundMessage] | None) -> None:
        self.messages = messages
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Return at the next news, or after the time; news told before the call count."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()


class Hub:
    """Who waits for what in this process. Build one, give it to the ports and to the worker."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._arrived = asyncio.Event()
        self._turns: OrderedDict[int, Turn] = OrderedDict()
        self._subscribers: dict[str, list[Callable[[str], None]]] = {}
        self.finished_count = 0

    # ---- the worker's side ----

    def ticket(self) -> int:
        """Take it before claiming; `wait_inbound` returns at once if something arrived since."""
        return self._arrivals

    async def wait_inbound(self, ticket: int, timeout_s: float) -> None:
        """Return when a message arrived after the ticket was taken, or after the time."""
        if self._arrivals != ticket:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()

    def turn_finished(self, inbound_id: int, sender_id: str, messages: Sequence[OutboundMessage]) -> None:
        """Call it after the turn's commit: wakes who waits for this answer and who watches the conversation."""
        self.finished_count += 1
        self._turn(inbound_id).tell(list(messages))
        self._wake(sender_id, "message")

    def part_said(self, sender_id: str) -> None:
        """A part of an answer is committed, more of it will follow: wakes who watches the conversation."""
        self._wake(sender_id, "message")

    def typing(self, sender_id: str) -> None:
        """The bot works on an answer."""
        self._wake(sender_id, "typing")

    # ---- the ports' side ----

    def inbound_arrived(self) -> None:
        """Something may be claimed."""
        self._arrivals += 1
        self._arrived.set()
        self._arrived = asyncio.Event()

    def expect(self, inbound_id: int, sender_id: str) -> None:
        """This process accepted the message; its end will be told here."""
        self._turn(inbound_id).is_expected = True
        self._wake(sender_id, "message")

    def follow(self, inbound_id: int) -> Turn:
        """The turn to wait for; take it before reading, so that what happens in between is not missed."""
        return self._turn(inbound_id)

    def subscribe(self, sender_id: str, wake: Callable[[str], None]) -> Callable[[], None]:
        """Call `wake("message" | "typing")` on news of the conversation; returns what unsubscribes."""
        self._subscribers.setdefault(sender_id, []).append(wake)

        def unsubscribe() -> None:
            wakes = self._subscribers.get(sender_id, [])
            if wake in wakes:
                wakes.remove(wake)
            if not wakes:
                self._subscribers.pop(sender_id, None)

        return unsubscribe

    # ---- the listener's side (PostgreSQL) ----

    def finished_elsewhere(self, inbound_id: int, sender_id: str) -> None:
        """Another process says so (or this one, echoed): who waits reads the database now."""
        turn = self._turns.get(inbound_id)
        if turn is not None and turn.messages is None:
            turn.is_expected = False
            turn.tell(None)
        self._wake(sender_id, "message")

    def _turn(self, inbound_id: int) -> Turn:
        turn = self._turns.get(inbound_id)
        if turn is None:
            turn = self._turns[inbound_id] = Turn()
            if len(self._turns) > REMEMBERED_TURNS:  # a forgotten turn's waiter reads the database each second instead
                self._turns.popitem(last=False)
        return turn

    def _wake(self, sender_id: str, news: str) -> None:
        for wake in tuple(self._subscribers.get(sender_id, ())):
            wake(news)
