"""Tokens, errors and budgets against WeChat's interface over real HTTP, with two processes on one state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from connectors.base import (
    Delivered,
    DeliveryUnknown,
    RetryLater,
    SendResult,
    StateChange,
    Undeliverable,
)
from connectors.memory import MemoryState
from connectors.wechat_api import Tokens, WeChatApi, official_account_api, push_menu
from connectors.wechat_budget import Budget
from connectors.wechat_desk import KEPT, Desk
from connectors.wechat_errors import KEEP_S, PAUSE_S, REMEDIES, NoToken, NotSent, Refused, Unclear, send_result
from connectors.wechat_options import BudgetOptions
from tests.wechat_side import APP_ID, WeChatServer, wechat_server

NOW = 1_000_000.0


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Process:
    """One replica: its own connection and its own tokens, the state shared."""

    server: WeChatServer
    state: MemoryState
    clock: Clock = field(default_factory=Clock)
    api: WeChatApi = field(init=False)
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(base_url=self.server.url, timeout=60)
        self.api = official_account_api(self.http, self.state, APP_ID, "secret", self.clock)

    async def say(self, text: str) -> None:
        await self.api.call("/cgi-bin/message/custom/send", {"touser": "o1", "text": {"content": text}})


@pytest.fixture
async def server() -> AsyncIterator[WeChatServer]:
    async with wechat_server() as running:
        yield running


@pytest.fixture
async def processes(server: WeChatServer) -> AsyncIterator[list[Process]]:
    state = MemoryState()
    found = [Process(server, state) for _ in range(2)]
    yield found
    for process in found:
        await process.http.aclose()


# ---- the token ----


async def test_one_token_serves_all_until_it_ends(server: WeChatServer, processes: list[Process]) -> None:
    one, other = processes
    await asyncio.gather(*(process.say(str(n)) for n in range(10) for process in processes))
    assert server.fetches == [False]
    one.clock.now = other.clock.now = NOW + server.lives_s - 100
    await one.say("again")
    assert server.fetches == [False, False]
    assert len(server.sent) == 21


async def test_a_hundred_refusals_at_once_on_two_processes_are_one_fetch(
    server: WeChatServer, processes: list[Process]
) -> None:
    await processes[0].say("first")
    server.invalidate()
    before = len(server.fetches)
    await asyncio.gather(*(process.say(str(n)) for n in range(50) for process in processes))
    assert len(server.fetches) == before + 1
    assert len(server.sent) == 101


async def test_a_token_that_wechat_still_gives_out_but_refuses_is_forced_once(
    server: WeChatServer, processes: list[Process]
) -> None:
    await processes[0].say("first")
    server.valid.clear()  # revoked, and yet the current one
    await asyncio.gather(*(process.say(str(n)) for n in range(20) for process in processes))
    assert server.fetches == [False, False, True]
    assert len(server.sent) == 41


async def test_a_token_that_is_refused_again_is_not_fetched_without_end(
    server: WeChatServer, processes: list[Process]
) -> None:
    await processes[0].say("first")
    server.answers = [40001] * 1_000
    for _ in range(10):
        with pytest.raises(Refused):
            await processes[0].say("refused")
    assert server.fetches.count(True) == 1
    assert server.calls == 1 + 10 * 2


async def test_who_cannot_get_a_token_has_sent_nothing(server: WeChatServer, processes: list[Process]) -> None:
    server.fetch_errors = [40164] * 50
    outcomes = await asyncio.gather(*(process.say("x") for process in processes * 10), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {NoToken}
    assert len(server.fetches) <= 4  # a process each, and once more where one began after the other's failure
    refused = outcomes[0]
    assert isinstance(refused, NoToken)
    assert send_result(refused) == RetryLater(reason=str(refused), after_s=PAUSE_S)
    assert "secret" not in str(refused)


async def test_the_lease_of_a_process_that_died_costs_no_message() -> None:
    state = MemoryState()
    await state.lease("token", "dead", 60)

    async def fetch(_: bool) -> tuple[str, float]:
        raise AssertionError("the lease is not ours")

    tokens = Tokens(state, "token", fetch, can_force=True, poll_s=0.01, wait_s=0.05)
    with pytest.raises(NotSent):
        await tokens.get()
    await state.lease("token", "dead", 0)

    async def fetch_now(_: bool) -> tuple[str, float]:
        return "fresh", 7_200

    assert await Tokens(state, "token", fetch_now, can_force=True).get() == "fresh"


# ---- what an end means ----


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (0, Delivered),
        (-1, RetryLater),
        (45009, RetryLater),
        (45015, RetryLater),
        (45047, RetryLater),
        (48001, RetryLater),
        (40003, Undeliverable),
        (99999, Undeliverable),
        ("nonsense", DeliveryUnknown),
        ("taken but unsaid", DeliveryUnknown),
    ],
)
async def test_what_becomes_of_a_message(
    server: WeChatServer, processes: list[Process], answer: int | str, result: type[SendResult]
) -> None:
    desk, _ = await desk_with(processes[0], message=5)
    server.answers = [answer]
    assert type(await desk.send("o1", ["hello"])) is result


async def test_a_wechat_that_is_not_there_was_not_sent_anything(processes: list[Process]) -> None:
    process = processes[0]
    await process.say("to have a token")
    process.http.base_url = httpx.URL("http://127.0.0.1:9")
    with pytest.raises(NotSent):
        await process.say("x")


async def test_a_connection_that_ends_before_the_answer_leaves_it_open(
    server: WeChatServer, processes: list[Process]
) -> None:
    await processes[0].say("to have a token")
    cut = httpx.AsyncClient(base_url=server.url, timeout=httpx.Timeout(5, read=0.000_001))
    api = official_account_api(cut, processes[0].state, APP_ID, "secret", processes[0].clock)
    with pytest.raises(Unclear):
        await api.call("/cgi-bin/message/custom/send", {"touser": "o1"})
    await cut.aclose()


def test_the_table_keeps_what_the_next_visit_collects() -> None:
    kept = [code for code, remedy in REMEDIES.items() if remedy == "keep"]
    assert {45015, 45047, 48001} <= set(kept)
    assert all(
        send_result(Refused(code, "")) == RetryLater(reason=str(Refused(code, "")), after_s=KEEP_S) for code in kept
    )


async def test_the_menu_is_pushed_as_utf8(server: WeChatServer, processes: list[Process]) -> None:
    menu = {"button": [{"type": "click", "name": "联系客服", "key": "/greet"}]}
    await push_menu(processes[0].api, menu)
    assert server.menus == [menu]


# ---- the budget ----


async def desk_with(process: Process, **allowed: int) -> tuple[Desk, MemoryState]:
    """A desk whose customer has been here; `message`, `event`: what this lets it send."""
    options = BudgetOptions(after_message=allowed.get("message", 0), after_event=allowed.get("event", 0))
    budget = Budget("wechat", options, process.clock)
    for kind in allowed:
        renew(process.state, budget.renewed("o1", "event" if kind == "event" else "message"))
    return Desk(process.api, budget, process.state), process.state


def renew(state: MemoryState, change: StateChange) -> None:
    state.set(change)


async def test_no_more_is_sent_than_wechat_lets_pass(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=5)
    results = await asyncio.gather(*(desk.send("o1", [str(n)]) for n in range(8)))
    assert results.count(Delivered()) == 5
    assert results.count(KEPT) == 3
    assert len(server.sent) == 5


async def test_what_does_not_fit_as_a_whole_is_not_begun(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=2)
    assert await desk.send("o1", ["1", "2", "3"]) == KEPT
    assert server.sent == []
    assert await desk.send("o1", ["1", "2"]) == Delivered()


async def test_the_places_end_with_their_time(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=5, event=3)
    processes[0].clock.now += 61  # a minute after the tap on the menu, only those of the message are left
    assert [await desk.send("o1", [str(n)]) for n in range(6)] == [Delivered()] * 5 + [KEPT]
    desk, _ = await desk_with(processes[0], message=5)
    processes[0].clock.now += 48 * 3_600
    assert await desk.send("o1", ["too late"]) == KEPT


async def test_wechat_knows_better_how_many_are_left(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=5)
    server.answers = [45047]
    assert isinstance(await desk.send("o1", ["a"]), RetryLater)
    calls = server.calls
    assert await desk.send("o1", ["b"]) == KEPT
    assert server.calls == calls


async def test_what_was_not_sent_costs_no_place(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=1)
    server.answers = [-1]
    assert isinstance(await desk.send("o1", ["a"]), RetryLater)
    assert await desk.send("o1", ["a"]) == Delivered()


async def test_a_message_of_which_a_part_arrived_is_not_begun_again(
    server: WeChatServer, processes: list[Process]
) -> None:
    desk, _ = await desk_with(processes[0], message=5)
    server.answers = [0, 45009]
    result = await desk.send("o1", ["first", "second"])
    assert isinstance(result, DeliveryUnknown)
    assert "1 of 2" in result.reason
    assert server.texts() == ["first"]


async def test_an_unknown_end_costs_its_place(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=1)
    server.answers = ["taken but unsaid"]
    assert isinstance(await desk.send("o1", ["a"]), DeliveryUnknown)
    assert await desk.send("o1", ["b"]) == KEPT


async def test_what_has_nothing_to_show_holds_up_nothing(server: WeChatServer, processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0])
    assert await desk.send("o1", []) == Delivered()
    assert server.calls == 0


async def test_a_stranger_is_sent_nothing(processes: list[Process]) -> None:
    desk, _ = await desk_with(processes[0], message=5)
    assert await desk.send("o2", ["hello"]) == KEPT
