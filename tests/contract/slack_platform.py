"""Slack for the connector suite: a person in a direct message, over the tests' own Web API."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from connectors.base import PushConnector
from connectors.memory import MemoryPorts
from connectors.slack import Slack
from connectors.slack_options import SlackOptions
from tests import slack_people as people
from tests.server import free_port
from tests.serving import channel_app, serving
from tests.slack_people import Slacker
from tests.slack_server import BOT_TOKEN, SECRET, Failure, FakeSlack, refusal, slack, too_many


class SlackCustomer:
    """Anna. A post in Slack is known by its time stamp; its metadata is another thing than Rasa's."""

    def __init__(self, connector: Slack, fake: FakeSlack, slacker: Slacker, http: httpx.AsyncClient, url: str) -> None:
        self.connector = connector
        self._fake, self._slacker, self._http, self._url = fake, slacker, http, url

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        ts = f"1700000000.{zlib.crc32(key.encode()):010d}"
        answer = await self._slacker.event(people.event(people.direct(text, ts=ts, metadata=metadata)))
        return {200: "ok", 503: "busy"}[answer.status_code]

    async def heard(self) -> list[str]:
        return [said.text for said in self._fake.posts]

    async def forge(self) -> int:
        event = people.event(people.direct("hello"))
        return (await self._http.post(f"{self._url}/webhooks/slack/events", json=event)).status_code

    def meet(self, *troubles: str | None) -> None:
        answers = {"slow down": too_many(3), "gone": refusal("channel_not_found"), "broken off": Failure()}
        self._fake.fail("chat.postMessage", *(answers[trouble] if trouble else None for trouble in troubles))

    def unreachable(self) -> PushConnector:
        return _slack(f"http://127.0.0.1:{free_port()}/api/")


def _slack(api_url: str) -> Slack:
    options = SlackOptions(signing_secret=SECRET, bot_token=BOT_TOKEN, posts_per_s=1_000, api_url=api_url)
    return Slack(options, b"secret of the contract suite")


@asynccontextmanager
async def slack_direct(ports: MemoryPorts) -> AsyncIterator[SlackCustomer]:
    """A workspace with the bot in it."""
    async with slack() as (fake, api_url), httpx.AsyncClient() as http:
        connector = _slack(api_url)
        async with serving(channel_app(connector.routes(ports))) as address:
            url = f"http://{address}"
            yield SlackCustomer(connector, fake, Slacker(http, url), http, url)
