"""The Official Account channel on a running platform: WeChat's three tries, its modes, its HTTP interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.storage import outbox
from models.base import Understanding
from tests.lab import Lab, Read, Reader, labbot, running
from tests.serving import serving
from tests.wechat_side import AES_KEY, TRY_S, Account, WeChatServer, credentials, event_xml, message_xml, wechat_server

TOLD = {"hello": Read(intent="ask_hours"), "bye": Read(intent="goodbye"), "rich": Read(intent="show_rich")}
SHORT: dict[str, Any] = {"try_deadline_s": TRY_S}
HELLO, BYE = "we are open 9-5", "bye"


class SlowReader(Reader):
    """Reads when it is let."""

    def __init__(self) -> None:
        super().__init__(TOLD)
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.reads = 0

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        self.reads += 1
        await self.may_read.wait()
        return await super().understand(texts)


@dataclass(frozen=True, kw_only=True)
class Shop:
    lab: Lab
    account: Account
    reader: SlowReader
    wechat: WeChatServer

    async def waiting(self) -> list[outbox.Undelivered]:
        assistant_id = self.lab.platform.bot.assistant.assistant_id
        return await self.lab.platform.db.read(lambda c: outbox.undelivered(c, assistant_id, waiting=True))

    async def stuck(self) -> list[outbox.Undelivered]:
        assistant_id = self.lab.platform.bot.assistant.assistant_id
        return await self.lab.platform.db.read(lambda c: outbox.undelivered(c, assistant_id))

    async def settled(self) -> None:
        """Nothing is left to be sent."""
        async with asyncio.timeout(10):
            while await self.waiting():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def shop(home: Path, mode: str = "plaintext", **changes: Any) -> AsyncIterator[Shop]:
    reader = SlowReader()
    async with wechat_server() as wechat:
        settings = {"mode": mode, "api_url": wechat.url, **({} if mode == "plaintext" else {"aes_key": AES_KEY})}
        bot = labbot(credentials={"wechat": credentials(**settings | changes)})
        async with (
            running(home, bot, reader) as lab,
            serving(lab.app) as address,
            httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as http,
        ):
            yield Shop(lab=lab, account=Account(http=http, mode=mode), reader=reader, wechat=wechat)


# ---- the address, the modes ----


@pytest.mark.parametrize("mode", ["plaintext", "compatible", "safe"])
async def test_a_message_is_answered_in_the_mode_of_its_request(tmp_path: Path, mode: str) -> None:
    async with shop(tmp_path, mode) as place:
        check = await place.account.http.get("/webhooks/wechat", params=place.account.query(echostr="54321 <&"))
        assert (check.status_code, check.text) == (200, "54321 <&")
        reply = place.account.read(await place.account.deliver(message_xml("hello")))
        assert (reply["MsgType"], reply["Content"]) == ("text", HELLO)
        assert (reply["ToUserName"], reply["FromUserName"]) == ("oia2TjjewbmiOUlr6X-1crbLOvLw", "gh_7f083739789a")
        await place.settled()
        assert place.wechat.sent == []


async def test_safe_mode_takes_nothing_in_plain_text(tmp_path: Path) -> None:
    async with shop(tmp_path, "safe") as place:
        plain = Account(http=place.account.http)
        assert (await plain.deliver(message_xml("hello"))).status_code == 403
        assert place.reader.reads == 0


# ---- three tries ----


async def test_three_tries_with_a_slow_answer_are_answered_once_passively(tmp_path: Path) -> None:
    async with shop(tmp_path, **SHORT) as place:
        place.reader.may_read.clear()
        outcomes = await place.account.ask_thrice(
            message_xml("hello"), lambda number: place.reader.may_read.set() if number == 3 else None
        )
        assert outcomes[:2] == [None, None]
        assert outcomes[2]["Content"] == HELLO
        await place.settled()
        assert place.reader.reads == 1
        assert place.wechat.sent == []


async def test_a_reply_that_went_missing_is_given_again_to_the_next_try(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        for _ in range(3):
            assert await place.account.ask(message_xml("hello")) == HELLO
        assert place.reader.reads == 1
        await place.settled()
        assert place.wechat.sent == []


async def test_an_answer_later_than_all_tries_goes_out_once_as_a_customer_message(tmp_path: Path) -> None:
    async with shop(tmp_path, **SHORT) as place:
        place.reader.may_read.clear()
        outcomes = await place.account.ask_thrice(message_xml("hello"))
        assert outcomes == [None, None, {}]
        place.reader.may_read.set()
        await place.wechat.has_sent(1)
        await place.settled()
        [sent] = place.wechat.sent
        assert sent == {"touser": "oia2TjjewbmiOUlr6X-1crbLOvLw", "msgtype": "text", "text": {"content": HELLO}}
        assert place.reader.reads == 1
        assert await place.account.ask(message_xml("hello")) is None
        assert len(place.wechat.sent) == 1
