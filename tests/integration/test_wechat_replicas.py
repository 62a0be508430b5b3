"""Two replicas on one PostgreSQL: whichever WeChat's tries reach, the customer gets the answer once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bot.storage.database import Database
from models.base import Understanding
from tests.lab import Lab, Read, Reader, labbot, running
from tests.postgres import PostgresServer, find_binaries
from tests.serving import serving
from tests.wechat_side import (
    TRY_S,
    Account,
    WeChatServer,
    ask_in_turn,
    credentials,
    message_xml,
    settled,
    wechat_server,
)

pytestmark = pytest.mark.postgres
HELLO = "we are open 9-5"


class GatedReader(Reader):
    """Reads when it is let; every replica's has the same gate."""

    def __init__(self, gate: asyncio.Event) -> None:
        super().__init__({"hello": Read(intent="ask_hours")})
        self._gate = gate

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        await self._gate.wait()
        return await super().understand(texts)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    replicas: list[Account]
    labs: list[Lab]
    gate: asyncio.Event
    wechat: WeChatServer


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: install the package postgresql")
    server = PostgresServer(binaries)
    server.start()
    database = Database.open(server.url())
    database.upgrade()
    database.dispose()
    yield server.url()
    server.stop()


@asynccontextmanager
async def cluster(home: Path, url: str) -> AsyncIterator[Cluster]:
    gate, replicas, labs = asyncio.Event(), [], []
    async with wechat_server() as wechat, AsyncExitStack() as stack:
        bot = labbot(credentials={"wechat": credentials(api_url=wechat.url, try_deadline_s=TRY_S)})
        for name in ("a", "b"):
            lab = await stack.enter_async_context(running(home / name, bot, GatedReader(gate), database_url=url))
            address = await stack.enter_async_context(serving(lab.app))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{address}", timeout=30))
            labs.append(lab)
            replicas.append(Account(http=http))
        try:
            yield Cluster(replicas=replicas, labs=labs, gate=gate, wechat=wechat)
        finally:
            gate.set()  # a platform stops only when its turns have ended


async def test_tries_at_different_replicas_join_one_answer(tmp_path: Path, database_url: str) -> None:
    async with cluster(tmp_path, database_url) as place:
        one, other = place.replicas
        outcomes = await ask_in_turn(
            [one, other, one],
            message_xml("hello", 1),
            lambda number: place.gate.set() if number == 3 else None,
        )
        assert outcomes[:2] == [None, None]
        assert outcomes[2]["Content"] == HELLO
        assert [await account.ask(message_xml("hello", 1)) for account in (other, one)] == [HELLO] * 2
        assert place.wechat.sent == []


async def test_a_late_answer_goes_out_once_from_one_of_them(tmp_path: Path, database_url: str) -> None:
    async with cluster(tmp_path, database_url) as place:
        one, other = place.replicas
        assert await ask_in_turn([one, other, other], message_xml("hello", 2), lambda _: None) == [None, None, {}]
        place.gate.set()
        await place.wechat.has_sent(1)
        await settled(place.labs[0])
        assert await one.answer(message_xml("hello", 3)) == HELLO
        assert place.wechat.texts() == [HELLO]
        assert place.wechat.fetches == [False]
