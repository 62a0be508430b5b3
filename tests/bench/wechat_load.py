"""WeChat's parts of bench_channels: slow answers under WeChat's real patience, and one token for two replicas."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.storage import inbox, outbox
from bot.storage.database import Database
from models.base import Understanding
from tests.bench.report import latency
from tests.lab import Lab, Read, Reader, labbot, running
from tests.postgres import PostgresServer, find_binaries
from tests.serving import serving
from tests.wechat_side import Account, WeChatServer, credentials, message_xml, wechat_server

READS_FOR_S = 20.0
TRY_DEADLINE_S, WECHAT_WAITS_S, TRIES = 4.5, 5.0, 3
HELLO = "we are open 9-5"
MAX_TAPS = 5
TOKEN_TRY_S = 0.5
SETTLED_WITHIN_S = 60.0
_numbers = itertools.count(1)


class SlowReader(Reader):
    """Reads one text and takes its time, or waits until it is let."""

    def __init__(self, reads_for_s: float = 0.0, gate: asyncio.Event | None = None) -> None:
        super().__init__({"hello": Read(intent="ask_hours")})
        self._reads_for_s, self._gate = reads_for_s, gate

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        await asyncio.sleep(self._reads_for_s)
        if self._gate is not None:
            await self._gate.wait()
        return await super().understand(texts)


# ---- slow answers ----


@dataclass(kw_only=True)
class Seen:
    """What the customers of one run saw.

    Attributes:
        tries: how each try ended: "answer", "link", "success", or "let go" when WeChat closed it.
        kept: whether each of them ended as designed and in time.
        said_s: of the tries that were answered, how long that took.
        heard: how often each customer got the answer in a reply.
    """

    tries: Counter[str] = field(default_factory=Counter)
    kept: list[bool] = field(default_factory=list)
    said_s: list[float] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)
    taps: int = 0


async def wechat_part(folder: Path, *, customers: int) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    """Figures and targets, with the permission to send customer messages and without it."""
    figures: dict[str, Any] = {"customers": customers, "answer_takes_s": READS_FOR_S, "wechat_waits_s": WECHAT_WAITS_S}
    targets: dict[str, bool] = {}
    for name, is_allowed in (("with_customer_messages", True), ("without_customer_messages", False)):
        figures[name], met = await _slow_answers(folder / name, customers, is_allowed=is_allowed)
        targets |= {f"{name}: {target}": is_met for target, is_met in met.items()}
    return figures, targets


async def _slow_answers(folder: Path, customers: int, *, is_allowed: bool) -> tuple[dict[str, Any], dict[str, bool]]:
    seen = Seen()
    async with wechat_server() as wechat, AsyncExitStack() as stack:
        told = credentials(api_url=wechat.url, try_deadline_s=TRY_DEADLINE_S, customer_messages=is_allowed)
        bot = labbot(credentials={"wechat": told})
        lab = await stack.enter_async_context(running(folder, bot, SlowReader(READS_FOR_S)))
        address = await stack.enter_async_context(serving(lab.app))
        http = await stack.enter_async_context(_client(address, customers))
        names = [f"customer{number:04d}" for number in range(customers)]
        account = Account(http=http)
        await asyncio.gather(*(_customer(account, name, seen, is_allowed) for name in names))
        await _settled([lab])
        unknown = [row for row in await _stuck(lab) if row.state == "unknown"]
    pushed = Counter(message["touser"] for message in wechat.sent)
    unclear = Counter(row.sender_id.removeprefix("wechat:") for row in unknown)
    times = {name: seen.heard[name] + pushed[name] + unclear[name] for name in names}
    figures = {
        "tries": dict(seen.tries),
        "tries_as_designed_in_time": sum(seen.kept),
        "n_tries": len(seen.kept),
        "answered_try": latency(seen.said_s),
        "taps": seen.taps,
        "answered_in_a_reply": seen.heard.total(),
        "answered_by_customer_message": pushed.total(),
        "unknown": len(unknown),
        "customers_answered_once_or_unknown": sum(count == 1 for count in times.values()),
    }
    return figures, {
        "every try met its deadline": all(seen.kept),
        "every message answered once, or unknown": all(count == 1 for count in times.values()),
    }


async def _customer(account: Account, name: str, seen: Seen, is_allowed: bool) -> None:
    """One message with WeChat's three tries, then taps on the link as long as there is one."""
    hello = message_xml("hello", next(_numbers), FromUserName=name)
    # The answer takes longer than all tries: the first ones have nothing to say, the last one must say something.
    designed = ["let go", "let go", "success" if is_allowed else "link"]
    content = await _delivered(account, hello, name, seen, designed)
    for _ in range(MAX_TAPS):
        if (link := re.search(r"msgmenuid=([\w.]+)", content or "")) is None:
            return
        seen.taps += 1
        tap = message_xml("tap", next(_numbers), FromUserName=name, bizmsgmenuid=link[1])
        content = await _delivered(account, tap, name, seen, ["link"] * TRIES) or content


async def _delivered(account: Account, body: str, name: str, seen: Seen, designed: Sequence[str]) -> str | None:
    """WeChat's tries until one is answered; each may end as designed, or with the answer."""
    content = None
    for end in designed:
        content = await _try(account, body, seen)
        seen.kept.append(_kind(content) in (end, "answer"))
        seen.heard[name] += _kind(content) == "answer"
        if content is not None:
            break
    return content


async def _try(account: Account, body: str, seen: Seen) -> str | None:
    """The reply's text, "" for "success"; None when WeChat closed the try."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(WECHAT_WAITS_S):
            content = str(account.read(await account.deliver(body)).get("Content", ""))
    except TimeoutError:
        content = None
    else:
        seen.said_s.append(loop.time() - began)
    seen.tries[_kind(content)] += 1
    return content


def _kind(content: str | None) -> str:
    match content:
        case None:
            return "let go"
        case "":
            return "success"
        case _:
            return "answer" if content == HELLO else "link" if "weixin://bizmsgmenu?" in content else "other"


# ---- one token ----


class EndedToken(WeChatServer):
    """Its token ends; all that are sent with it are refused in the same moment, once so many have come."""

    def __init__(self) -> None:
        super().__init__()
        self.refused, self.wanted = 0, 0
        self._all_there = asyncio.Event()

    async def custom_send(self, request: Request) -> Response:
        if request.query_params["access_token"] not in self.valid:
            self.refused += 1
            if self.refused >= self.wanted:
                self._all_there.set()
            async with asyncio.timeout(30):
                await self._all_there.wait()
            return JSONResponse({"errcode": 40001, "errmsg": "invalid credential"})
        return await super().custom_send(request)


def token_part(folder: Path, *, refusals: int) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    """Figures and targets of two replicas on a PostgreSQL of their own."""
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("no PostgreSQL: install the package postgresql")
    server = PostgresServer(binaries)
    server.start()
    try:
        database = Database.open(server.url())
        database.upgrade()
        database.dispose()
        return asyncio.run(_one_token(folder, server.url(), refusals))
    finally:
        server.stop()


async def _one_token(folder: Path, url: str, refusals: int) -> tuple[dict[str, Any], dict[str, bool]]:
    wechat, gate = EndedToken(), asyncio.Event()
    async with AsyncExitStack() as stack:
        wechat.url = f"http://{await stack.enter_async_context(serving(wechat.app()))}"
        # One short try each: the answers, which come later, are all due as customer messages in the same second.
        told = credentials(api_url=wechat.url, try_deadline_s=TOKEN_TRY_S, tries=1)
        labs, accounts = [], []
        for name in ("a", "b"):
            reader = SlowReader(gate=gate)
            bot = labbot(credentials={"wechat": told})
            lab = await stack.enter_async_context(running(folder / name, bot, reader, database_url=url))
            address = await stack.enter_async_context(serving(lab.app))
            http = await stack.enter_async_context(_client(address, refusals))
            labs.append(lab)
            accounts.append(Account(http=http))
        stack.callback(gate.set)  # a platform stops only when its turns have ended
        await _asked(accounts, ["first"], gate)
        await _settled(labs)
        known, wechat.wanted = len(wechat.fetches), refusals
        wechat.invalidate()
        gate.clear()
        await _asked(accounts, [f"customer{number:04d}" for number in range(refusals)], gate)
        await _settled(labs)
        stuck = await _stuck(labs[0])
    fetches = len(wechat.fetches) - known
    times = Counter(Counter(message["touser"] for message in wechat.sent).values())
    figures = {
        "replicas": len(labs),
        "refused_with_40001_at_once": wechat.refused,
        "token_fetches": fetches,
        "delivered_once": times[1] - 1,  # less the one that came first
        "not_delivered": len(stuck),
    }
    return figures, {
        f"{refusals} answers of 40001 at once: 1 token fetch": (wechat.refused, fetches) == (refusals, 1),
        "every message delivered once": times == {1: refusals + 1} and not stuck,
    }


async def _asked(accounts: Sequence[Account], names: Sequence[str], gate: asyncio.Event) -> None:
    """A message of each, by turns at each replica; then the bot may answer."""
    asking = (
        accounts[n % len(accounts)].ask(message_xml("hello", next(_numbers), FromUserName=name))
        for n, name in enumerate(names)
    )
    assert set(await asyncio.gather(*asking)) == {None}, "the answers were to come later"
    gate.set()


def _client(address: str, customers: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=customers)
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=30, limits=limits)


async def _settled(labs: Sequence[Lab]) -> None:
    """Every message has its turn behind it, and nothing is left to be sent."""
    platform = labs[0].platform
    name = platform.bot.assistant.assistant_id

    def left(conn: Connection) -> int:
        return inbox.waiting(conn, name) + len(outbox.undelivered(conn, name, waiting=True))

    with suppress(TimeoutError):  # what is left then is counted by whoever asked
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while await platform.db.read(left):
                await asyncio.sleep(0.1)


async def _stuck(lab: Lab) -> list[outbox.Undelivered]:
    name = lab.platform.bot.assistant.assistant_id
    return await lab.platform.db.read(lambda conn: outbox.undelivered(conn, name))
