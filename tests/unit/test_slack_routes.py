"""Slack's HTTP routes: what is verified before it is read, and that no request ends in a 500."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from connectors.memory import MemoryPorts
from connectors.slack import Slack
from connectors.slack_http import MAX_BODY_BYTES
from connectors.slack_options import SlackOptions
from connectors.slack_signature import signature_of
from tests import slack_people as people
from tests.slack_people import Slacker, signed
from tests.slack_server import BOT_TOKEN, SECRET, Said, slack

PATHS = ("events", "webhook", "interactivity", "commands")
NOWHERE = "http://127.0.0.1:9/api/"  # nothing listens there: a call fails at once


def client(ports: MemoryPorts, **more: Any) -> httpx.AsyncClient:
    options = SlackOptions(**{"signing_secret": SECRET, "bot_token": BOT_TOKEN, "api_url": NOWHERE, **more})
    app = Starlette(routes=Slack(options, b"secret of the tests").routes(ports))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.fixture
def ports() -> MemoryPorts:
    return MemoryPorts()


@pytest.fixture
async def http(ports: MemoryPorts) -> AsyncIterator[httpx.AsyncClient]:
    async with client(ports) as opened:
        yield opened


@pytest.fixture
def slacker(http: httpx.AsyncClient) -> Slacker:
    return Slacker(http)


async def test_the_url_is_verified_after_the_signature(http: httpx.AsyncClient, slacker: Slacker) -> None:
    question = {"type": "url_verification", "challenge": "3eZbrw1a"}
    answer = await slacker.event(question)
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1a"})
    assert (await http.post("/webhooks/slack/events", json=question)).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_takes_every_kind_of_request(path: str, ports: MemoryPorts, slacker: Slacker) -> None:
    assert (await slacker.event(people.event(people.direct("hello")), path)).status_code == 200
    help_text = await slacker.form(people.command("help"), path)
    assert "/kefu human" in help_text.json()["text"]
    assert len(ports.waiting) == 1


async def test_an_unsigned_or_old_request_is_refused_and_not_wanted_again(
    http: httpx.AsyncClient, ports: MemoryPorts
) -> None:
    body = json.dumps(people.event(people.direct("hello")))
    for headers in ({}, signed(body, secret="another"), signed(body, at=1_000_000_000), signed(body + " ")):
        answer = await http.post("/webhooks/slack/events", content=body, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["x-slack-no-retry"] == "1"
    assert not ports.waiting


async def test_too_large_a_body_is_not_read(http: httpx.AsyncClient) -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        for number in range(100):
            read.append(number)
            yield b"x" * 65_536

    answer = await http.post("/webhooks/slack/events", content=endless())
    assert answer.status_code == 413
    assert len(read) < 30
    said = {"content-length": str(MAX_BODY_BYTES + 1)}
    assert (await http.post("/webhooks/slack/events", content=b"{}", headers=said)).status_code == 413


async def test_back_pressure_is_said_and_slack_may_come_again() -> None:
    async with client(MemoryPorts(max_waiting=0)) as http:
        answer = await Slacker(http).event(people.event(people.direct("hello")))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert "x-slack-no-retry" not in answer.headers


async def test_without_a_signing_secret_nothing_is_served(ports: MemoryPorts) -> None:
    options = SlackOptions(app_token="xapp-1", bot_token=BOT_TOKEN, api_url=NOWHERE)
    app = Starlette(routes=Slack(options, b"secret").routes(ports))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        assert (await http.get("/webhooks/slack/")).json() == {"status": "ok"}
        assert (await http.post("/webhooks/slack/events", content=b"{}")).status_code == 404


async def test_it_is_the_bot_s_only_where_somebody_speaks_to_it(ports: MemoryPorts, slacker: Slacker) -> None:
    await slacker.event(people.event(people.in_channel("just talking")))
    await slacker.event(people.event(people.in_channel("in a thread of theirs", thread_ts="1700000000.000001")))
    assert not ports.waiting
    asked = people.in_channel("hello <@U0BOT>")
    await slacker.event(people.event(asked))
    await slacker.event(people.event(people.in_channel("and this?", thread_ts=asked["ts"])))
    await slacker.event(people.event(people.in_channel("<@U0BERT> do you know?", thread_ts=asked["ts"])))
    assert [message.text for message in ports.waiting.values()] == ["hello", "and this?"]
    assert {message.sender_id for message in ports.waiting.values()} == {f"slack:T0SHOP/C0HELP/{asked['ts']}"}


async def test_an_open_channel_needs_no_mention_and_a_channel_may_do_without_threads() -> None:
    ports = MemoryPorts()
    async with client(ports, open_channel="C0HELP", has_threads=False) as http:
        await Slacker(http).event(people.event(people.in_channel("hello")))
        await Slacker(http).event(people.event(people.in_channel("hello too", user="U0BERT")))
    senders = [message.sender_id for message in ports.waiting.values()]
    assert senders == ["slack:T0SHOP/C0HELP/U0ANNA", "slack:T0SHOP/C0HELP/U0BERT"]


async def test_a_thread_of_a_direct_message_is_the_same_conversation_unless_it_is_the_app_s_panel(
    ports: MemoryPorts, slacker: Slacker
) -> None:
    await slacker.event(people.event(people.direct("plain", thread_ts="1.1")))
    thread = {"user_id": "U0ANNA", "channel_id": "D0ANNA", "thread_ts": "2.2"}
    await slacker.event(people.event({"type": "assistant_thread_started", "assistant_thread": thread}))
    await slacker.event(people.event(people.direct("in the panel", thread_ts="2.2")))
    senders = [message.sender_id for message in ports.waiting.values()]
    assert senders == ["slack:T0SHOP/D0ANNA", "slack:T0SHOP/D0ANNA/2.2"]


async def test_files_are_passed_on_and_a_post_of_files_alone_names_them(ports: MemoryPorts, slacker: Slacker) -> None:
    file = {"id": "F1", "name": "bill.pdf", "mimetype": "application/pdf", "size": 12, "url_private": "https://f/1"}
    await slacker.event(people.event(people.direct("", subtype="file_share", files=[file])))
    [message] = ports.waiting.values()
    assert message.text == "[bill.pdf]"
    assert message.metadata["attachments"] == [
        {"id": "F1", "name": "bill.pdf", "media_type": "application/pdf", "size": 12, "url": "https://f/1"}
    ]


async def test_a_post_that_is_too_long_is_cut_and_an_empty_one_left_out(ports: MemoryPorts, slacker: Slacker) -> None:
    for text in ("灯" * 4_001, "", " <@U0BOT> \x00"):
        assert (await slacker.event(people.event(people.direct(text)))).status_code == 200
    [message] = ports.waiting.values()
    assert (len(message.text), message.metadata["is_cut"]) == (4_000, True)


async def test_a_press_is_the_customer_s_message_once(ports: MemoryPorts, slacker: Slacker) -> None:
    asked = people.mention("hello")
    await slacker.event(people.event(asked))
    said = Said(channel="C0HELP", ts="1700000000.000002", text="Sure?", thread_ts=asked["ts"])
    pressed = people.press(said, {"type": "button", "value": "/affirm", "text": {"type": "plain_text", "text": "Yes"}})
    for _ in range(3):
        answer = await slacker.press(pressed)
        assert (answer.status_code, answer.text) == (200, "")
    first, press = ports.waiting.values()
    assert (press.text, press.metadata["title"], press.sender_id) == ("/affirm", "Yes", first.sender_id)


async def test_a_status_is_shown_in_the_thread_while_an_answer_is_made(ports: MemoryPorts) -> None:
    async with slack() as (fake, api_url), client(ports, api_url=api_url) as http:
        asked = people.mention("hello")
        await Slacker(http).event(people.event(asked))
        [fields] = await fake.called("assistant.threads.setStatus")
        assert fields == {"channel_id": "C0HELP", "thread_ts": asked["ts"], "status": "is typing…"}


async def test_a_command_goes_through_the_inbox_into_the_direct_message(ports: MemoryPorts) -> None:
    async with slack() as (_, api_url), client(ports, api_url=api_url) as http:
        texts = []
        for word in ("human", "RESET", "what?", ""):
            answer = await Slacker(http).form(people.command(word))
            assert (answer.status_code, answer.json()["response_type"]) == (200, "ephemeral")
            texts.append(answer.json()["text"])
        assert texts[0] == texts[1]
        assert "/kefu reset" in texts[2] == texts[3]
    assert [(message.text, message.sender_id) for message in ports.waiting.values()] == [
        ("talk to human", "slack:T0SHOP/D0ANNA"),
        ("/restart", "slack:T0SHOP/D0ANNA"),
    ]


async def test_a_command_says_so_where_there_is_no_direct_message(ports: MemoryPorts, slacker: Slacker) -> None:
    assert "did not work" in (await slacker.form(people.command("human"))).json()["text"]
    assert not ports.waiting


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SHAPED = st.builds(
    lambda inner, field, value: people.event({**people.direct("x"), **inner}) | {field: value},
    st.dictionaries(st.sampled_from(["type", "channel", "ts", "user", "text", "files", "thread_ts"]), ANYTHING),
    st.sampled_from(["team_id", "event", "authorizations", "type", "challenge"]),
    ANYTHING,
)
BODIES = st.one_of(
    st.binary(),
    st.text().map(str.encode),
    ANYTHING.map(json.dumps).map(str.encode),
    SHAPED.map(json.dumps).map(str.encode),
    ANYTHING.map(lambda value: urlencode({"payload": json.dumps(value)}).encode()),
    st.dictionaries(st.sampled_from(list(people.command("x"))), st.text()).map(lambda form: urlencode(form).encode()),
    st.just(b'{"a":' * 3_000 + b"1" + b"}" * 3_000),
)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Slack-Signature", "X-Slack-Request-Timestamp", "Content-Type"]),
    st.binary(max_size=40).filter(lambda value: not set(value) & {0, 10, 13}),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS), body=BODIES, headers=HEADERS, is_signed=st.booleans())
async def test_no_request_ends_in_a_500(
    http: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, bytes], is_signed: bool
) -> None:
    if is_signed:
        # slack_sdk's signer takes text only, so that here it is our own, which is compared with it elsewhere.
        now = str(int(time.time()))
        proof = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature_of(body, now, SECRET)}
        headers = {**headers, **{name: value.encode() for name, value in proof.items()}}
    raw_headers = [(name.encode(), value) for name, value in headers.items()]
    answer = await http.post(f"/webhooks/slack/{path}", content=body, headers=raw_headers)
    assert answer.status_code < 500
    assert is_signed or answer.status_code == 401


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(method=st.sampled_from(["PUT", "DELETE", "GET", "PATCH"]), path=st.sampled_from(PATHS))
async def test_other_methods_are_refused(http: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await http.request(method, f"/webhooks/slack/{path}")).status_code == 405
