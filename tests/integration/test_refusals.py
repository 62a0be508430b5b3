"""An address that signs wrongly again and again is told to wait; who signs rightly from there is served."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import httpx
import jwt
import pytest

from tests import slack_people
from tests.contract.telegram_platform import SECRET_HEADER
from tests.fuzz.requests import Answered, Asked, Wire
from tests.fuzz.shop import API_TOKEN, ORIGIN, TELEGRAM_SECRET, WIDGET_SECRET, Shop, open_shop, telegram_update
from tests.server import Server
from tests.wechat_side import event_xml

STRANGER, OTHER, LOCAL = ("203.0.113.7", 1), ("203.0.113.8", 1), ("127.0.0.1", 1)
PER_MIN = 30  # the default


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def slack(shop: Shop, is_right: bool) -> Asked:
    body = json.dumps(slack_people.event(slack_people.direct("/ask_hours")))
    headers = slack_people.signed(body, secret="guessed") if not is_right else slack_people.signed(body)
    given = tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
    return Asked(path="/webhooks/slack/events", body=body.encode(), headers=given)


def wechat(shop: Shop, is_right: bool) -> Asked:
    account = shop.account() if is_right else replace(shop.account(), token="guessed")
    return Asked(
        path="/webhooks/wechat", query=urlencode(account.query()).encode(), body=event_xml("unsubscribe").encode()
    )


def telegram(shop: Shop, is_right: bool) -> Asked:
    secret = TELEGRAM_SECRET if is_right else "guessed"
    body = json.dumps(telegram_update(1, 1)).encode()
    headers = ((SECRET_HEADER.lower().encode(), secret.encode()),)
    return Asked(path="/webhooks/telegram/webhook", body=body, headers=headers)


def rasas_api(shop: Shop, is_right: bool) -> Asked:
    headers = ((b"authorization", f"Bearer {API_TOKEN if is_right else 'guessed'}".encode()),)
    return Asked(path="/status", method="GET", headers=headers)


@pytest.mark.parametrize("make", [slack, wechat, telegram, rasas_api])
async def test_after_too_many_wrong_signatures_an_address_is_told_to_wait(
    shop: Shop, make: Callable[[Shop, bool], Asked]
) -> None:
    async def asked(is_right: bool, client: tuple[str, int]) -> Answered:
        return await shop.ask(replace(make(shop, is_right), client=client))

    statuses = [(await asked(False, STRANGER)).status for _ in range(PER_MIN)]
    assert set(statuses) <= {401, 403}
    limited = await asked(False, STRANGER)
    assert (limited.status, json.loads(limited.body)["reason"]) == (429, "TooManyRefusals")
    assert 0 < int(limited.headers["retry-after"]) <= 60
    assert (await asked(True, STRANGER)).status == 200
    assert (await asked(False, OTHER)).status == statuses[0]
    assert {(await asked(False, LOCAL)).status for _ in range(PER_MIN + 5)} == {statuses[0]}


async def test_a_page_of_another_origin_can_read_that_it_has_to_wait(shop: Shop) -> None:
    upload = Asked(path="/webchat/upload", headers=((b"origin", ORIGIN.encode()),), client=STRANGER)
    for _ in range(PER_MIN):
        assert (await shop.ask(upload)).status == 401
    limited = await shop.ask(upload)
    assert (limited.status, limited.headers["access-control-allow-origin"]) == (429, ORIGIN)
    assert "Retry-After" in limited.headers["access-control-expose-headers"]


def identity(secret: str) -> str:
    return jwt.encode({"email": "anna@shop.example", "exp": int(time.time()) + 60}, secret)


async def test_identities_that_are_not_valid_are_limited_and_the_chat_goes_on(shop: Shop) -> None:
    async def codes(wire: Wire, times: int) -> list[str]:
        for _ in range(times):
            wire.send(json.dumps({"type": "identify", "identity": identity("guessed " * 5)}))
        return [json.loads(await wire.next() or "{}")["code"] for _ in range(times)]

    wire = Wire(shop.lab.app, "/webchat/ws", STRANGER)
    wire.send(json.dumps({"type": "hello", "protocol": 1}))
    await wire.next()
    assert await codes(wire, PER_MIN + 1) == ["identity_invalid"] * PER_MIN + ["rate_limited"]
    wire.send(json.dumps({"type": "identify", "identity": identity(WIDGET_SECRET)}))
    wire.send(json.dumps({"type": "ping"}))
    assert json.loads(await wire.next() or "{}") == {"type": "pong"}  # no error: this one is believed
    await wire.close()


async def test_where_only_customers_are_served_a_guesser_is_sent_away_and_a_customer_is_not(tmp_path: Path) -> None:
    async with open_shop(tmp_path, widget_strict=True) as shop:

        async def greeted(token: str) -> dict[str, object]:
            wire = Wire(shop.lab.app, "/webchat/ws", STRANGER)
            wire.send(json.dumps({"type": "hello", "protocol": 1, "identity": token}))
            frame: dict[str, object] = json.loads(await wire.next() or "{}")
            await wire.close()
            return frame

        for _ in range(PER_MIN):
            assert (await greeted(identity("guessed " * 5)))["code"] == "identity_required"
        limited = await greeted(identity("guessed " * 5))
        assert limited["code"] == "rate_limited"
        assert limited["retry_after_s"]
        assert (await greeted(identity(WIDGET_SECRET)))["type"] == "welcome"


@pytest.mark.parametrize(("trusted", "last"), [("127.0.0.1", 429), ("192.0.2.1", 401)])
def test_the_address_is_a_trusted_proxys_word_and_nobody_elses(
    serve: Callable[..., Server], trusted: str, last: int
) -> None:
    """This machine itself is never told to wait, so what counts here is whom the header names."""
    server = serve(KEFU_TRUSTED_PROXIES=trusted, KEFU_REFUSALS_PER_MIN="2", KEFU_API_TOKEN=API_TOKEN)
    statuses = [
        httpx.get(f"{server.url}/status?token=guessed", headers={"X-Forwarded-For": "203.0.113.7"}).status_code
        for _ in range(3)
    ]
    assert statuses == [401, 401, last]
