"""Telegram: what only it has. What every channel owes is tested in tests/contract/test_connectors.py."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import telegram as ptb
from telegram.request import HTTPXRequest

from connectors.base import Delivered, DeliveryUnknown, InboundMessage, OutboundMessage, RetryLater
from connectors.memory import MemoryPorts
from connectors.telegram import Telegram
from connectors.telegram_messages import plain_command
from tests.contract.telegram_platform import (
    ANNA,
    CHAT,
    SECRET_HEADER,
    TOKEN,
    TelegramCustomer,
    TelegramPlatform,
    telegram,
)
from tests.serving import channel_app, serving

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LONG_PAYLOAD = '/return_item{"order": "A-1001", "reason": "它在运输途中损坏了", "product": "desk lamp"}'


class Bot:
    """Answers everything with `body`; `said` is what customers said."""

    def __init__(self, body: Mapping[str, Any] | None = None) -> None:
        self.body, self.said = body or {"text": "hello"}, list[InboundMessage]()

    def __call__(self, message: InboundMessage) -> list[Mapping[str, Any]]:
        self.said.append(message)
        return [self.body]

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.said]


@asynccontextmanager
async def talk(bot: Bot, **settings: str) -> AsyncIterator[tuple[TelegramCustomer, MemoryPorts]]:
    ports = MemoryPorts(bot)
    async with telegram(ports, **settings) as customer:
        yield customer, ports


def message(**fields: Any) -> dict[str, Any]:
    said = ptb.Message(message_id=1, date=NOW, chat=CHAT, from_user=ANNA, **fields)
    return ptb.Update(update_id=77, message=said).to_dict()


def pressed(data: str, number: int = 88) -> dict[str, Any]:
    shown = ptb.Message(message_id=5, date=NOW, chat=CHAT, text="Which?")
    query = ptb.CallbackQuery(id="q-1", from_user=ANNA, chat_instance="1", data=data, message=shown)
    return ptb.Update(update_id=number, callback_query=query).to_dict()


def outbound(body: Mapping[str, Any], sender_id: str = f"telegram:{CHAT.id}", seq: int = 2) -> OutboundMessage:
    return OutboundMessage(
        outbox_id=9, conversation_id=1, sender_id=sender_id, seq=seq, author="bot", body=body, created_at=NOW
    )


# ---- Telegram → us ----


async def test_who_writes_is_the_chat_in_the_language_of_the_app() -> None:
    bot = Bot()
    async with talk(bot) as (customer, _):
        await customer.pass_on(message(text="hello"))
    [said] = bot.said
    assert (said.sender_id, said.customer, said.account) == (f"telegram:{CHAT.id}", str(CHAT.id), "")
    assert said.language_hint == "de"


async def test_two_bots_numbers_are_not_mistaken_for_one_anothers() -> None:
    ports, other = MemoryPorts(bot := Bot()), TOKEN.replace("123456", "654321")
    for token in (TOKEN, other):
        app = channel_app(Telegram(access_token=token, secret_token="s").routes(ports))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example") as http:
            headers = {SECRET_HEADER: "s"}
            answer = await http.post("/webhooks/telegram/webhook", json=message(text="hello"), headers=headers)
            assert answer.status_code == 200
    assert len(bot.said) == 2


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("/start", "/greet"),
        ("/start ref-17", "/greet"),
        ("/start@KefuShopBot", "/greet"),
        ("/help@kefushopbot now", "/help now"),
        ("/help@OtherBot", None),
        ('/track{"order": "A-1001"}', '/track{"order": "A-1001"}'),
        ("5/3 or 1/2?", "5/3 or 1/2?"),
        ("a@b.example", "a@b.example"),
    ],
)
async def test_commands(typed: str, taken: str | None) -> None:
    bot = Bot()
    async with talk(bot, start_text="/greet", verify="KefuShopBot") as (customer, _):
        assert (await customer.pass_on(message(text=typed))).status_code == 200
    assert bot.texts == ([taken] if taken else [])


def test_without_a_user_name_every_command_is_for_us() -> None:
    assert plain_command("/help@AnyBot", "/start", "") == "/help"


async def test_files_come_as_attachments_without_any_address() -> None:
    sizes = [ptb.PhotoSize(file_id=f"p{n}", file_unique_id=f"u{n}", width=n, height=n, file_size=n) for n in (90, 800)]
    document = ptb.Document(
        file_id="d", file_unique_id="u", file_name="收据.pdf", mime_type="application/pdf", file_size=9
    )
    voice = ptb.Voice(file_id="v", file_unique_id="u", duration=3, mime_type="audio/ogg")
    bot = Bot()
    async with talk(bot) as (customer, _):
        sent: list[dict[str, Any]] = [
            {"photo": sizes, "caption": "It is broken"},
            {"document": document},
            {"voice": voice},
        ]
        for number, fields in enumerate(sent):
            await customer.pass_on(message(**fields) | {"update_id": number})
    assert [(said.text, said.metadata["attachments"]) for said in bot.said] == [
        ("It is broken", [{"type": "photo", "file_id": "p800", "size": 800}]),
        (
            "",
            [{"type": "document", "file_id": "d", "name": "收据.pdf", "media_type": "application/pdf", "size": 9}],
        ),
        ("", [{"type": "voice", "file_id": "v", "media_type": "audio/ogg"}]),
    ]


async def test_a_place_is_worded_as_rasa_does() -> None:
    bot = Bot()
    async with talk(bot) as (customer, _):
        await customer.pass_on(message(location=ptb.Location(longitude=16.37, latitude=48.2)))
    assert bot.texts == ['{"lng": 16.37, "lat": 48.2}']


STRANGE: list[dict[str, Any]] = [
    {},
    {"update_id": 1},
    {"update_id": 1, "message": None},
    {"update_id": 1, "message": "text"},
    {"update_id": 1, "message": {"text": "x"}},
    {"update_id": "1", "message": {"message_id": 1, "chat": {"id": 1}, "from": {"is_bot": False}, "text": "x"}},
    {"update_id": 1, "message": {"message_id": 1, "chat": {"id": "1"}, "from": {"is_bot": False}, "text": "x"}},
    {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}, "from": {"is_bot": True}, "text": "x"}},
    {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}, "from": {"is_bot": False}, "text": ["x"]}},
    {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}, "from": {"is_bot": False}, "photo": ["x"]}},
    {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}, "from": {"is_bot": False}, "location": "x"}},
    {"update_id": 1, "callback_query": "x"},
    {"update_id": 1, "callback_query": {"id": 7, "data": ["x"]}},
    {"update_id": 1, "callback_query": {"id": "q", "from": {"is_bot": False}, "message": {}}},
    {"update_id": 1, "edited_message": message(text="x")["message"]},
    {"update_id": 1, "channel_post": message(text="x")["message"]},
]


@pytest.mark.parametrize("update", STRANGE, ids=range(len(STRANGE)))
async def test_what_is_no_customers_word_is_acknowledged_and_left_out(update: dict[str, Any]) -> None:
    bot = Bot()
    async with talk(bot) as (customer, _):
        assert (await customer.pass_on(update)).status_code == 200
    assert bot.said == []


async def test_half_an_emoji_and_a_nul_are_cleaned() -> None:
    bot = Bot()
    async with talk(bot) as (customer, _):
        await customer.pass_on(message(text="a\x00b\ud83d"))
    assert bot.texts == ["ab"]


async def test_a_body_that_is_no_update_is_a_bad_request() -> None:
    async with talk(Bot()) as (customer, _), httpx.AsyncClient() as http:
        webhook = customer.platform.webhook
        headers = {SECRET_HEADER: webhook["secret_token"]}
        for body in (b"", b"[]", b"\xff", b"[" * 100_000):
            assert (await http.post(webhook["url"], content=body, headers=headers)).status_code == 400
        wrong: list[dict[bytes, bytes]] = [{}, {SECRET_HEADER.encode(): "geheim ü".encode()}]
        for given in wrong:
            assert (await http.post(webhook["url"], json={}, headers=given)).status_code == 401
        assert (await http.get(webhook["url"].removesuffix("webhook"))).json() == {"status": "ok"}


# ---- buttons ----


async def test_a_pressed_button_says_its_payload_and_stops_waiting() -> None:
    bot = Bot()
    async with talk(bot) as (customer, _):
        answer = await customer.pass_on(pressed('/track{"order": "A-1001"}'))
    assert bot.texts == ['/track{"order": "A-1001"}']
    assert answer.json() == {"method": "answerCallbackQuery", "callback_query_id": "q-1"}


async def test_a_long_payload_comes_back_whole() -> None:
    bot = Bot(
        {"text": "Which?", "buttons": [{"title": "No", "payload": "/deny"}, {"title": "Yes", "payload": LONG_PAYLOAD}]}
    )
    async with talk(bot) as (customer, ports):
        await customer.pass_on(message(text="hello"))
        [asked] = await ports.collect(f"telegram:{CHAT.id}", "outbox")
        assert isinstance(await customer.connector.send(asked, is_repeat=False), Delivered)
        rows = customer.platform.calls[0][1]["reply_markup"]["inline_keyboard"]
        await customer.pass_on(pressed(rows[1][0]["callback_data"]))
    assert rows[0][0]["callback_data"] == "/deny"
    assert len(LONG_PAYLOAD.encode()) > 64
    assert bot.texts == ["hello", LONG_PAYLOAD]


@pytest.mark.parametrize("data", ["kefu:2:7", "kefu:1:0", "kefu:0:0", "kefu:99:0"])
async def test_a_place_without_a_button_says_nothing(data: str) -> None:
    bot = Bot({"text": "Which?", "buttons": [{"title": "Yes", "payload": LONG_PAYLOAD}]})
    async with talk(bot) as (customer, _):
        await customer.pass_on(message(text="hello"))
        assert (await customer.pass_on(pressed(data))).status_code == 200
    assert bot.texts == ["hello"]


class Erased(MemoryPorts):
    """The first three entries of each conversation are gone."""

    async def transcript(self, sender_id: str, after_seq: int, limit: int = 200) -> list[OutboundMessage]:
        return await super().transcript(sender_id, max(after_seq, 3), limit)


async def test_a_button_whose_message_was_erased_is_not_taken_for_the_next_messages() -> None:
    bot = Bot({"text": "Which?", "buttons": [{"title": "Yes", "payload": LONG_PAYLOAD}]})
    async with telegram(Erased(bot)) as customer:
        for number in (1, 2):
            await customer.pass_on(message(text="hello") | {"update_id": number})
        await customer.pass_on(pressed("kefu:2:0"))
        assert bot.texts == ["hello", "hello"]
        await customer.pass_on(pressed("kefu:4:0", 99))
    assert bot.texts == ["hello", "hello", LONG_PAYLOAD]


async def test_nobody_reads_the_buttons_of_another_conversation() -> None:
    bot = Bot({"text": "Which?", "buttons": [{"title": "Yes", "payload": LONG_PAYLOAD}]})
    async with talk(bot) as (customer, _):
        await customer.pass_on(message(text="hello"))
        stranger = pressed("kefu:2:0")
        stranger["callback_query"]["message"]["chat"]["id"] = 666
        await customer.pass_on(stranger)
        assert bot.texts == ["hello"]
        await customer.pass_on(pressed("kefu:2:0", 99))
    assert bot.texts == ["hello", LONG_PAYLOAD]


# ---- us → Telegram ----


async def test_our_calls_are_those_of_python_telegram_bot() -> None:
    """The same messages sent by it and by us: the Bot API is asked the same."""
    platform = TelegramPlatform()
    keyboard = ptb.InlineKeyboardMarkup(
        [
            [ptb.InlineKeyboardButton("Yes", callback_data="/affirm")],
            [ptb.InlineKeyboardButton("Terms", url="https://shop.example/terms")],
        ]
    )
    body = {
        "text": "Sure? 当然",
        "buttons": [{"title": "Yes", "payload": "/affirm"}, {"title": "Terms", "url": "https://shop.example/terms"}],
        "custom": {"type": "image", "url": "https://shop.example/lamp.png", "alt": "A lamp"},
    }
    async with serving(platform.app()) as address:
        theirs = ptb.Bot(TOKEN, base_url=f"http://{address}/bot", request=HTTPXRequest())
        async with theirs.request:
            await theirs.send_message(CHAT.id, "Sure? 当然", reply_markup=keyboard)
            await theirs.send_photo(CHAT.id, "https://shop.example/lamp.png", caption="A lamp")
        expected = list(platform.calls)
        platform.calls.clear()
        ours = Telegram(access_token=TOKEN, secret_token="s", api_url=f"http://{address}")
        assert await ours.send(outbound(body), is_repeat=False) == Delivered(external_ref="2")
    assert len(expected) == 2
    assert platform.calls == expected


async def test_the_webhook_is_registered_as_python_telegram_bot_would() -> None:
    platform = TelegramPlatform()
    async with serving(platform.app()) as address:
        theirs = ptb.Bot(TOKEN, base_url=f"http://{address}/bot", request=HTTPXRequest())
        async with theirs.request, telegram(MemoryPorts()) as customer:
            ours = customer.platform.webhook
            await theirs.set_webhook(
                ours["url"], secret_token=ours["secret_token"], allowed_updates=["message", "callback_query"]
            )
    assert ours == platform.webhook


async def test_a_picture_that_telegram_cannot_fetch_is_sent_as_its_address() -> None:
    async with talk(Bot()) as (customer, _):
        customer.meet("no picture")
        body = {"custom": {"type": "image", "url": "https://shop.example/lamp.png", "alt": "A lamp"}}
        assert isinstance(await customer.connector.send(outbound(body), is_repeat=False), Delivered)
        assert await customer.heard() == ["A lamp\nhttps://shop.example/lamp.png"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/files/a.png", "https://shop.example/files/a.png"),
        ("//cdn.example/a.png", "https://cdn.example/a.png"),
        ("files/a.png", "files/a.png"),
    ],
)
async def test_a_path_is_on_the_host_of_the_webhook(url: str, shown: str) -> None:
    platform = TelegramPlatform()
    async with serving(platform.app()) as api:
        public = "https://shop.example/webhooks/telegram/webhook"
        connector = Telegram(access_token=TOKEN, webhook_url=public, api_url=f"http://{api}")
        assert isinstance(await connector.send(outbound({"image": url}), is_repeat=False), Delivered)
    [(_, call)] = platform.calls
    assert (call.get("photo") or call["text"]) == shown


async def test_links_that_are_no_web_pages_stand_in_the_text() -> None:
    body = {"text": "Call us", "buttons": [{"title": "Phone", "url": "tel:+4315678"}]}
    async with talk(Bot()) as (customer, _):
        assert isinstance(await customer.connector.send(outbound(body), is_repeat=False), Delivered)
        assert customer.platform.calls == [
            ("sendMessage", {"chat_id": str(CHAT.id), "text": "Call us\nPhone: tel:+4315678"})
        ]


async def test_buttons_without_words_and_with_too_many() -> None:
    few, many = ([{"title": f"B{n}", "payload": f"/b{n}"} for n in range(count)] for count in (2, 101))
    async with talk(Bot()) as (customer, _):
        send = customer.connector.send
        assert isinstance(await send(outbound({"buttons": few}), is_repeat=False), Delivered)
        assert isinstance(await send(outbound({"text": "w " * 3_000, "buttons": few}), is_repeat=False), Delivered)
        assert isinstance(await send(outbound({"text": "Which?", "buttons": many}), is_repeat=False), Delivered)
        *shown, numbered = [call for _, call in customer.platform.calls]
    assert [bool(call.get("reply_markup")) for call in shown] == [True, False, True]
    assert numbered["text"].endswith("101. B100")


@pytest.mark.parametrize(("trouble", "kind"), [("a proxy's page", DeliveryUnknown), ("broken off", DeliveryUnknown)])
async def test_an_answer_of_somebody_else_is_unknown(trouble: str, kind: type) -> None:
    async with talk(Bot()) as (customer, _):
        customer.meet(trouble)
        assert isinstance(await customer.connector.send(outbound({"text": "x"}), is_repeat=False), kind)


async def test_a_wrong_token_can_be_mended_and_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    platform, wrong = TelegramPlatform(), "99:wrong-token"
    caplog.set_level(logging.INFO, "kefu")
    async with serving(platform.app()) as api:
        for address in (f"http://{api}", "http://127.0.0.1:1"):
            connector = Telegram(access_token=wrong, secret_token="s", api_url=address)
            result = await connector.send(outbound({"text": "x"}), is_repeat=False)
            assert isinstance(result, RetryLater)
            assert wrong not in repr(connector) + repr(result) + caplog.text


# ---- settings ----


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"webhook_url": "https://x.example"}, "access_token"),
        ({"access_token": "${TOKEN}", "webhook_url": "https://x.example"}, "access_token"),
        ({"access_token": TOKEN}, "webhook_url"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Telegram(**settings)
