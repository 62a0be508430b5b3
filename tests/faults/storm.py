"""Many web-chat clients talk to a real server while it is killed and restarted; then the checker judges.

The clients drop their connections by themselves too. Nothing here knows how the server works inside: it is a process
that can be killed, a socket, and a SQLite file that is read after the last answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.faults.checker import Conversation, Verdict, check
from tests.faults.log import read_log, waiting
from tests.faults.shoppers import next_words
from tests.faults.webclient import WebClient
from tests.server import Server

IN_FLIGHT = 3  # messages a customer sends before the first is acknowledged
DROP_CHANCE = 0.004  # per frame received: every client loses its connection a few times by itself
SETTLE_WITHIN_S = 60.0
LONGEST_S = 900.0  # something hangs that must not


@dataclass(frozen=True, kw_only=True)
class Storm:
    """How hard it blows.

    Attributes:
        kills: SIGKILLs of the serving process at random moments; after every fifth the next process is killed while it
            starts, too.
        deploys: SIGTERM and a new process, as a deploy does it.
        pause_s: mean pause of a customer between two messages.
    """

    clients: int
    messages: int
    kills: int
    deploys: int = 0
    pause_s: float = 0.5
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What a storm left. `restart_s`: from each kill to /readyz; `errors`: error frames the clients got, by code."""

    verdict: Verdict
    kills: int
    kills_while_starting: int
    deploys: int
    connections: int
    restart_s: list[float]
    errors: dict[str, int]
    seconds: float


async def blow(server: Server, storm: Storm) -> Aftermath:
    """Run the whole storm over a started server; the server runs when it returns."""
    began = time.monotonic()
    progress = asyncio.Event()
    clients = [
        WebClient(server.url, f"shopper{number}", seed=storm.seed, drop_chance=DROP_CHANCE, on_change=progress.set)
        for number in range(storm.clients)
    ]
    nemesis = Nemesis(server, storm)
    async with asyncio.timeout(LONGEST_S), AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client)
        shopping = asyncio.gather(*(_shop(client, storm) for client in clients))
        await nemesis.strike(lambda: sum(client.acked for client in clients), progress)
        await shopping
        await _settle(server, clients)
    conversations = [await _judged(server, client) for client in clients]
    return Aftermath(
        verdict=check(conversations),
        kills=nemesis.kills,
        kills_while_starting=nemesis.kills_while_starting,
        deploys=nemesis.deploys,
        connections=sum(client.connections for client in clients),
        restart_s=nemesis.restart_s,
        errors=dict(sum((client.errors for client in clients), Counter())),
        seconds=round(time.monotonic() - began, 1),
    )


async def _shop(client: WebClient, storm: Storm) -> None:
    rng = random.Random(f"{client.name}:{storm.seed}")
    for _ in range(storm.messages // storm.clients):
        await asyncio.sleep(rng.uniform(0, 2 * storm.pause_s))
        await client.until(lambda: len(client.unacked) < IN_FLIGHT, timeout_s=LONGEST_S)
        client.say(next_words(rng))
    await client.until(lambda: not client.unacked, timeout_s=SETTLE_WITHIN_S)


class Nemesis:
    """Kills and deploys, each at a random number of acknowledged messages and at a random moment after it."""

    def __init__(self, server: Server, storm: Storm) -> None:
        self.kills = self.kills_while_starting = self.deploys = 0
        self.restart_s: list[float] = []
        self._server, self._rng = server, random.Random(f"nemesis:{storm.seed}")
        plan = ["kill, and again while starting" if number % 5 == 4 else "kill" for number in range(storm.kills)]
        plan += ["deploy"] * storm.deploys
        self._rng.shuffle(plan)
        first, last = storm.messages // 50, storm.messages * 19 // 20
        self._plan = list(zip(sorted(self._rng.sample(range(first, last), len(plan))), plan, strict=True))

    async def strike(self, acked: Callable[[], int], progress: asyncio.Event) -> None:
        """Carry the plan out; `progress` is set whenever `acked()` may have grown."""
        for mark, what in self._plan:
            while acked() < mark:
                progress.clear()
                await progress.wait()
            await asyncio.sleep(self._rng.uniform(0, 0.1))
            began = time.monotonic()
            if what == "deploy":
                self.deploys += 1
                await asyncio.to_thread(self._server.stop)
            else:
                self.kills += 1
                await asyncio.to_thread(self._server.kill)
            if what == "kill, and again while starting":
                await self._kill_half_started()
            await asyncio.to_thread(self._server.start)
            self.restart_s.append(round(time.monotonic() - began, 2))

    async def _kill_half_started(self) -> None:
        starting = asyncio.create_task(asyncio.to_thread(self._server.start))
        await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        self.kills_while_starting += 1
        await asyncio.to_thread(self._server.kill)
        await asyncio.gather(starting, return_exceptions=True)  # it was waiting for a process that is gone


async def _settle(server: Server, clients: list[WebClient]) -> None:
    """Until nothing waits in the inbox and every client has the last entry, or time is up: then the checker says so."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while waiting(server.home) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    log = read_log(server.home)
    for client in clients:
        last_seq = log[client.conversation].last_seq
        await client.until(lambda: client.last_seen >= last_seq, timeout_s=max(0.1, deadline - time.monotonic()))  # noqa: B023


async def _judged(server: Server, client: WebClient) -> Conversation:
    """The client's history, the log's, and what somebody reads who opens the conversation anew."""
    log = read_log(server.home)[client.conversation]
    async with WebClient(server.url, f"{client.name}-again", token=client.token) as reader:
        await reader.until(lambda: reader.last_seen >= log.last_seq, timeout_s=10)
    return Conversation(
        client=client.name,
        events=client.events,
        answers=log.answers,
        turns=log.turns,
        last_seq=log.last_seq,
        reread=reader.received(),
    )
