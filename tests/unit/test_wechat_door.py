"""The address as strangers meet it: one 403 whatever they try, nothing stored, and never a 5xx."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from xml.parsers.expat import ExpatError

import httpx
import pytest
import xmltodict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from connectors.memory import MemoryPorts
from connectors.wechat import WeChat
from connectors.wechat_crypto import signature
from connectors.wechat_kf import WeChatKf
from connectors.wechat_options import WeChatKfOptions, WeChatOptions
from tests.wechat_side import AES_KEY, NOW, TOKEN, Account, credentials, message_xml

CORP_ID = "ww5823bf96d3bd56c7"
# Nothing here calls WeChat; a client of the real network reads the certificates anew for every example.
NOWHERE = httpx.MockTransport(lambda _: httpx.Response(500))


def account(mode: str, now: float = NOW, **changes: Any) -> tuple[Account, MemoryPorts]:
    """An address that thinks it is `now`, and WeChat's side of it."""
    given_keys = {"mode": mode, "replay_window_s": 900, **({} if mode == "plaintext" else {"aes_key": AES_KEY})}
    channel = WeChat(WeChatOptions.of(credentials(**given_keys | changes), {}), transport=NOWHERE, clock=lambda: now)
    ports = MemoryPorts(lambda message: [{"text": f"answer to {message.text}"}])
    transport = httpx.ASGITransport(Starlette(routes=channel.routes(ports)))
    return Account(http=httpx.AsyncClient(transport=transport, base_url="http://shop"), mode=mode), ports


MODES = ["plaintext", "compatible", "safe"]


@pytest.mark.parametrize("mode", MODES)
async def test_an_authentic_delivery_is_answered(mode: str) -> None:
    wechat, _ = account(mode)
    assert await wechat.ask(message_xml("hello")) == "answer to hello"


async def is_refused(wechat: Account, query: dict[str, str], body: str | bytes, ports: MemoryPorts) -> None:
    answer = await wechat.http.post("/webhooks/wechat", params=query, content=body)
    assert (answer.status_code, answer.text) == (403, "forbidden")
    assert await ports.last_seq("wechat:oia2TjjewbmiOUlr6X-1crbLOvLw") == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("without", ["timestamp", "nonce", "signature", "msg_signature"])
@pytest.mark.parametrize("value", [None, "", "x", "灯", "1" * 600, "\x00"])
async def test_no_parameter_can_be_left_out_or_changed(mode: str, without: str, value: str | None) -> None:
    wechat, ports = account(mode)
    query, body = wechat.delivery(message_xml("hello"))
    if without not in query:
        return
    del query[without]
    # The envelope's own signature says all that the other one does.
    if mode != "plaintext" and without == "signature" and value is None:
        assert (await wechat.http.post("/webhooks/wechat", params=query, content=body)).status_code == 200
        return
    await is_refused(wechat, query if value is None else query | {without: value}, body, ports)


@pytest.mark.parametrize("seconds", [-901, 901, 10**9])
async def test_a_request_of_another_time_is_refused(seconds: int) -> None:
    wechat, ports = account("safe", now=NOW + seconds)
    await is_refused(wechat, *wechat.delivery(message_xml("hello")), ports)
    check = await wechat.http.get("/webhooks/wechat", params=wechat.query(echostr="1"))
    assert check.status_code == 403
    generous, _ = account("safe", now=NOW + seconds, replay_window_s=0)
    assert await generous.ask(message_xml("hello")) == "answer to hello"


async def test_the_signature_of_the_query_does_not_stand_for_the_envelopes() -> None:
    wechat, ports = account("safe")
    query, body = wechat.delivery(message_xml("hello"))
    await is_refused(wechat, query | {"msg_signature": query["signature"]}, body, ports)


async def test_an_envelope_that_was_changed_is_refused() -> None:
    wechat, ports = account("safe")
    query, body = wechat.delivery(message_xml("hello"))
    outer = xmltodict.parse(body)["xml"]
    changed = outer["Encrypt"][:-5] + ("A" if outer["Encrypt"][-5] != "A" else "B") + outer["Encrypt"][-4:]
    await is_refused(wechat, query, xmltodict.unparse({"xml": outer | {"Encrypt": changed}}), ports)


async def test_in_compatible_mode_the_envelope_counts_and_not_what_stands_beside_it() -> None:
    wechat, _ = account("compatible")
    query, body = wechat.delivery(message_xml("hello"))
    answer = await wechat.http.post("/webhooks/wechat", params=query, content=body.replace("hello", "forged"))
    assert wechat.read(answer)["Content"] == "answer to hello"


async def test_safe_mode_believes_nothing_without_an_envelope() -> None:
    wechat, ports = account("safe")
    await is_refused(wechat, wechat.query(), message_xml("hello"), ports)
    await is_refused(wechat, wechat.query(encrypt_type="raw"), message_xml("hello"), ports)


@pytest.mark.parametrize("mode", MODES)
async def test_a_body_without_end_is_refused_before_it_is_read(mode: str) -> None:
    wechat, ports = account(mode)
    query, _ = wechat.delivery(message_xml("hello"))
    await is_refused(wechat, query, b"<xml>" + b" " * 70_000, ports)
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 10_000
            yield b" " * 10_000

    answer = await wechat.http.post("/webhooks/wechat", params=query, content=endless())
    assert answer.status_code == 403
    assert taken <= 100_000


async def test_a_refused_check_says_as_little() -> None:
    wechat, _ = account("plaintext")
    for query in ({}, {"echostr": "x"}, wechat.query(), wechat.query(echostr="") | {"nonce": "another"}):
        answer = await wechat.http.get("/webhooks/wechat", params=query)
        assert (answer.status_code, answer.text) == (403, "forbidden")


NAMES = st.sampled_from(
    ["signature", "msg_signature", "timestamp", "nonce", "encrypt_type", "echostr", "openid", "something"]
)
VALUES = st.one_of(st.text(max_size=60), st.sampled_from([str(NOW), "aes", "raw", "1e9", "²", "-1", "9" * 400]))
BODIES = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=400).map(lambda text: f"<xml><Encrypt>{text}</Encrypt></xml>".encode(errors="replace")),
    st.text(max_size=100).map(lambda text: message_xml("hello").replace("hello", text).encode(errors="replace")),
)


@given(method=st.sampled_from(["GET", "POST"]), query=st.dictionaries(NAMES, VALUES), body=BODIES)
async def test_strangers_meet_a_403_whatever_they_send(method: str, query: dict[str, str], body: bytes) -> None:
    for mode in MODES:
        wechat, ports = account(mode)
        answer = await wechat.http.request(method, "/webhooks/wechat", params=query, content=body)
        assert answer.status_code == 403
        assert not ports.waiting


FIELDS = st.sampled_from(
    ["MsgType", "Event", "EventKey", "Content", "MsgId", "FromUserName", "ToUserName", "bizmsgmenuid"]
)
WORDS = st.one_of(
    st.text(max_size=40), st.sampled_from(["event", "text", "CLICK", "kefu.answer.1", "1.1", "9" * 400, "灯" * 5_000])
)


@given(fields=st.dictionaries(FIELDS, WORDS), mode=st.sampled_from(MODES))
async def test_whatever_wechat_itself_may_send_is_never_an_error(fields: dict[str, str], mode: str) -> None:
    """Signed, so it is read: by then only an account that a customer shares with an attacker could have made it."""
    wechat, _ = account(mode)
    try:
        query, body = wechat.delivery(message_xml("hello", 1, **fields))
    except (ValueError, ExpatError):  # not a document that the peer can write
        return
    answer = await wechat.http.post("/webhooks/wechat", params=query, content=body.encode(errors="replace"))
    assert answer.status_code in {200, 400, 403}


async def test_signatures_of_two_tokens_are_not_confused() -> None:
    wechat, ports = account("plaintext", token=TOKEN + "B")
    await is_refused(wechat, *wechat.delivery(message_xml("hello")), ports)


# ---- 微信客服 ----


def kf() -> httpx.AsyncClient:
    options = WeChatKfOptions.of({"corp_id": CORP_ID, "secret": "s", "token": TOKEN, "aes_key": AES_KEY}, {})
    channel = WeChatKf(options, transport=NOWHERE, clock=lambda: NOW)
    transport = httpx.ASGITransport(Starlette(routes=channel.routes(MemoryPorts())))
    return httpx.AsyncClient(transport=transport, base_url="http://shop")


@given(method=st.sampled_from(["GET", "POST"]), query=st.dictionaries(NAMES, VALUES), body=BODIES)
async def test_kf_refuses_strangers_too(method: str, query: dict[str, str], body: bytes) -> None:
    async with kf() as http:
        answer = await http.request(method, "/webhooks/wechat/kf", params=query, content=body)
    assert answer.status_code == 403


async def test_kf_takes_nothing_in_plain_text() -> None:
    query = {"timestamp": str(NOW), "nonce": "n", "signature": signature(TOKEN, str(NOW), "n")}
    async with kf() as http:
        answer = await http.post("/webhooks/wechat/kf", params=query, content=message_xml("hello"))
        assert answer.status_code == 403
