"""The Official Account channel on a running platform: WeChat's three tries, its modes, its HTTP interface."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.assistant.domain import Domain
from bot.assistant.loader import load_assistant
from bot.storage import outbox
from models.base import Understanding
from tests.lab import LABBOT, Lab, Read, Reader, labbot, running
from tests.server import kefu
from tests.serving import serving
from tests.wechat_side import (
    AES_KEY,
    TRY_S,
    Account,
    WeChatServer,
    credentials,
    event_xml,
    message_xml,
    settled,
    wechat_server,
)

pytestmark = pytest.mark.both_databases

TOLD = {"hello": Read(intent="ask_hours"), "bye": Read(intent="goodbye"), "long": Read(intent="chitchat")}
SHORT: dict[str, Any] = {"try_deadline_s": TRY_S}
CHOICE = {
    "text": "?",
    "buttons": [{"title": "再见", "payload": "/goodbye"}, {"title": "几点", "payload": "/ask_hours"}],
}
LONG = "长" * 1_500  # 4,500 bytes: more than two replies hold
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
        await settled(self.lab)


@asynccontextmanager
async def shop(
    home: Path, mode: str = "plaintext", says: Mapping[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Shop]:
    """A running shop. `says`: the bot's message to "long"; `changes`: of its `wechat:` in credentials.yml."""
    reader = SlowReader()
    async with wechat_server() as wechat:
        settings = {"mode": mode, "api_url": wechat.url, **({} if mode == "plaintext" else {"aes_key": AES_KEY})}
        bot = labbot(credentials={"wechat": credentials(**settings | changes)}, domain=domain_that_says(says))
        async with (
            running(home, bot, reader) as lab,
            serving(lab.app) as address,
            httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as http,
        ):
            try:
                yield Shop(lab=lab, account=Account(http=http, mode=mode), reader=reader, wechat=wechat)
            finally:
                reader.may_read.set()  # a platform stops only when its turns have ended


def domain_that_says(body: Mapping[str, Any] | None) -> Domain:
    domain = load_assistant(LABBOT, {}).domain
    if body is None:
        return domain
    [variation] = domain.responses["utter_chitchat"]
    return replace(domain, responses={**domain.responses, "utter_chitchat": (replace(variation, body=body),)})


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


# ---- customer-service messages: permission, windows, unknown ends ----


async def late_answer(place: Shop, text: str = "hello", message_id: int = 1) -> None:
    """A message whose three tries pass without an answer; then the bot answers."""
    place.reader.may_read.clear()
    assert (await place.account.ask_thrice(message_xml(text, message_id)))[:2] == [None, None]
    place.reader.may_read.set()


async def kept(place: Shop) -> outbox.Undelivered:
    """The one message that WeChat did not take and that is kept."""
    async with asyncio.timeout(10):
        while not (waiting := await place.waiting()) or not waiting[0].error:
            await asyncio.sleep(0.02)
    [one] = waiting
    return one


async def test_what_wechat_does_not_take_waits_for_the_next_visit(tmp_path: Path) -> None:
    async with shop(tmp_path, **SHORT) as place:
        place.wechat.answers = [45015]
        await late_answer(place)
        assert "45015" in str((await kept(place)).error)
        assert await place.account.answer(message_xml("bye", 2)) == f"{HELLO}\n\n{BYE}"
        assert await place.waiting() == await place.stuck() == []
        assert (place.wechat.calls, place.wechat.sent) == (1, [])


async def test_an_unknown_end_is_shown_to_operators_and_never_sent_again(tmp_path: Path) -> None:
    async with shop(tmp_path, **SHORT) as place:
        place.wechat.answers = ["taken but unsaid"]
        await late_answer(place)
        await place.wechat.has_sent(1)
        await place.settled()
        [stuck] = await place.stuck()
        assert stuck.state == "unknown"
        assert await place.account.answer(message_xml("bye", 2)) == BYE
        assert place.wechat.texts() == [HELLO]


async def test_an_account_that_may_not_send_hands_a_late_answer_to_the_next_message(tmp_path: Path) -> None:
    async with shop(tmp_path, customer_messages=False, app_secret="", **SHORT) as place:
        place.reader.may_read.clear()
        outcomes = await place.account.ask_thrice(message_xml("hello"))
        assert outcomes[:2] == [None, None]
        assert "weixin://bizmsgmenu?" in outcomes[2]["Content"]
        place.reader.may_read.set()
        assert await place.account.answer(message_xml("bye", 2)) == f"{HELLO}\n\n{BYE}"
        assert await place.waiting() == []
        assert (place.wechat.calls, place.wechat.fetches) == (0, [])


async def test_a_tap_fetches_the_late_answer_and_tells_the_bot_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path, customer_messages=False, **SHORT) as place:
        place.reader.may_read.clear()
        later = (await place.account.ask_thrice(message_xml("hello")))[2]["Content"]
        [menu_id] = re.findall(r"msgmenuid=([\w.]+)", later)
        tap = message_xml("点这里查看", 2, bizmsgmenuid=menu_id)
        assert "weixin://bizmsgmenu?" in str(await place.account.answer(tap)), "not ready yet"
        place.reader.may_read.set()
        again = message_xml("点这里查看", 3, bizmsgmenuid=menu_id)
        assert [await place.account.answer(again) for _ in range(2)] == [HELLO] * 2
        assert place.reader.reads == 1


async def test_a_long_answer_is_given_in_pieces_and_the_rest_with_the_next_message(tmp_path: Path) -> None:
    async with shop(tmp_path, customer_messages=False, says={"text": LONG}) as place:
        first = str(await place.account.ask(message_xml("long", 1)))
        assert len(first.encode()) <= 2_048
        assert "weixin://bizmsgmenu?" in first
        assert await place.account.ask(message_xml("long", 1)) == first
        [menu_id] = re.findall(r"msgmenuid=([\w.]+)", first)
        second = str(await place.account.ask(message_xml("点这里看下文", 2, bizmsgmenuid=menu_id)))
        third = str(await place.account.ask(message_xml("bye", 3)))
        shown = first.partition("\n（")[0] + second.partition("\n（")[0] + third.partition("\n\n")[0]
        assert shown == LONG
        assert third.endswith(f"\n\n{BYE}")


async def test_the_rest_of_a_long_answer_follows_as_customer_messages(tmp_path: Path) -> None:
    async with shop(tmp_path, try_deadline_s=2.0, says={"text": LONG}) as place:
        first = str(await place.account.ask(message_xml("long", 1)))
        assert await place.account.ask(message_xml("long", 1)) == first
        await place.wechat.has_sent(2)
        assert first + "".join(place.wechat.texts()) == LONG
        assert await place.account.ask(message_xml("bye", 2)) == BYE


async def test_a_rest_on_its_way_is_unknown_to_operators_until_its_end_is_known(tmp_path: Path) -> None:
    """What they see meanwhile is what a sender leaves that dies there."""
    async with shop(tmp_path, try_deadline_s=2.0, says={"text": LONG}) as place:
        place.wechat.hang = asyncio.Event()
        first = str(await place.account.ask(message_xml("long", 1)))
        async with asyncio.timeout(20):
            while not place.wechat.calls:
                await asyncio.sleep(0.02)
        [stuck] = await place.stuck()
        assert (stuck.state, "died" in str(stuck.error)) == ("unknown", True)
        place.wechat.hang.set()
        await place.wechat.has_sent(2)
        async with asyncio.timeout(10):
            while await place.stuck():
                await asyncio.sleep(0.02)
        assert first + "".join(place.wechat.texts()) == LONG


async def test_a_rest_whose_end_is_unknown_is_shown_to_operators(tmp_path: Path) -> None:
    async with shop(tmp_path, try_deadline_s=2.0, says={"text": LONG}) as place:
        place.wechat.answers = ["taken but unsaid"]
        await place.account.ask(message_xml("long", 1))
        await place.wechat.has_sent(1)
        async with asyncio.timeout(10):
            while "did not answer" not in (why := str([row.error for row in await place.stuck()])) and "504" not in why:
                await asyncio.sleep(0.02)
        assert await place.account.ask(message_xml("bye", 2)) == BYE, "it is not given again"


async def test_a_rest_that_wechat_refuses_comes_with_the_next_message(tmp_path: Path) -> None:
    async with shop(tmp_path, try_deadline_s=2.0, says={"text": LONG}) as place:
        place.wechat.answers = [45015]
        first = str(await place.account.ask(message_xml("long", 1)))
        async with asyncio.timeout(20):
            while not place.wechat.calls or await place.stuck():
                await asyncio.sleep(0.02)
        second = str(await place.account.ask(message_xml("bye", 2)))
        assert LONG.startswith(first + second)


async def test_an_answer_waits_for_the_one_before_that_is_on_its_way(tmp_path: Path) -> None:
    async with shop(tmp_path, **SHORT) as place:
        await late_answer(place)
        place.wechat.hang = asyncio.Event()
        async with asyncio.timeout(20):
            while not place.wechat.calls:
                await asyncio.sleep(0.02)
        tries = await place.account.ask_thrice(
            message_xml("bye", 2), lambda number: place.wechat.hang.set() if number == 2 else None
        )
        assert (tries[0], tries[-1]["Content"]) == (None, BYE)
        assert place.wechat.texts() == [HELLO]


# ---- what the customer may choose ----


async def test_a_number_after_a_list_is_its_button(tmp_path: Path) -> None:
    async with shop(tmp_path, says=CHOICE) as place:
        assert await place.account.ask(message_xml("long", 1)) == "?\n1. 再见\n2. 几点"
        assert await place.account.ask(message_xml("２", 2)) == HELLO
        assert await place.account.ask(message_xml("2", 3)) != HELLO, "the list is over"


async def test_a_tap_on_a_menu_entry_is_its_button_however_old(tmp_path: Path) -> None:
    async with shop(tmp_path, says=CHOICE, **SHORT) as place:
        await late_answer(place, "long")
        [menu] = await place.wechat.has_sent(1)
        assert menu["msgtype"] == "msgmenu"
        await place.settled()
        assert await place.account.answer(message_xml("hello", 2)) == HELLO
        entry = menu["msgmenu"]["list"][0]
        assert await place.account.answer(message_xml(entry["content"], 3, bizmsgmenuid=entry["id"])) == BYE
        assert await place.account.answer(message_xml("hello", 4, bizmsgmenuid="1.1")) == HELLO


async def test_a_tap_on_the_accounts_menu_is_its_key(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        assert await place.account.ask(event_xml("CLICK", "/goodbye")) == BYE
        assert await place.account.ask(event_xml("CLICK", "/goodbye")) == BYE
        assert place.reader.reads == 0
        tracker = await place.lab.tracker("wechat:oia2TjjewbmiOUlr6X-1crbLOvLw")
        assert [event["text"] for event in tracker["events"] if event["event"] == "user"] == ["/goodbye"]
        assert tracker["latest_input_channel"] == "wechat"


async def test_a_subscriber_is_greeted_where_the_assistant_says_so(tmp_path: Path) -> None:
    async with shop(tmp_path, texts={"subscribe": "/goodbye"}) as place:
        assert await place.account.ask(event_xml("subscribe")) == BYE
        for event in ("unsubscribe", "LOCATION", "VIEW", "kf_create_session", "a_new_kind"):
            assert await place.account.ask(event_xml(event, CreateTime="1714036600")) is None


async def test_where_the_bot_is_silent_wechats_own_desk_takes_over(tmp_path: Path) -> None:
    async with shop(tmp_path, transfer_customer_service=True) as place:
        assert await place.account.ask(message_xml("hello", 1)) == HELLO
        await place.lab.http.post(
            "/conversations/wechat:oia2TjjewbmiOUlr6X-1crbLOvLw/tracker/events", json={"event": "pause"}
        )
        reply = place.account.read(await place.account.deliver(message_xml("hello", 2)))
        assert reply["MsgType"] == "transfer_customer_service"


async def test_an_article_is_one_reply(tmp_path: Path) -> None:
    card = {"type": "card", "title": "台灯", "subtitle": "¥129", "image_url": "https://shop.example/a.png"}
    async with shop(tmp_path, says={"custom": card}) as place:
        reply = place.account.read(await place.account.deliver(message_xml("long")))
        assert (reply["MsgType"], reply["Articles"]["item"]["Title"]) == ("news", "台灯")


async def test_the_menu_of_the_credentials_is_pushed_by_a_command(tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    shutil.copytree(LABBOT, bot)
    async with wechat_server() as wechat:
        credentials_yml = bot / "credentials.yml"
        credentials_yml.write_text(
            f"wechat:\n  token: t\n  app_id: wx1\n  app_secret: s\n  api_url: {wechat.url}\n"
            "  menu:\n    button:\n      - {type: click, name: 联系客服, key: /greet}\n",
            encoding="utf-8",
        )
        said = await asyncio.to_thread(kefu, "wechat", "menu", "--assistant", str(bot), home=tmp_path / "home")
        assert "the menu is set" in said.stdout
        assert wechat.menus == [{"button": [{"type": "click", "name": "联系客服", "key": "/greet"}]}]
