"""Customers in Slack, WeChat and the web chat, as their platforms deliver them: tries, retries, doubles, delays.

Each writes down what it did and heard; judging is checker.py's. A message is `/pass{"word": ID}`, its answer "echo ID".
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import httpx

from tests import slack_people as people
from tests.faults.checker import Conversation, Sent, Talk, Told
from tests.faults.webclient import Say, WebClient
from tests.slack_people import Slacker
from tests.wechat_side import Account, message_xml

SLACK_PATIENCE_S = 3.0
SLACK_RETRIES_S = (0.1, 4.0, 20.0)  # Slack's are at once, after one and after five minutes
TWICE_SHARE = LATE_SHARE = 0.05  # of Slack's deliveries: doubled though acknowledged; overtaken by later ones
WECHAT_PATIENCE_S = 5.0
WECHAT_TRIES = 3
REFUSED_PAUSE_S = 1.0
IN_FLIGHT = 3
_msg_ids = itertools.count(1)


def heard_in(text: str) -> list[str]:
    """The messages that a reply answers."""
    return re.findall(r"echo ([\w-]+)", text)


def words_of(message_id: str) -> str:
    return f'/pass{{"word": "{message_id}"}}'


class Pushed(ABC):
    """One customer of a platform that delivers by HTTP, to any of the web processes, and is written to."""

    def __init__(self, name: str, https: Sequence[httpx.AsyncClient], seed: int) -> None:
        self.name = name
        self.told: dict[str, Told] = {}
        self.heard: list[str] = []
        self._https, self._rng = https, random.Random(f"{name}:{seed}")

    @abstractmethod
    async def write(self, count: int, over_s: float) -> None:
        """So many messages in about that time."""

    def talk(self, unknown: set[str]) -> Talk:
        mine = frozenset(unknown & self.told.keys())
        return Talk(client=self.name, told=list(self.told.values()), heard=self.heard, unknown=mine)

    def owed(self) -> set[str]:
        """Acknowledged and not answered yet."""
        return {one.message_id for one in self.told.values() if one.acked_at is not None} - set(self.heard)

    def hear(self, text: str) -> None:
        self.heard += heard_in(text)

    def _begin(self) -> str:
        message_id = f"{self.name}-{len(self.told):06}"
        self.told[message_id] = Told(message_id=message_id, sent_at=time.monotonic())
        return message_id

    def _taken(self, message_id: str) -> None:
        if self.told[message_id].acked_at is None:
            self.told[message_id] = replace(self.told[message_id], acked_at=time.monotonic())


class SlackPerson(Pushed):
    """Writes without waiting for answers; Slack retries what was not acknowledged in time."""

    async def write(self, count: int, over_s: float) -> None:
        async with asyncio.TaskGroup() as deliveries:
            for _ in range(count):
                await asyncio.sleep(self._rng.uniform(0, 2 * over_s / count))
                deliveries.create_task(self._deliver())

    async def _deliver(self) -> None:
        message_id = self._begin()
        payload = people.event(people.direct(words_of(message_id), user=self.user), event_id=f"Ev{message_id}")
        if self._rng.random() < LATE_SHARE:
            await asyncio.sleep(self._rng.uniform(0.5, 3.0))
            self.told[message_id] = replace(self.told[message_id], sent_at=time.monotonic())
        for attempt, pause_s in enumerate((0.0, *SLACK_RETRIES_S)):
            await asyncio.sleep(pause_s)
            if await self._try(payload, attempt):
                self._taken(message_id)
                break
        else:
            return
        if self._rng.random() < TWICE_SHARE:
            await asyncio.sleep(self._rng.uniform(0.0, 2.0))
            await self._try(payload, 1)

    async def _try(self, payload: dict[str, object], attempt: int) -> bool:
        try:
            async with asyncio.timeout(SLACK_PATIENCE_S):
                return (await Slacker(self._rng.choice(self._https)).event(payload, retry=attempt)).status_code == 200
        except (httpx.HTTPError, TimeoutError):
            return False

    @property
    def user(self) -> str:
        return "U" + self.name.upper()


class WeChatCustomer(Pushed):
    """Writes a message when the one before has had its tries; takes the passive reply of whichever try brings it."""

    async def write(self, count: int, over_s: float) -> None:
        for _ in range(count):
            await asyncio.sleep(self._rng.uniform(0, 2 * over_s / count))
            await self.visit()

    async def visit(self) -> None:
        message_id = self._begin()
        body = message_xml(words_of(message_id), next(_msg_ids), FromUserName=self.name)
        for _ in range(WECHAT_TRIES):
            account = Account(http=self._rng.choice(self._https))
            try:
                async with asyncio.timeout(WECHAT_PATIENCE_S):
                    answer = await account.deliver(body)
            except (httpx.HTTPError, TimeoutError):
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
            if answer.status_code != 200:
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
            self._taken(message_id)
            self.hear(account.read(answer).get("Content", ""))
            return


class WebCustomer(WebClient):
    """A browser that sends up to three messages ahead, and now and then loses its connection."""

    async def write(self, count: int, over_s: float) -> None:
        for number in range(count):
            await asyncio.sleep(self._rng.uniform(0, 2 * over_s / count))
            await self.until(lambda: len(self.unacked) < IN_FLIGHT, timeout_s=over_s)
            message_id = f"{self.name}-{number:06}"
            self.say(Say(payload=words_of(message_id)), message_id)

    def owed(self) -> int:
        """Sent and not answered yet."""
        answered = {message_id for text in self.bot_texts() for message_id in heard_in(text)}
        return sum(isinstance(event, Sent) and event.message_id not in answered for event in self.events)

    def conversation_seen(self, reread: WebClient) -> Conversation:
        """This client's history, with what somebody reads who opens the conversation anew."""
        entries = reread.received()
        answers = {
            entry.seq: heard_in(entry.body)[0] for entry in entries if entry.author == "bot" and heard_in(entry.body)
        }
        return Conversation(
            client=self.name,
            events=self.events,
            answers=answers,
            turns={},
            last_seq=max((entry.seq for entry in entries), default=0),
            reread=entries,
        )
