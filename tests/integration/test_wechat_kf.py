"""微信客服 on a running platform: callbacks, pulls with a cursor, sends that may be repeated."""

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
from connectors.base import InboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from connectors.wechat_kf import WeChatKf
from connectors.wechat_options import WeChatKfOptions
from tests.kf_side import CORP_ID, KF_ACCOUNT, KF_CUSTOMER, KF_SENDER, Caller, KfServer, kf_server
from tests.lab import Lab, Read, Reader, labbot, running
from tests.serving import serving
from tests.wechat_side import AES_KEY, TOKEN

TOLD = {"hello": Read(intent="ask_hours"), "bye": Read(intent="goodbye")}
HELLO, BYE = "we are open 9-5", "bye"


def credentials(url: str, **changes: Any) -> dict[str, Any]:
    values = {"corp_id": CORP_ID, "secret": "s", "token": TOKEN, "aes_key": AES_KEY, "api_url": url, "poll_s": 0.1}
    return values | changes


@dataclass(frozen=True, kw_only=True)
class Shop:
    lab: Lab
    caller: Caller
    server: KfServer

    async def rows(self, *, waiting: bool) -> list[outbox.Undelivered]:
        assistant_id = self.lab.platform.bot.assistant.assistant_id
        return await self.lab.platform.db.read(lambda c: outbox.undelivered(c, assistant_id, waiting=waiting))

    async def heard(self, sender_id: str = KF_SENDER) -> list[str]:
        """What the bot was told in the conversation."""
        tracker = await self.lab.tracker(sender_id)
        return [event["text"] for event in tracker["events"] if event["event"] == "user"]


@asynccontextmanager
async def shop(home: Path, **changes: Any) -> AsyncIterator[Shop]:
    async with kf_server() as server:
        bot = labbot(credentials={"wechat_kf": credentials(server.url, **changes)})
        async with (
            running(home, bot, Reader(TOLD)) as lab,
            serving(lab.app) as address,
            httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as http,
        ):
            yield Shop(lab=lab, caller=Caller(http=http), server=server)


async def test_the_address_is_checked_by_an_envelope(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        answer = await place.caller.check("1616140317555161061")
        assert (answer.status_code, answer.text) == (200, "1616140317555161061")


async def test_messages_are_pulled_page_by_page_and_answered_in_order(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        for text in ("hello", "bye", "hello", "bye", "hello"):
            place.server.write(text)
        assert await place.caller.call() == "success"
        assert await place.server.has_sent(5) == [HELLO, BYE, HELLO, BYE, HELLO]
        assert place.server.pulls == ["", "c2", "c4"]
        first = next(iter(place.server.sent.values()))
        assert (first["touser"], first["open_kfid"]) == (KF_CUSTOMER, KF_ACCOUNT)
        place.server.write("bye")
        await place.caller.call("t2")
        assert (await place.server.has_sent(6))[-1] == BYE
        assert place.server.pulls[3:] == ["c5"]
        assert place.server.tokens[-1] == "t2"
        assert place.server.fetches == 1


async def test_a_call_that_comes_twice_gives_no_message_twice(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        place.server.write("hello")
        await asyncio.gather(*(place.caller.call() for _ in range(3)))
        await place.server.has_sent(1)
        place.server.write("bye")
        await place.caller.call("t2")
        assert await place.server.has_sent(2) == [HELLO, BYE]
        assert await place.heard() == ["hello", "bye"]


async def test_only_what_a_customer_wrote_reaches_the_bot(tmp_path: Path) -> None:
    async with shop(tmp_path, texts={"image": "bye"}) as place:
        place.server.write("", origin=4, msgtype="event", event={"event_type": "enter_session", "welcome_code": "w"})
        place.server.write("", origin=4, msgtype="event", event={"event_type": "msg_send_fail", "fail_type": 4})
        place.server.write("a colleague's", origin=5, servicer_userid="zhangsan")
        place.server.write("", msgtype="hologram")
        place.server.write("", msgtype="image", image={"media_id": "m1"})
        place.server.messages.append({"msgid": 7})
        await place.caller.call()
        assert await place.server.has_sent(1) == [BYE]
        assert await place.heard() == ["bye"]


async def test_the_first_pull_answers_nothing_of_the_days_before(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        for _ in range(3):
            place.server.write("bye", send_time=1_700_000_000)
        place.server.write("hello")
        await place.caller.call()
        assert await place.server.has_sent(1) == [HELLO]
        assert await place.heard() == ["hello"]


async def test_a_call_whose_token_ran_out_is_pulled_without_it(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        place.server.stale_tokens = {"t1"}
        place.server.write("hello")
        await place.caller.call()
        assert await place.server.has_sent(1) == [HELLO]
        assert place.server.tokens == ["t1", None]


async def test_a_pull_that_failed_is_made_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        place.server.pull_errors = [-1, 45009]
        place.server.write("hello")
        await place.caller.call()
        assert await place.server.has_sent(1) == [HELLO]


async def test_other_callbacks_are_acknowledged_and_pull_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        assert await place.caller.call(event="change_contact") == "success"
        place.server.write("hello")
        await place.caller.call()
        await place.server.has_sent(1)
        assert place.server.pulls == [""]


async def test_an_unknown_end_is_repeated_and_arrives_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        place.server.answers = ["taken but unsaid"]
        place.server.write("hello")
        await place.caller.call()
        async with asyncio.timeout(20):
            while place.server.sends < 2:
                await asyncio.sleep(0.02)
        assert await place.server.has_sent(1) == [HELLO]
        assert await place.rows(waiting=False) == []


async def test_what_wecom_does_not_take_goes_out_at_the_next_visit(tmp_path: Path) -> None:
    async with shop(tmp_path) as place:
        place.server.answers = [95001]
        place.server.write("hello")
        await place.caller.call()
        async with asyncio.timeout(20):
            while not (rows := await place.rows(waiting=True)) or not rows[0].error:
                await asyncio.sleep(0.02)
        assert "95001" in str(rows[0].error)
        place.server.write("bye")
        await place.caller.call("t2")
        assert await place.server.has_sent(2) == [HELLO, BYE]


# ---- a pull that dies ----


class DyingPorts(MemoryPorts):
    """Stores the first page, then the process is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.may_store = 1
        self.pages: list[list[str]] = []

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        if any(change.key.startswith("wechat_kf/cursor/") for change in state_changes):
            if not self.may_store:
                raise asyncio.CancelledError
            self.may_store -= 1
            self.pages.append([message.text for message in batch])
        return await super().receive(batch, state_changes)


async def test_another_process_ends_the_pull_of_one_that_died() -> None:
    ports = DyingPorts()
    async with kf_server() as server:
        options = WeChatKfOptions.of(credentials(server.url), {})
        for text in ("1", "2", "3", "4", "5"):
            server.write(text)
        first, second = WeChatKf(options), WeChatKf(options)
        async with httpx.AsyncClient(transport=transport(first, ports), base_url="http://shop") as http:
            await Caller(http=http).call()
        with pytest.raises(asyncio.CancelledError):
            await first.run(ports)
        assert ports.pages == [["1", "2"]]
        ports.may_store = 10
        taking_over = asyncio.create_task(second.run(ports))
        async with asyncio.timeout(20):
            while len(ports.waiting) < 5:
                await asyncio.sleep(0.02)
        taking_over.cancel()
        await asyncio.gather(taking_over, return_exceptions=True)
        assert [message.text for message in ports.waiting.values()] == ["1", "2", "3", "4", "5"]
        assert server.pulls == ["", "c2", "c2", "c4"]


def transport(channel: WeChatKf, ports: MemoryPorts) -> httpx.ASGITransport:
    from starlette.applications import Starlette

    return httpx.ASGITransport(Starlette(routes=channel.routes(ports)))
