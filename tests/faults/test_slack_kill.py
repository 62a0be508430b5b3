"""Kill the serving process while people write in Slack: what was acknowledged is answered once, and in order."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import slack_people as people
from tests.server import free_port
from tests.slack_people import Slacker
from tests.slack_server import FakeSlack, slack

PEOPLE, MESSAGES, KILLS, SEED = 8, 8, 4, 7
ANSWERS = {"/ask_hours": "we are open 9-5", "/goodbye": "bye"}
# A sender that was killed is believed dead after its lease of 30 seconds; the next kill may meet the same message.
PATIENCE_S = 180


@dataclass(kw_only=True)
class Process:
    """labbot's serving process; started again over the same database and port."""

    home: Path
    api_url: str
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.slack_lab", self.api_url),
            env={**os.environ, "KEFU_HOME": str(self.home), "KEFU_PORT": str(self.port)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert await asyncio.wait_for(self.process.stdout.readline(), 90) == b"listening\n"

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()


async def deliver(slacker: Slacker, payload: dict[str, object]) -> None:
    """As Slack: again until it is acknowledged."""
    for attempt in range(1_000):
        try:
            if (await slacker.event(payload, retry=attempt)).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("never acknowledged")


async def write(slacker: Slacker, person: str, texts: list[str]) -> None:
    """One message after the other; now and then Slack tells about one twice."""
    rng = random.Random(person)
    for text in texts:
        payload = people.event(people.direct(text, user=person))
        for _ in range(rng.choice([1, 1, 2])):
            await deliver(slacker, payload)
        await asyncio.sleep(rng.uniform(0.0, 3.0))


def said_to(fake: FakeSlack, person: str) -> list[str]:
    return [said.text for said in fake.posts if said.channel == "D" + person[1:]]


@pytest.mark.fault
async def test_kills_lose_and_double_nothing_in_slack(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    script = {f"U0P{number}": [rng.choice(list(ANSWERS)) for _ in range(MESSAGES)] for number in range(PEOPLE)}
    async with slack() as (fake, api_url), httpx.AsyncClient(timeout=5) as http:
        fake.answers_after_s = 0.2  # time to die between a post and its settling
        server = Process(home=tmp_path, api_url=api_url)
        await server.start()
        try:
            slacker = Slacker(http, f"http://127.0.0.1:{server.port}")
            writing = [asyncio.create_task(write(slacker, person, texts)) for person, texts in script.items()]
            for _ in range(KILLS):
                await fake.said(len(fake.posts) + rng.randint(1, 4), PATIENCE_S)
                await server.kill()
                await server.start()
            await asyncio.gather(*writing)
            await fake.until(
                lambda: all(len(said_to(fake, person)) >= len(texts) for person, texts in script.items()), PATIENCE_S
            )
        finally:
            await server.kill()
    expected = {person: [ANSWERS[text] for text in texts] for person, texts in script.items()}
    assert {person: said_to(fake, person) for person in script} == expected
    # Had no sender died after its post, this would have shown little.
    assert fake.calls_of("conversations.history")
    assert len(fake.calls_of("chat.postMessage")) == PEOPLE * MESSAGES
