"""Many workspaces: installing over OAuth, tokens that are encrypted, expire, are exchanged once, and are taken away."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from connectors.base import Delivered, OutboundMessage, RetryLater, SendResult, StateChange, Undeliverable
from connectors.memory import MemoryPorts
from connectors.slack import Slack
from connectors.slack_oauth import STARTS_PER_MIN
from connectors.slack_options import SlackOptions
from connectors.slack_workspaces import REFRESH_BEFORE_S, Installation, Seal
from tests import slack_people as people
from tests.slack_people import Slacker
from tests.slack_server import SECRET, Failure, FakeSlack, refusal, slack

KEY = b"the server's secret"
HOURS_12 = 43_200
ORGANISATION = {
    "ok": True, "access_token": "xoxb-org", "team": None, "enterprise": {"id": "E0CORP"}, "is_enterprise_install": True,
}  # fmt: skip


@dataclass(kw_only=True)
class Installable:
    """A bot that workspaces install, and a browser."""

    slack: FakeSlack
    api_url: str
    ports: MemoryPorts
    channel: Slack
    http: httpx.AsyncClient

    async def install(self, team: str = "T0SHOP", browser: httpx.AsyncClient | None = None) -> httpx.Response:
        browser = browser or self.http
        started = await browser.get("/webhooks/slack/oauth/start")
        assert started.status_code == 302
        state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
        return await browser.get("/webhooks/slack/oauth/callback", params={"code": f"code-{team}", "state": state})

    async def send(self, team: str = "T0SHOP", text: str = "hello") -> SendResult:
        message = OutboundMessage(
            outbox_id=1, conversation_id=1, sender_id=f"slack:{team}/D0ANNA", seq=1, author="bot",
            body={"text": text}, created_at=datetime.now(UTC),
        )  # fmt: skip
        return await self.channel.send(message, is_repeat=False)

    async def stored(self, team: str = "T0SHOP") -> str | None:
        return await self.ports.state.get(f"slack/install/{team}")


def grant_by(fake: FakeSlack, *, rotates: bool) -> None:
    """Give each code and each refresh token a bot token that the Web API takes."""
    numbers = itertools.count(1)

    def grant(fields: dict[str, str]) -> dict[str, Any]:
        if (fields["client_id"], fields["client_secret"]) != ("1.2", "client secret"):
            return {"ok": False, "error": "bad_client_secret"}
        team = fields.get("code", fields.get("refresh_token", "")).rpartition("-")[2]
        token = f"xoxe.xoxb-{next(numbers)}-{team}"
        fake.tokens[token] = team
        answer = {"ok": True, "access_token": token, "team": {"id": team}, "bot_user_id": "U0BOT", "enterprise": None}
        return answer | ({"refresh_token": f"xoxe-{token}", "expires_in": HOURS_12} if rotates else {})

    fake.answers["oauth.v2.access"] = grant


@asynccontextmanager
async def installable(*, rotates: bool = False, **more: Any) -> AsyncIterator[Installable]:
    async with slack() as (fake, api_url):
        grant_by(fake, rotates=rotates)
        options = SlackOptions(
            signing_secret=SECRET, client_id="1.2", client_secret="client secret", api_url=api_url, **more
        )
        ports = MemoryPorts()
        channel = Slack(options, KEY)
        transport = httpx.ASGITransport(Starlette(routes=channel.routes(ports)))
        async with httpx.AsyncClient(transport=transport, base_url="https://bot.example") as http:
            yield Installable(slack=fake, api_url=api_url, ports=ports, channel=channel, http=http)


@pytest.fixture
async def bot() -> AsyncIterator[Installable]:
    async with installable() as made:
        yield made


async def age(bot: Installable, left_s: float, team: str = "T0SHOP") -> None:
    """Let the workspace's token live only so much longer."""
    key, seal = f"slack/install/{team}", Seal(KEY)
    read = seal.open(await bot.stored(team) or "", key)
    assert read is not None
    changed = json.dumps({**json.loads(read), "expires_at": time.time() + left_s})
    await bot.ports.receive([], [StateChange(key=key, value=seal.close(changed, key))])


# ---- installing ----


async def test_each_workspace_is_answered_with_its_own_token(bot: Installable) -> None:
    for team in ("T0SHOP", "T0BANK"):
        installed = await bot.install(team)
        assert installed.status_code == 200, installed.text
    assert isinstance(await bot.send("T0BANK"), Delivered)
    assert isinstance(await bot.send("T0SHOP"), Delivered)
    assert bot.slack.used == ["xoxe.xoxb-2-T0BANK", "xoxe.xoxb-1-T0SHOP"]
    assert isinstance(await bot.send("T0OTHER"), Undeliverable)


async def test_the_browser_is_sent_to_slack_with_what_the_app_needs(bot: Installable) -> None:
    started = await bot.http.get("/webhooks/slack/oauth/start")
    address = urlsplit(started.headers["location"])
    query = parse_qs(address.query)
    assert (address.netloc, address.path, query["client_id"]) == ("slack.com", "/oauth/v2/authorize", ["1.2"])
    assert "chat:write" in query["scope"][0].split(",")
    assert "client secret" not in started.headers["location"]
    assert "HttpOnly" in started.headers["set-cookie"]
    assert "Secure" in started.headers["set-cookie"]


async def test_no_token_lies_in_clear(bot: Installable) -> None:
    await bot.install()
    sealed = await bot.stored()
    assert sealed is not None
    assert "xox" not in sealed
    # Moved to another workspace's place, or read with another secret, it opens nothing.
    assert Seal(KEY).open(sealed, "slack/install/T0SHOP") is not None
    assert Seal(KEY).open(sealed, "slack/install/T0BANK") is None
    assert Seal(b"another").open(sealed, "slack/install/T0SHOP") is None


async def test_a_state_counts_once_in_its_own_browser_and_not_for_long(bot: Installable) -> None:
    started = await bot.http.get("/webhooks/slack/oauth/start")
    state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
    back = {"code": "code-T0SHOP", "state": state}
    app = bot.http._transport
    async with httpx.AsyncClient(transport=app, base_url="https://bot.example") as stranger:
        assert (await stranger.get("/webhooks/slack/oauth/callback", params=back)).status_code == 400
    cookie = {"cookie": f"kefu_slack_install={state}"}  # a browser that keeps what it was told to forget
    answers = [await bot.http.get("/webhooks/slack/oauth/callback", params=back, headers=cookie) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert len(bot.slack.calls_of("oauth.v2.access")) == 1

    started = await bot.http.get("/webhooks/slack/oauth/start")
    state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
    begun = StateChange(key=f"slack/oauth/{sha256(state.encode()).hexdigest()}", value=f"{time.time() - 601:.0f}")
    assert await bot.ports.state.get(begun.key)
    await bot.ports.receive([], [begun])
    answer = await bot.http.get("/webhooks/slack/oauth/callback", params={"code": "c", "state": state})
    assert answer.status_code == 400


async def test_what_slack_or_a_person_refuses_is_said(bot: Installable) -> None:
    bot.slack.fail("oauth.v2.access", refusal("invalid_code"), Failure())
    assert (await bot.install()).status_code == 400
    assert (await bot.install()).status_code == 503
    started = await bot.http.get("/webhooks/slack/oauth/start")
    state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
    denied = {"error": "access_denied", "state": state}
    assert (await bot.http.get("/webhooks/slack/oauth/callback", params=denied)).status_code == 400
    assert await bot.stored() is None


async def test_beginning_is_limited(bot: Installable) -> None:
    codes = [(await bot.http.get("/webhooks/slack/oauth/start")).status_code for _ in range(STARTS_PER_MIN + 1)]
    assert codes == [302] * STARTS_PER_MIN + [429]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["state", "code", "error"]), st.text()), st.text(alphabet='abc=;"', max_size=20))
async def test_a_callback_of_a_stranger_is_refused(bot: Installable, query: dict[str, str], cookie: str) -> None:
    headers = {"cookie": f"kefu_slack_install={cookie}"}
    answer = await bot.http.get("/webhooks/slack/oauth/callback", params=query, headers=headers)
    assert answer.status_code == 400


# ---- an organisation ----


async def test_an_organisation_s_token_speaks_in_its_workspaces(bot: Installable) -> None:
    bot.slack.tokens["xoxb-org"] = "E0CORP"
    bot.slack.answers["oauth.v2.access"] = ORGANISATION
    await bot.install()
    assert isinstance(await bot.send(), Undeliverable)
    whole = [{"enterprise_id": "E0CORP", "user_id": "U0BOT", "is_bot": True, "is_enterprise_install": True}]
    await Slacker(bot.http).event(people.event(people.direct("hello"), authorizations=whole))
    assert isinstance(await bot.send(), Delivered)


async def test_an_organisation_s_first_word_may_be_a_command(bot: Installable) -> None:
    bot.slack.tokens["xoxb-org"] = "E0CORP"
    bot.slack.answers["oauth.v2.access"] = ORGANISATION
    await bot.install()
    corporate = people.command("human", enterprise_id="E0CORP", is_enterprise_install="true")
    answer = await Slacker(bot.http).form(corporate)
    assert "direct message" in answer.json()["text"]
    assert [message.text for message in bot.ports.waiting.values()] == ["talk to human"]


# ---- tokens that expire ----


async def test_a_token_is_exchanged_before_it_expires_and_once_for_everybody() -> None:
    async with installable(rotates=True) as bot:
        await bot.install()
        await bot.send()
        assert len(bot.slack.calls_of("oauth.v2.access")) == 1
        await age(bot, REFRESH_BEFORE_S - 1)
        results = await asyncio.gather(*(bot.send() for _ in range(3)))
        assert all(isinstance(result, Delivered) for result in results)
        exchange = bot.slack.calls_of("oauth.v2.access")[1:]
        assert [fields["grant_type"] for fields in exchange] == ["refresh_token"]
        await bot.send()
        assert bot.slack.used[-1] == "xoxe.xoxb-2-T0SHOP"


async def test_while_slack_cannot_exchange_it_the_old_token_is_used_as_long_as_it_lives() -> None:
    async with installable(rotates=True) as bot:
        await bot.install()
        await age(bot, 60)
        bot.slack.fail("oauth.v2.access", Failure(), Failure())
        assert isinstance(await bot.send(), Delivered)
        await age(bot, -1)
        assert isinstance(await bot.send(), RetryLater)


async def test_a_token_that_slack_calls_expired_is_exchanged() -> None:
    async with installable(rotates=True) as bot:
        await bot.install()
        bot.slack.fail("chat.postMessage", refusal("token_expired"))
        assert isinstance(await bot.send(), RetryLater)
        assert isinstance(await bot.send(), Delivered)
        assert bot.slack.used[-1] == "xoxe.xoxb-2-T0SHOP"


# ---- taken away ----


@pytest.mark.parametrize(
    "event", [{"type": "app_uninstalled"}, {"type": "tokens_revoked", "tokens": {"bot": ["U0BOT"]}}]
)
async def test_a_workspace_that_removes_the_app_is_not_answered_until_it_installs_it_again(
    bot: Installable, event: dict[str, Any]
) -> None:
    await bot.install()
    slacker = Slacker(bot.http)
    removal = people.event(event, event_time=int(time.time()) + 5)
    assert (await slacker.event(removal)).status_code == 200
    assert isinstance(await bot.send(), Undeliverable)
    await bot.install()
    assert isinstance(await bot.send(), Delivered)
    # Slack tells about the first removal again; it is older than the new installation.
    await slacker.event(people.event(event, event_time=int(time.time()) - 5))
    assert isinstance(await bot.send(), Delivered)


def test_what_slack_answers_is_an_installation() -> None:
    answer = {"access_token": "xoxb-1", "team": {"id": "T1"}, "expires_in": HOURS_12, "refresh_token": "xoxe-1"}
    made = Installation.of(answer, 1_000.0)
    assert (made.id, made.expires_at) == ("T1", 44_200.0)
    assert not made.is_due(1_000.0)
    assert made.is_due(44_200.0 - REFRESH_BEFORE_S + 1)
