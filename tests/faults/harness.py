"""The fault harness: customers of three channels talk to a deployment while a nemesis strikes it; then the checker.

Only the wire is spoken, so any server that answers "echo ID" can stand behind it: Kefu on SQLite, Kefu on PostgreSQL
with two web and two worker processes, plain slack_bolt as a control.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.faults.checker import Verdict, check, check_talks
from tests.faults.deployment import Deployment
from tests.faults.generators import Pushed, SlackPerson, WebCustomer, WeChatCustomer
from tests.faults.webclient import WebClient
from tests.slack_server import FakeSlack, Said, slack
from tests.slack_server import credentials as slack_credentials
from tests.wechat_side import WeChatServer, wechat_server
from tests.wechat_side import credentials as wechat_credentials

WECHAT_DEADLINE_S = 4.5
SLACK_THINKS_S = 0.05  # between a post and its answer: time to die in
SLACK_LOOKUPS = ("conversations.history", "conversations.replies")
DROP_CHANCE = 0.01  # per frame that a web client receives
SETTLE_WITHIN_S = 180.0  # a sender that was killed is believed dead after its lease of 30 s

Deploys = Callable[[Path, Mapping[str, Any]], AbstractContextManager[Deployment]]


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How long it blows, on how many customers and messages a channel, and how often the nemesis does what."""

    seconds: float
    customers: Mapping[str, int]
    messages: Mapping[str, int]
    strikes: Mapping[str, int]
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What the checker found, by channel, and what was done.

    Attributes:
        unknown: acknowledged, not heard, shown to an operator, by channel.
        dead: replies that the server gave up.
        sigkills: processes killed.
        slack_lookups: how often Slack was asked whether it has a message already: its sender had died in between.
    """

    verdicts: Mapping[str, Verdict]
    unknown: Mapping[str, int]
    dead: int
    sigkills: int
    slack_lookups: int
    strikes: Mapping[str, int]
    connections: int
    errors: Mapping[str, int]
    seconds: float


@dataclass(kw_only=True)
class World:
    """The platforms and the customers."""

    slack: FakeSlack
    wechat: WeChatServer
    pushed: dict[str, list[Pushed]] = field(default_factory=dict)
    web: list[WebCustomer] = field(default_factory=list)

    def listen(self) -> None:
        by_place = {"D" + person.name.upper(): person for person in self.pushed.get("slack", ())}
        by_name = {customer.name: customer for customer in self.pushed.get("wechat", ())}

        def on_post(said: Said) -> None:
            by_place[said.channel].hear(said.text)

        def on_sent(message: dict[str, Any]) -> None:
            by_name[message["touser"]].hear(message["text"]["content"])

        self.slack.on_post, self.wechat.on_sent = on_post, on_sent


async def blow(folder: Path, deploys: Deploys, weather: Weather, say: Callable[[str], None] = print) -> Aftermath:
    """Start the deployment in an empty folder, run the whole weather over it, and judge."""
    async with slack() as (fake_slack, slack_api), wechat_server() as wechat, AsyncExitStack() as stack:
        fake_slack.answers_after_s = SLACK_THINKS_S
        told = {
            "slack": slack_credentials(slack_api),
            "wechat": wechat_credentials(api_url=wechat.url, try_deadline_s=WECHAT_DEADLINE_S),
        }
        with deploys(folder, told) as deployment:
            await deployment.start()
            say("started")
            https = [
                await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, limits=httpx.Limits()))
                for url in deployment.urls
            ]
            world = _world(deployment, weather, fake_slack, wechat, https)
            for client in world.web:
                await stack.enter_async_context(client)
            began = time.monotonic()
            nemesis = Nemesis(deployment, weather, say)
            crowds: dict[str, Sequence[Pushed | WebCustomer]] = {**world.pushed, "web": world.web}
            writing = [
                customer.write(weather.messages[channel] // weather.customers[channel], weather.seconds)
                for channel, customers in crowds.items()
                for customer in customers
            ]
            await asyncio.gather(nemesis.strike(), _told(world, weather, say), *writing)
            await _settle(world, deployment, say)
            seconds = time.monotonic() - began
            return await _judged(world, deployment, nemesis, seconds)


def _world(
    deployment: Deployment,
    weather: Weather,
    fake_slack: FakeSlack,
    wechat: WeChatServer,
    https: Sequence[httpx.AsyncClient],
) -> World:
    world = World(slack=fake_slack, wechat=wechat)
    counts = {channel: count for channel, count in weather.customers.items() if channel in deployment.channels}
    kinds = {"slack": SlackPerson, "wechat": WeChatCustomer}
    for channel, kind in kinds.items():
        world.pushed[channel] = [kind(f"{channel}{n}", https, weather.seed) for n in range(counts.get(channel, 0))]
    world.web = [
        WebCustomer(deployment.urls, f"web{number}", seed=weather.seed, drop_chance=DROP_CHANCE)
        for number in range(counts.get("web", 0))
    ]
    world.listen()
    return world


class Nemesis:
    """Strikes at random moments of the whole time; a process that is down is not struck again before it is back."""

    def __init__(self, deployment: Deployment, weather: Weather, say: Callable[[str], None]) -> None:
        self.sigkills = 0
        self.done: Counter[str] = Counter()
        self._deployment, self._say = deployment, say
        self._rng = random.Random(f"nemesis:{weather.seed}")
        self._locks = {name: asyncio.Lock() for name in deployment.servers}
        plan = [what for what, times in weather.strikes.items() for _ in range(times)]
        self._rng.shuffle(plan)
        moments = sorted(self._rng.uniform(0.03, 0.95) * weather.seconds for _ in plan)
        self._plan = list(zip(moments, plan, strict=True))

    async def strike(self) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as strikes:
            for moment, what in self._plan:
                await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
                strikes.create_task(self._do(what))

    async def _do(self, what: str) -> None:
        kind, _, where = what.partition(" ")
        if kind == "database":
            assert self._deployment.postgres is not None
            await asyncio.to_thread(self._deployment.postgres.restart)
        else:
            names = [name for name in self._deployment.servers if name.startswith(where.removeprefix("every "))]
            for name in names if where.startswith("every ") else [self._rng.choice(names)]:
                async with self._locks[name]:
                    await self._strike_one(kind, name)
        self.done[what] += 1

    async def _strike_one(self, kind: str, name: str) -> None:
        deployment = self._deployment
        match kind:
            case "kill":
                await deployment.kill(name)
                self.sigkills += 1
                await asyncio.sleep(self._rng.uniform(0, 2))
                await deployment.start(name)
            case "deploy":
                await deployment.deploy(name)
                await deployment.start(name)
            case "pause":
                await deployment.pause(name, self._rng.uniform(1, 10))
            case "freeze":  # longer than a lease
                await deployment.pause(name, 40)
            case _:
                raise ValueError(kind)


async def _told(world: World, weather: Weather, say: Callable[[str], None]) -> None:
    """Progress, twenty times."""
    for step in range(1, 21):
        await asyncio.sleep(weather.seconds / 20)
        pushed = [person for crowd in world.pushed.values() for person in crowd]
        acked = sum(told.acked_at is not None for person in pushed for told in person.told.values())
        owed = sum(len(person.owed()) for person in pushed)
        web = sum(client.acked for client in world.web)
        say(f"{step * 5} %: {acked + web} acknowledged; {owed} owed on Slack and WeChat")


async def _settle(world: World, deployment: Deployment, say: Callable[[str], None]) -> None:
    """Until nobody is owed an answer but what an operator is shown, or time is up: then the checker says so."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while time.monotonic() < deadline:
        unknown, _ = await deployment.unknown()
        owing = [one for crowd in world.pushed.values() for one in crowd if one.owed() - unknown]
        web = sum(client.owed() for client in world.web)
        say(f"settling: {len(owing)} customers are owed answers, {web} in the web chat; {len(unknown)} unknown")
        if not owing and not web:
            return
        # What WeChat's limits held back goes with the customer's next message.
        await asyncio.gather(*(one.visit() for one in owing if isinstance(one, WeChatCustomer)))
        await asyncio.sleep(2)


async def _judged(world: World, deployment: Deployment, nemesis: Nemesis, seconds: float) -> Aftermath:
    unknown, dead = await deployment.unknown()
    verdicts = {
        channel: check_talks([one.talk(unknown) for one in crowd]) for channel, crowd in world.pushed.items() if crowd
    }
    if world.web:
        seen = []
        for client in world.web:
            async with WebClient(deployment.urls, f"{client.name}-again", token=client.token) as reader:
                await reader.until(lambda: reader.last_seen >= client.last_seen, timeout_s=20)  # noqa: B023
                await asyncio.sleep(0.05)  # whatever comes after it
                seen.append(client.conversation_seen(reader))
        verdicts["web"] = check(seen)
    return Aftermath(
        verdicts=verdicts,
        unknown={
            channel: sum(len(one.owed() & unknown) for one in crowd) for channel, crowd in world.pushed.items() if crowd
        },
        dead=dead,
        sigkills=nemesis.sigkills,
        slack_lookups=sum(
            method in ("conversations.history", "conversations.replies") for method, _ in world.slack.calls
        ),
        strikes=dict(nemesis.done),
        connections=sum(client.connections for client in world.web),
        errors=dict(sum((client.errors for client in world.web), Counter())),
        seconds=round(seconds, 1),
    )
