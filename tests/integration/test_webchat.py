"""The web chat's wire protocol, spoken by the `websockets` library with a real server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from connectors.base import BadRequest, InboundMessage, OutboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from connectors.visitors import IdentityRefused, new_visitor_id, read_identity, read_visitor, visitor_token
from connectors.webchat import CLOSE_FORBIDDEN, WebChat
from connectors.webchat_frames import ClientFrame, ErrorCode, FrameError, parse_frame
from connectors.webchat_session import CLOSE_ANONYMOUS, CLOSE_BAD_HELLO, CLOSE_TOO_SLOW, SocketLimits
from tests.chat_client import chat, said
from tests.serving import serving

pytestmark = pytest.mark.both_databases

SECRET = b"the server's secret of this test"
WIDGET_SECRET = "the widget's secret of this test, which is long enough for HS384"
BRAND = {"name": {"en": "Lantern & Loom", "zh": "灯与织"}}
PROTOCOL_DOC = Path(__file__).parents[2] / "docs" / "webchat-protocol.md"


@dataclass
class Bot:
    """Answers at once and keeps what it was given."""

    received: list[InboundMessage] = field(default_factory=list)

    def __call__(self, message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        self.received.append(message)
        return [{"text": f"You said {message.text}"}]


def web_chat(**options: Any) -> WebChat:
    limits = SocketLimits(**options.pop("limits", {}))
    brand = options.pop("brand", lambda: BRAND)
    return WebChat(brand, SECRET, socket_limits=limits, **{"widget_secret": WIDGET_SECRET, **options})


@asynccontextmanager
async def shop(ports: MemoryPorts, **options: Any) -> AsyncIterator[str]:
    async with serving(Starlette(routes=web_chat(**options).routes(ports))) as address:
        yield address


# ---- sending and receiving ----


async def test_a_turn_on_one_socket() -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address, chat(address, language="zh-CN") as client:
        assert client.welcome["last_seq"] == 0
        assert client.welcome["brand"] == BRAND
        await client.send("send", client_msg_id="first-message", text="你好")
        ack = await client.expect("ack")
        echo, answer = [*(f for f in client.passed if f["type"] == "message"), *(await client.messages(2))][:2]
    assert ack == {"type": "ack", "client_msg_id": "first-message", "seq": 1}
    assert (echo["seq"], echo["author"], echo["client_msg_id"], said(echo)) == (1, "customer", "first-message", "你好")
    assert (answer["seq"], answer["author"], said(answer)) == (2, "bot", "You said 你好")
    assert "client_msg_id" not in answer
    assert datetime.fromisoformat(answer["created_at"]).utcoffset() == timedelta(0)
    [message] = bot.received
    assert (message.channel, message.input_channel, message.language_hint) == ("web", "web", "zh")
    assert message.sender_id == client.welcome["conversation"] == f"web:{message.customer}"


async def test_the_same_message_again_is_stored_and_answered_once() -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address:
        acks = []
        token = None
        for _ in range(3):
            async with chat(address, visitor=token) as client:
                token = client.welcome["visitor"]
                await client.send("send", client_msg_id="same-message", text="hello")
                acks.append((await client.expect("ack"))["seq"])
    assert acks == [1, 1, 1]
    assert len(bot.received) == 1


async def test_the_same_client_id_of_another_visitor_is_another_message() -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address:
        for _ in range(2):
            async with chat(address) as client:
                await client.send("send", client_msg_id="same-message", text="hello")
                await client.expect("ack")
    assert len({message.sender_id for message in bot.received}) == 2


async def test_a_button_is_shown_by_its_title() -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address, chat(address) as client:
        await client.send(
            "send", client_msg_id="press-one", payload="/order_status", title="Where is my order?", language="zh"
        )
        [echo] = await client.messages(1)
    assert said(echo) == "Where is my order?"
    [message] = bot.received
    assert (message.text, message.metadata, message.language_hint) == (
        "/order_status",
        {"title": "Where is my order?"},
        "zh",
    )


async def test_rich_bodies_arrive_as_parts() -> None:
    body = {"text": "Sure?", "buttons": [{"title": "Yes", "payload": "/affirm"}]}
    async with shop(MemoryPorts(lambda _: [body])) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x")
        [_, answer] = await client.messages(2)
    assert answer["parts"] == [
        {"type": "buttons", "text": "Sure?", "buttons": [{"title": "Yes", "payload": "/affirm"}]}
    ]


async def test_typing_begins_with_the_hint_and_ends_with_the_answer() -> None:
    ports = MemoryPorts()
    async with shop(ports) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x")
        await client.expect("ack")
        ports.typing(client.welcome["conversation"])
        assert (await client.expect("typing"))["on"] is True
        ports.reply(1, [{"text": "there"}])
        assert (await client.expect("typing"))["on"] is False


async def test_typing_ends_when_nothing_is_said() -> None:
    ports = MemoryPorts()
    async with shop(ports, limits={"typing_for_s": 0.05, "reread_every_s": 0.02}) as address, chat(address) as client:
        ports.typing(client.welcome["conversation"])
        assert (await client.expect("typing"))["on"] is True
        assert (await client.expect("typing"))["on"] is False


async def test_seen_confirms_what_was_sent_and_no_more() -> None:
    ports = MemoryPorts(Bot())
    async with shop(ports) as address, chat(address) as client:
        await client.send("send", client_msg_id="first-one", text="x")
        await client.messages(2)
        await client.send("seen", seq=1_000)
        await client.send("ping")
        await client.expect("pong")
        sender_id = client.welcome["conversation"]
        assert ports.is_confirmed(sender_id, 2)
        await client.send("send", client_msg_id="second-one", text="x")
        await client.messages(2)
        assert not ports.is_confirmed(sender_id, 3)


# ---- resuming ----


async def talk(address: str, turns: int) -> str:
    """A new visitor's token, after that many turns (two entries each)."""
    async with chat(address) as client:
        for turn in range(turns):
            await client.send("send", client_msg_id=f"turn-number-{turn}", text=f"message {turn}")
            await client.messages(2)
        token: str = client.welcome["visitor"]
        return token


@pytest.mark.parametrize("resume_from", [0, 1, 3, 5, 6])
async def test_resuming_gets_what_is_missing_once_and_in_order(resume_from: int) -> None:
    async with shop(MemoryPorts(Bot()), limits={"transcript_page": 2}) as address:
        token = await talk(address, 3)
        async with chat(address, visitor=token, resume_from=resume_from) as client:
            await client.send("send", client_msg_id="last-message", text="end")
            frames = await client.messages(6 - resume_from + 2)
    assert client.welcome["last_seq"] == 6
    assert [frame["seq"] for frame in frames] == list(range(resume_from + 1, 9))


async def test_history_limits_what_a_new_page_gets() -> None:
    async with shop(MemoryPorts(Bot())) as address:
        token = await talk(address, 3)
        async with chat(address, visitor=token, history=2) as client:
            assert client.welcome["resume_from"] == 4
            assert [frame["seq"] for frame in await client.messages(2)] == [5, 6]


async def test_a_client_ahead_of_the_server_is_told_to_start_again() -> None:
    async with shop(MemoryPorts(Bot())) as address:
        token = await talk(address, 1)
        async with chat(address, visitor=token, resume_from=7) as client:
            assert (await client.expect("resync"))["last_seq"] == 2
            assert [frame["seq"] for frame in await client.messages(2)] == [1, 2]


class ErasedPorts(MemoryPorts):
    """The first entries are gone, as after a retention run."""

    async def transcript(self, sender_id: str, after_seq: int, limit: int = 200) -> list[OutboundMessage]:
        return await super().transcript(sender_id, max(after_seq, 4), limit)


async def test_a_gap_is_a_resync_never_silence() -> None:
    ports = ErasedPorts(Bot())
    sender = new_visitor_id()
    token = visitor_token(sender, SECRET)
    for number in range(3):
        await ports.receive([_inbound(sender, f"message-{number}")])
    async with shop(ports) as address, chat(address, visitor=token, resume_from=2) as client:
        await client.expect("resync")
        assert [frame["seq"] for frame in await client.messages(2)] == [5, 6]


def _inbound(visitor: str, key: str) -> InboundMessage:
    return InboundMessage(
        channel="web",
        account="",
        external_id=f"{visitor}:{key}",
        customer=visitor,
        sender_id=f"web:{visitor}",
        text="x",
        received_at=datetime.now(UTC),
    )


async def test_two_pages_of_one_visitor_see_the_same() -> None:
    async with (
        shop(MemoryPorts(Bot())) as address,
        chat(address) as one,
        chat(address, visitor=one.welcome["visitor"]) as other,
    ):
        await other.send("send", client_msg_id="from-other", text="hello")
        assert [frame["seq"] for frame in await one.messages(2)] == [1, 2]
        assert [frame["seq"] for frame in await other.messages(2)] == [1, 2]


class SilentPorts(MemoryPorts):
    """Every wake-up is lost."""

    def subscribe(self, sender_id: str, wake: Callable[[str], None]) -> Callable[[], None]:
        return lambda: None


async def test_a_lost_wake_up_only_delays() -> None:
    ports = SilentPorts()
    async with shop(ports, limits={"reread_every_s": 0.02}) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x")
        await client.messages(1)
        ports.reply(1, [{"text": "late"}])
        assert said((await client.messages(1))[0]) == "late"


async def test_a_restart_of_the_server_loses_and_repeats_nothing() -> None:
    ports = MemoryPorts(Bot())
    async with shop(ports) as address:
        token = await talk(address, 2)
        port = int(address.rpartition(":")[2])
    restarted = Starlette(routes=web_chat().routes(ports))
    async with serving(restarted, port) as address, chat(address, visitor=token, resume_from=3) as client:
        assert [frame["seq"] for frame in await client.messages(1)] == [4]


# ---- who may see what ----


@pytest.mark.parametrize(
    "forge", ["", "{id}", "{id}.", "{id}.AAAA", "{id}.{other}", "{token}A", "x" * 200, "é" * 22 + ".é"]
)
async def test_a_token_that_we_did_not_sign_opens_a_new_conversation(forge: str) -> None:
    async with shop(MemoryPorts(Bot())) as address:
        token = await talk(address, 1)
        other = visitor_token(new_visitor_id(), SECRET).partition(".")[2]
        forged = forge.format(id=token.partition(".")[0], other=other, token=token)
        async with chat(address, visitor=forged) as client:
            assert client.welcome["last_seq"] == 0
            assert client.welcome["visitor"].partition(".")[0] != token.partition(".")[0]


def test_visitor_tokens_hold_for_one_secret_only() -> None:
    visitor = new_visitor_id()
    assert read_visitor(visitor_token(visitor, SECRET), SECRET) == visitor
    assert read_visitor(visitor_token(visitor, SECRET), b"another secret") is None
    assert web_chat().sender_of(visitor_token(visitor, SECRET)) == f"web:{visitor}"
    assert web_chat().sender_of(visitor) is None


def identity_token(**claims: Any) -> str:
    secret = claims.pop("secret", WIDGET_SECRET)
    algorithm = claims.pop("algorithm", "HS256")
    expires = datetime.now(UTC) + timedelta(minutes=5)
    return jwt.encode({"email": "anna@a.example", "exp": expires, **claims}, secret, algorithm)


async def test_the_shops_word_for_who_the_visitor_is() -> None:
    bot = Bot()
    token = identity_token(phone="+49 30 1", name="Anna", admin=True, verified=False)
    async with shop(MemoryPorts(bot)) as address, chat(address, identity=token) as client:
        await client.send("send", client_msg_id="any-message", text="x")
        frames = await client.messages(2)
    identity = {"email": "anna@a.example", "phone": "+49 30 1", "name": "Anna", "verified": True}
    assert bot.received[0].metadata == {"identity": identity}
    assert "anna@a.example" not in json.dumps(frames)


async def test_signing_in_while_the_chat_is_open() -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address, chat(address) as client:
        await client.send("send", client_msg_id="before-it", text="x")
        await client.expect("ack")
        await client.send("identify", identity=identity_token())
        await client.send("send", client_msg_id="after-it", text="x")
        await client.expect("ack")
    assert [("identity" in message.metadata) for message in bot.received] == [False, True]


@pytest.mark.parametrize(
    "token",
    [
        identity_token(secret="another secret, just as long as ours is"),
        identity_token(exp=datetime.now(UTC) - timedelta(seconds=1)),
        identity_token(exp=10**18),
        identity_token(algorithm="HS384"),
        jwt.encode({"email": "anna@a.example", "exp": 10**10}, None, "none"),  # type: ignore[arg-type]
        jwt.encode({"email": "anna@a.example"}, WIDGET_SECRET, "HS256"),
        identity_token(email=None),
        identity_token(email=["anna@a.example"]),
        "no.jwt.atall",
        "",
    ],
)
async def test_other_identities_are_refused_and_the_chat_goes_on(token: str) -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address, chat(address) as client:
        await client.send("identify", identity=token)
        assert (await client.expect("error"))["code"] == "identity_invalid"
        await client.send("send", client_msg_id="any-message", text="x")
        await client.expect("ack")
    assert bot.received[0].metadata == {}


def test_an_identity_ends_when_its_token_does() -> None:
    identity = read_identity(identity_token(), WIDGET_SECRET)
    assert identity.metadata(datetime.now(UTC)) == {"identity": {"email": "anna@a.example", "verified": True}}
    assert identity.metadata(datetime.now(UTC) + timedelta(minutes=6)) == {}


def test_without_a_widget_secret_no_identity_is_believed() -> None:
    with pytest.raises(IdentityRefused, match="KEFU_WIDGET_SECRET"):
        read_identity(identity_token(), None)


# ---- customers only (KEFU_WIDGET_STRICT) ----


async def refused_hello(address: str, **hello: Any) -> tuple[dict[str, Any], int | None]:
    async with connect(f"ws://{address}/webchat/ws") as ws:
        await ws.send(json.dumps({"type": "hello", "protocol": 1, **hello}))
        return json.loads(await ws.recv()), await closed_with(ws)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (None, "signed-in customers only"),
        ("", "signed-in customers only"),
        ({"exp": datetime(2026, 1, 1, tzinfo=UTC)}, "expired"),
        ({"secret": "another secret, just as long as ours is"}, "not valid"),
        ({"email": None, "name": "Anna"}, "names nobody"),
    ],
)
async def test_strict_refuses_everybody_whom_the_shop_did_not_name(
    claims: dict[str, Any] | str | None, reason: str
) -> None:
    bot = Bot()
    identity = identity_token(**claims) if isinstance(claims, dict) else claims
    async with shop(MemoryPorts(bot), is_strict=True) as address:
        visitor = visitor_token(new_visitor_id(), SECRET)
        error, code = await refused_hello(
            address, visitor=visitor, **({} if identity is None else {"identity": identity})
        )
    assert (error["code"], code) == ("identity_required", CLOSE_ANONYMOUS)
    assert reason in error["message"]
    assert bot.received == []


async def test_strict_ties_the_conversation_to_the_customer_not_to_the_browser() -> None:
    async with shop(MemoryPorts(Bot()), is_strict=True) as address:
        async with chat(address, identity=identity_token(sub="customer-1")) as client:
            await client.send("send", client_msg_id="any-message", text="my secret")
            await client.messages(2)
            token = client.welcome["visitor"]
            assert client.welcome["bound"] is True
        # The same customer on another device, signed in anew.
        async with chat(address, identity=identity_token(sub="customer-1", name="Anna")) as client:
            assert said((await client.messages(1))[0]) == "my secret"
        # The next customer at the same computer, with the token that the browser kept.
        async with chat(address, visitor=token, identity=identity_token(sub="customer-2")) as client:
            assert client.welcome["last_seq"] == 0
            assert client.welcome["visitor"] != token


async def test_strict_customers_are_told_apart_by_what_kind_of_name_it_is() -> None:
    async with shop(MemoryPorts(Bot()), is_strict=True) as address:
        conversations = set()
        for claims in ({"sub": "1"}, {"email": "1"}, {"email": None, "phone": "1"}):
            async with chat(address, identity=identity_token(**claims)) as client:
                conversations.add(client.welcome["conversation"])
    assert len(conversations) == 3


async def test_strict_asks_again_when_the_identity_ends() -> None:
    bot = Bot()
    soon = datetime.now(UTC) + timedelta(seconds=2)
    async with (
        shop(MemoryPorts(bot), is_strict=True) as address,
        chat(address, identity=identity_token(exp=soon)) as client,
    ):
        await client.send("send", client_msg_id="in-time-1", text="x")
        await client.expect("ack")
        await asyncio.sleep((soon - datetime.now(UTC)).total_seconds() + 0.01)
        await client.send("send", client_msg_id="too-late-1", text="x")
        error = await client.expect("error")
        assert (error["code"], error["client_msg_id"]) == ("identity_required", "too-late-1")
        assert await closed_with(client.socket) == CLOSE_ANONYMOUS
    assert len(bot.received) == 1


async def test_strict_takes_a_fresh_token_of_the_same_customer_only() -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot), is_strict=True) as address, chat(address, identity=identity_token()) as client:
        await client.send("identify", identity=identity_token(name="Anna"))
        await client.send("send", client_msg_id="still-here", text="x")
        await client.expect("ack")
        assert bot.received[0].metadata["identity"]["name"] == "Anna"
        await client.send("identify", identity=identity_token(email="eve@a.example"))
        assert (await client.expect("error"))["code"] == "identity_required"
        assert await closed_with(client.socket) == CLOSE_ANONYMOUS


# ---- what the page knows ----


async def test_context_reaches_the_bot_and_is_never_an_identity() -> None:
    bot = Bot()
    context = {"page": "lamps\x00", "cart": {"items": 2}, "identity": {"verified": True}}
    async with shop(MemoryPorts(bot)) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x", context=context)
        await client.expect("ack")
    assert bot.received[0].metadata == {"context": {"page": "lamps", "cart": {"items": 2}}}


@pytest.mark.parametrize("context", ["x", [1], {"a": "x" * 4_096}, json.loads('{"a":' * 25 + "1" + "}" * 25)])
async def test_a_context_that_cannot_be_kept_is_refused_with_its_message(context: Any) -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot)) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x", context=context)
        error = await client.expect("error")
        assert (error["code"], error["client_msg_id"]) == ("bad_frame", "any-message")
        await client.send("ping")
        await client.expect("pong")
    assert bot.received == []


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://shop.example", True),
        ("https://SHOP.example", True),
        ("https://evil.example", False),
        ("null", False),
        (None, True),
    ],
)
async def test_only_allowed_pages_may_open_the_chat(origin: str | None, is_allowed: bool) -> None:
    async with shop(MemoryPorts(), allowed_origins=["https://shop.example/"]) as address:
        if is_allowed:
            async with chat(address, origin=origin):
                return
        async with connect(f"ws://{address}/webchat/ws", origin=origin) as ws:  # type: ignore[arg-type]
            assert await closed_with(ws) == CLOSE_FORBIDDEN


async def test_our_own_demo_page_may_always_open_the_chat() -> None:
    async with (
        shop(MemoryPorts(), allowed_origins=["https://shop.example"]) as address,
        chat(address, origin=f"http://{address}") as client,
    ):
        assert client.welcome["last_seq"] == 0


# ---- what is refused, and how ----


async def closed_with(ws: ClientConnection) -> int | None:
    async with asyncio.timeout(5):
        await ws.wait_closed()
    return ws.close_code


BAD_FRAMES: list[tuple[str | bytes, str]] = [
    ("", "bad_frame"),
    ("nonsense", "bad_frame"),
    ("[" * 50_000, "bad_frame"),
    ("[]", "bad_frame"),
    ("{}", "bad_frame"),
    ('{"type":"shout"}', "bad_frame"),
    ('{"type":["send"]}', "bad_frame"),
    (b'{"type":"ping"}', "bad_frame"),
    ('{"type":"send"}', "bad_frame"),
    ('{"type":"send","client_msg_id":"short","text":"x"}', "bad_frame"),
    ('{"type":"send","client_msg_id":"with space","text":"x"}', "bad_frame"),
    ('{"type":"send","client_msg_id":"any-message"}', "bad_frame"),
    ('{"type":"send","client_msg_id":"any-message","text":"x","payload":"/x"}', "bad_frame"),
    ('{"type":"send","client_msg_id":"any-message","text":"  \\u0000 "}', "bad_frame"),
    ('{"type":"send","client_msg_id":"any-message","text":7}', "bad_frame"),
    ('{"type":"send","client_msg_id":"any-message","text":"' + "x" * 4_001 + '"}', "too_long"),
    ('{"type":"send","client_msg_id":"any-message","text":"' + "x" * 66_000 + '"}', "frame_too_large"),
    ('{"type":"seen","seq":-1}', "bad_frame"),
    ('{"type":"seen","seq":1.5}', "bad_frame"),
    ('{"type":"seen","seq":true}', "bad_frame"),
    ('{"type":"identify"}', "bad_frame"),
    ('{"type":"hello","protocol":1}', "expected_hello"),
]


@pytest.mark.parametrize(("raw", "code"), BAD_FRAMES, ids=range(len(BAD_FRAMES)))
async def test_a_bad_frame_is_answered_and_the_socket_lives(raw: str | bytes, code: str) -> None:
    async with shop(MemoryPorts(Bot())) as address, chat(address) as client:
        await client.socket.send(raw)
        error = await client.expect("error")
        assert error["code"] == code
        assert error["message"]
        await client.send("send", client_msg_id="next-message", text="still here")
        await client.expect("ack")


async def test_an_error_names_the_message_it_is_about() -> None:
    async with shop(MemoryPorts(Bot())) as address, chat(address) as client:
        await client.send("send", client_msg_id="much-too-long", text="x" * 4_001)
        assert (await client.expect("error"))["client_msg_id"] == "much-too-long"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ('{"type":"ping"}', "expected_hello"),
        ("nonsense", "bad_frame"),
        ('{"type":"hello"}', "bad_frame"),
        ('{"type":"hello","protocol":1,"resume_from":-1}', "bad_frame"),
        ('{"type":"hello","protocol":2}', "unsupported_protocol"),
    ],
)
async def test_a_socket_begins_with_a_good_hello(first: str, code: str) -> None:
    async with shop(MemoryPorts()) as address, connect(f"ws://{address}/webchat/ws") as ws:
        await ws.send(first)
        assert json.loads(await ws.recv())["code"] == code
        assert await closed_with(ws) == CLOSE_BAD_HELLO


async def test_a_silent_socket_is_closed() -> None:
    async with (
        shop(MemoryPorts(), limits={"hello_within_s": 0.05}) as address,
        connect(f"ws://{address}/webchat/ws") as ws,
    ):
        assert json.loads(await ws.recv())["code"] == "expected_hello"
        assert await closed_with(ws) == CLOSE_BAD_HELLO


async def test_too_fast_is_an_error_with_a_waiting_time() -> None:
    bot = Bot()
    async with (
        shop(MemoryPorts(bot), limits={"messages_per_s": 0.5, "message_burst": 2}) as address,
        chat(address) as client,
    ):
        for number in range(3):
            await client.send("send", client_msg_id=f"message-{number}", text="x")
        error = await client.expect("error")
    assert (error["code"], error["client_msg_id"]) == ("rate_limited", "message-2")
    assert 0 < error["retry_after_s"] <= 2
    assert len(bot.received) == 2


async def test_frames_of_any_kind_are_limited() -> None:
    async with shop(MemoryPorts(), limits={"frames_per_s": 1, "frame_burst": 3}) as address, chat(address) as client:
        for _ in range(4):
            await client.send("ping")
        assert (await client.expect("error"))["code"] == "rate_limited"
        assert [frame["type"] for frame in client.passed] == ["pong"] * 3


async def test_too_busy_is_said_with_a_waiting_time() -> None:
    async with shop(MemoryPorts(max_waiting=0)) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x")
        error = await client.expect("error")
    assert (error["code"], error["client_msg_id"], error["retry_after_s"]) == ("busy", "any-message", 2.0)


class BrokenPorts(MemoryPorts):
    """Refuses in the ways a database can."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        raise self._error


class FailingOnce(MemoryPorts):
    """The database is away for one message."""

    fails = True

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        if batch and self.fails:
            self.fails = False
            raise RuntimeError("no database")
        return await super().receive(batch, state_changes)


async def test_a_message_that_was_put_off_is_not_overtaken_by_those_behind_it() -> None:
    bot = Bot()
    async with shop(FailingOnce(bot)) as address, chat(address) as client:
        for number in range(3):
            await client.send("send", client_msg_id=f"message-{number}", text=str(number))
        put_off = [await client.expect("error") for _ in range(3)]
        assert [(frame["client_msg_id"], frame["code"]) for frame in put_off] == [
            (f"message-{number}", "unavailable") for number in range(3)
        ]
        assert all(0 < frame["retry_after_s"] <= 2 for frame in put_off)
        for number in range(3):
            await client.send("send", client_msg_id=f"message-{number}", text=str(number))
            await client.expect("ack")
    assert [message.text for message in bot.received] == ["0", "1", "2"]


@pytest.mark.parametrize("limits", [{"messages_per_s": 20, "message_burst": 1}, {"frames_per_s": 20, "frame_burst": 1}])
async def test_nor_is_one_that_came_too_fast(limits: dict[str, Any]) -> None:
    bot = Bot()
    async with shop(MemoryPorts(bot), limits=limits) as address, chat(address) as client:
        for number in range(3):
            await client.send("send", client_msg_id=f"message-{number}", text=str(number))
        assert [(await client.expect("error"))["client_msg_id"] for _ in range(2)] == ["message-1", "message-2"]
        for number in (2, 1, 2):
            await asyncio.sleep(0.2)  # there is room again
            await client.send("send", client_msg_id=f"message-{number}", text=str(number))
            await client.expect("error" if len(bot.received) == 1 and number == 2 else "ack")
    assert [message.text for message in bot.received] == ["0", "1", "2"]


async def test_a_message_that_its_client_gave_up_holds_nothing_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.webchat_session.OVERTAKE_AFTER_S", 0.0)
    monkeypatch.setattr("connectors.webchat_session.UNAVAILABLE_RETRY_S", 0.05)
    async with shop(FailingOnce(Bot())) as address, chat(address) as client:
        await client.send("send", client_msg_id="message-0", text="0")
        await client.expect("error")
        await asyncio.sleep(0.1)
        await client.send("send", client_msg_id="message-1", text="1")
        await client.expect("ack")


@pytest.mark.parametrize(
    ("error", "code"), [(BadRequest("not yours"), "refused"), (RuntimeError("disk is full at /secret"), "unavailable")]
)
async def test_what_is_not_stored_is_never_acknowledged(error: Exception, code: str) -> None:
    async with shop(BrokenPorts(error)) as address, chat(address) as client:
        await client.send("send", client_msg_id="any-message", text="x")
        frame = await client.expect("error")
        assert (frame["code"], frame["client_msg_id"]) == (code, "any-message")
        assert "secret" not in frame["message"]
        await client.send("ping")
        await client.expect("pong")
        assert not [frame for frame in client.passed if frame["type"] == "ack"]


class WatchedPorts(MemoryPorts):
    """Says when a session has ended."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.left = asyncio.Event()

    def subscribe(self, sender_id: str, wake: Callable[[str], None]) -> Callable[[], None]:
        return self.left.set


async def test_a_client_that_does_not_read_is_let_go() -> None:
    ports = WatchedPorts(lambda _: [{"text": "x" * 500_000}] * 40)
    visitor = new_visitor_id()
    await ports.receive([_inbound(visitor, "one-message")])
    async with shop(ports, limits={"send_within_s": 0.2}) as address:
        host, port = address.split(":")
        raw = socket.create_connection((host, int(port)))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        # One frame in the queue and the library stops reading; nothing here reads it.
        lazy: dict[str, Any] = {
            "max_queue": 1,
            "max_size": None,
            "ping_interval": None,
            "compression": None,
            "close_timeout": 0.1,
        }
        async with connect(f"ws://{address}/webchat/ws", sock=raw, **lazy) as ws:
            await ws.send(json.dumps({"type": "hello", "protocol": 1, "visitor": visitor_token(visitor, SECRET)}))
            await asyncio.wait_for(ports.left.wait(), 5)


FIELDS = st.sampled_from(["type", "client_msg_id", "text", "seq", "protocol", "identity", "payload"])
WORDS = st.sampled_from(["send", "hello", "seen", "ping", "identify"]) | st.text(max_size=5)
FRAMES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner | WORDS, max_size=4),
    max_leaves=8,
).map(json.dumps)


@given(st.text(max_size=200) | FRAMES)
def test_no_frame_breaks_the_parser(raw: str) -> None:
    with suppress(FrameError):
        assert parse_frame(raw).type in {"hello", "send", "seen", "identify", "ping"}


# ---- over HTTP, and on paper ----


async def test_the_brand_is_public_to_allowed_pages() -> None:
    async with shop(MemoryPorts(), allowed_origins=["https://shop.example"]) as address, httpx.AsyncClient() as http:
        url = f"http://{address}/webchat/brand"
        good = await http.get(url, headers={"Origin": "https://shop.example"})
        assert good.json()["brand"] == BRAND
        assert good.headers["access-control-allow-origin"] == "https://shop.example"
        bad = await http.get(url, headers={"Origin": "https://evil.example"})
        assert (bad.status_code, "access-control-allow-origin" in bad.headers) == (403, False)


async def test_each_customer_is_shown_the_brand_of_the_moment() -> None:
    greetings = iter(("Good morning!", "Good day!", "Good evening!"))
    async with shop(MemoryPorts(), brand=lambda: {"greeting": next(greetings)}) as address:
        async with chat(address) as first, chat(address) as second:
            shown = [client.welcome["brand"]["greeting"] for client in (first, second)]
        async with httpx.AsyncClient() as http:
            shown.append((await http.get(f"http://{address}/webchat/brand")).json()["brand"]["greeting"])
    assert shown == ["Good morning!", "Good day!", "Good evening!"]


def test_the_document_names_every_frame_code_and_field() -> None:
    text = PROTOCOL_DOC.read_text()
    named = set(re.findall(r"`([a-z_0-9]+)`", text))
    for model in get_args(get_args(ClientFrame)[0]):
        fields = set(model.model_fields) - {"type"}
        assert {model.model_fields["type"].annotation.__args__[0], *fields} <= named, model
    assert set(get_args(ErrorCode)) <= named
    assert {"welcome", "ack", "message", "typing", "resync", "error", "pong"} <= named
    assert {str(code) for code in (CLOSE_ANONYMOUS, CLOSE_BAD_HELLO, CLOSE_FORBIDDEN, CLOSE_TOO_SLOW)} <= named
