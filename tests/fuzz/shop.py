"""labbot on every channel at once, with platforms that the tests play, and customers whose messages are valid."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from bot.storage import inbox, tables
from connectors.visitors import new_visitor_id, visitor_token
from tests import slack_people
from tests.contract.telegram_platform import SECRET_HEADER, TOKEN, TelegramPlatform
from tests.fuzz.requests import Answered, Asked, Header, Wire, ask
from tests.kf_side import CORP_ID, KF_ACCOUNT, Caller, KfServer, kf_server
from tests.lab import Lab, labbot, running
from tests.sample_files import png
from tests.serving import serving
from tests.slack_server import FakeSlack
from tests.slack_server import credentials as slack_credentials
from tests.slack_server import slack as fake_slack
from tests.wechat_side import AES_KEY, Account, WeChatServer, message_xml, wechat_server
from tests.wechat_side import TOKEN as WECHAT_TOKEN
from tests.wechat_side import credentials as wechat_credentials

ORIGIN, WIDGET_SECRET, API_TOKEN, TELEGRAM_SECRET = "https://shop.example", "w" * 40, "opensesame", "of-telegram"
QUESTION, ANSWER = "/ask_hours", "we are open 9-5"
ANSWERED_WITHIN_S = 60.0
STATE_TABLES = (
    tables.customers, tables.identities, tables.conversations, tables.inbox, tables.outbox, tables.events,
    tables.reminders, tables.files,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The running platform and those who speak to it. `secret` signs visitors' tokens, as the server's does."""

    lab: Lab
    home: Path
    slack: FakeSlack
    wechat: WeChatServer
    kf: KfServer
    telegram: TelegramPlatform
    secret: bytes

    async def ask(self, asked: Asked) -> Answered:
        return await ask(self.lab.app, asked)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], query: bytes = b"") -> Answered:
        given = tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
        return await self.ask(Asked(path=path, body=body, headers=given, query=query))

    def account(self, mode: str = "plaintext") -> Account:
        return Account(http=self.lab.http, mode=mode, now=int(time.time()))

    def visitor(self) -> str:
        """A token as the server's welcome gives it."""
        return visitor_token(new_visitor_id(), self.secret)

    async def rows(self) -> dict[str, int]:
        """How many rows hold what customers did and what they are told."""

        def count(conn: Connection) -> dict[str, int]:
            counts = {table.name: select(func.count()).select_from(table) for table in STATE_TABLES}
            return {name: conn.execute(query).scalar_one() for name, query in counts.items()}

        return await self.lab.platform.db.read(count)

    async def settled(self, within_s: float = ANSWERED_WITHIN_S) -> None:
        """Every message that was taken has had its turn."""
        platform = self.lab.platform
        assistant_id = platform.bot.assistant.assistant_id
        async with asyncio.timeout(within_s):
            while await platform.db.read(lambda c: inbox.waiting(c, assistant_id)):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def open_shop(home: Path, **changes: Any) -> AsyncIterator[Shop]:
    """A server over an empty SQLite in `home`, its settings with `changes`; the platforms are played here."""
    telegram = TelegramPlatform()
    async with (
        fake_slack() as (slack, api_url),
        wechat_server() as wechat,
        kf_server() as kf,
        serving(telegram.app()) as telegram_address,
    ):
        kf.page = 100
        credentials = {
            "slack": slack_credentials(api_url, slack_client_id="1.2", slack_client_secret="c"),
            "wechat": wechat_credentials(
                mode="compatible", aes_key=AES_KEY, api_url=wechat.url, replay_window_s=900, hang_up_s=0.0
            ),
            "wechat_kf": {
                "corp_id": CORP_ID, "secret": "s", "token": WECHAT_TOKEN, "aes_key": AES_KEY, "api_url": kf.url
            },
            "telegram": {
                "access_token": TOKEN, "secret_token": TELEGRAM_SECRET, "api_url": f"http://{telegram_address}"
            },
            "socketio": {},
        }  # fmt: skip
        settings: dict[str, Any] = {
            "allowed_origins": (ORIGIN,), "widget_secret": WIDGET_SECRET, "api_token": API_TOKEN, "files_max_mb": 0.05
        }  # fmt: skip
        async with running(home, labbot(credentials=credentials), **settings, **changes) as lab:
            yield Shop(
                lab=lab, home=home, slack=slack, wechat=wechat, kf=kf, telegram=telegram,
                secret=lab.platform.settings.secret(),
            )  # fmt: skip


# ---- customers ----

Customer = Callable[[Shop, int], Awaitable[str]]
"""Says `QUESTION` for the n-th time over its channel; what it is answered."""


async def over_rest(shop: Shop, number: int) -> str:
    body = json.dumps({"sender": f"anna-{number}", "message": QUESTION}).encode()
    answer = await shop.post("/webhooks/rest/webhook", body, {})
    return _one([message.get("text") for message in json.loads(answer.body)])


async def over_slack(shop: Shop, number: int, path: str = "events") -> str:
    user = f"U1{number}"
    body = json.dumps(slack_people.event(slack_people.direct(QUESTION, user)))
    answer = await shop.post(f"/webhooks/slack/{path}", body.encode(), slack_people.signed(body))
    if answer.status != 200:
        return f"HTTP {answer.status}"
    channel = "D" + user[1:]
    await shop.slack.until(lambda: shop.slack.posts and _of(shop, channel), ANSWERED_WITHIN_S)
    return _one(_of(shop, channel))


def _of(shop: Shop, channel: str) -> list[str]:
    return [post.text for post in reversed(shop.slack.posts[-500:]) if post.channel == channel]


async def over_rasas_slack_path(shop: Shop, number: int) -> str:
    return await over_slack(shop, number, "webhook")


async def over_wechat(shop: Shop, number: int, mode: str = "plaintext") -> str:
    message_id = number if mode == "plaintext" else 10**9 + number
    body = message_xml(QUESTION, message_id, FromUserName=f"of-{mode}-{number}")
    return str(await shop.account(mode).ask(body))


async def over_wechat_encrypted(shop: Shop, number: int) -> str:
    return await over_wechat(shop, number, "compatible")


async def over_kf(shop: Shop, number: int) -> str:
    customer = f"wm-{number}"
    shop.kf.write(QUESTION, external_userid=customer)
    await Caller(http=shop.lab.http).call(account=KF_ACCOUNT)
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        while not (found := [s["text"]["content"] for s in shop.kf.sent.values() if s["touser"] == customer]):
            shop.kf.news.clear()
            await shop.kf.news.wait()
    return _one(found)


async def over_telegram(shop: Shop, number: int) -> str:
    chat = 10_000_000 + number
    body = json.dumps(telegram_update(number, chat)).encode()
    answer = await shop.post("/webhooks/telegram/webhook", body, {SECRET_HEADER: TELEGRAM_SECRET})
    if answer.status != 200:
        return f"HTTP {answer.status}"
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        while not (found := [c["text"] for _, c in shop.telegram.calls[-500:] if int(c["chat_id"]) == chat]):
            await asyncio.sleep(0.01)
    return _one(found)


def telegram_update(number: int, chat: int, **message: Any) -> dict[str, Any]:
    """A private message, as Telegram tells it."""
    person = {"id": chat, "is_bot": False, "first_name": "Anna", "language_code": "en"}
    said = {"message_id": number, "date": int(time.time()), "chat": {"id": chat, "type": "private"}, "from": person}
    return {"update_id": number, "message": {**said, "text": QUESTION, **message}}


async def over_the_widget(shop: Shop, number: int) -> str:
    wire = Wire(shop.lab.app, "/webchat/ws")
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            wire.send(json.dumps({"type": "hello", "protocol": 1}))
            wire.send(json.dumps({"type": "send", "client_msg_id": f"message-{number}", "payload": QUESTION}))
            while (frame := await wire.next()) is not None:
                said = json.loads(frame)
                if said["type"] == "message" and said["author"] == "bot":
                    return str(said["parts"][0]["text"])
        return "closed"
    finally:
        await wire.close()


async def over_socketio(shop: Shop, number: int) -> str:
    """One session over long polling, by Engine.IO's and Socket.IO's published packets."""
    sid = await socketio_session(shop)
    query = b"EIO=4&transport=polling&sid=" + sid
    event = "42" + json.dumps(["user_uttered", {"message": QUESTION}])
    await shop.ask(Asked(path="/socket.io/", query=query, body=event.encode()))
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        while True:
            polled = await shop.ask(Asked(path="/socket.io/", method="GET", query=query))
            for packet in polled.body.decode().split("\x1e"):
                if packet.startswith('42["bot_uttered"'):
                    await shop.ask(Asked(path="/socket.io/", query=query, body=b"1"))
                    return str(json.loads(packet[2:])[1]["text"])


async def socketio_session(shop: Shop) -> bytes:
    """An open session that has joined the namespace; its id."""
    opened = await shop.ask(Asked(path="/socket.io/", method="GET", query=b"EIO=4&transport=polling"))
    sid = str(json.loads(opened.body[1:])["sid"]).encode()
    query = b"EIO=4&transport=polling&sid=" + sid
    await shop.ask(Asked(path="/socket.io/", query=query, body=b"40"))
    await shop.ask(Asked(path="/socket.io/", method="GET", query=query))
    return sid


async def over_the_api(shop: Shop, number: int) -> str:
    path, token = f"/conversations/api-{number}/trigger_intent", {"authorization": f"Bearer {API_TOKEN}"}
    answer = await shop.post(path, b'{"name": "ask_hours"}', token)
    return _one([message.get("text") for message in json.loads(answer.body)["messages"]])


async def with_a_file(shop: Shop, number: int) -> str:
    """Uploads a picture and opens its link; the expected answer where the same bytes come back."""
    content = png(1_000 + number % 1_000)
    headers = upload_headers(shop.visitor())
    stored = await shop.ask(Asked(path="/webchat/upload", headers=headers, body=form_of(content)))
    link, _, query = str(json.loads(stored.body)["url"]).partition("?")
    opened = await shop.ask(Asked(path=link, method="GET", query=query.encode()))
    return ANSWER if opened.body == content else f"HTTP {opened.status}"


BOUNDARY = b"the-boundary"


def upload_headers(token: str, boundary: bytes = BOUNDARY) -> tuple[Header, ...]:
    content_type = b"multipart/form-data; boundary=" + boundary
    return ((b"content-type", content_type), (b"x-kefu-visitor", token.encode()), (b"origin", ORIGIN.encode()))


def form_of(content: bytes, name: bytes = b"a.png", field: bytes = b"file") -> bytes:
    head = b'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: image/png\r\n\r\n'
    return b"--" + BOUNDARY + b"\r\n" + head % (field, name) + content + b"\r\n--" + BOUNDARY + b"--\r\n"


def _one(texts: list[Any]) -> str:
    """The only text; all of them where there are more or none."""
    return str(texts[0]) if len(texts) == 1 else repr(texts)


CUSTOMERS: Mapping[str, Customer] = {
    "rest": over_rest,
    "slack": over_slack,
    "slack, Rasa's path": over_rasas_slack_path,
    "wechat": over_wechat,
    "wechat, encrypted": over_wechat_encrypted,
    "wechat_kf": over_kf,
    "telegram": over_telegram,
    "web": over_the_widget,
    "socketio": over_socketio,
    "rasa_api": over_the_api,
    "files": with_a_file,
}
