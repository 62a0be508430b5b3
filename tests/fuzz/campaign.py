"""A fuzzing run: malformed requests of all channels in random order, valid messages between them, everything counted.

A round is: some hundred requests of which nothing may come, and then the rows of the database counted; requests that
chance has changed, with one valid message among them, and then the rows counted again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz import mutations as m
from tests.fuzz.open_surfaces import open_surfaces, wrong_frame, wrong_hello
from tests.fuzz.requests import Answered, Asked, Wire
from tests.fuzz.shop import ANSWER, CUSTOMERS, Shop, socketio_session
from tests.fuzz.surfaces import SIGNED, Case, Surface, shaken

STRICT_A_ROUND, LOOSE_A_ROUND, FRAMES_A_SOCKET, PACKETS_A_SESSION = 170, 20, 12, 6
AT_ONCE = 8
HANGS_AFTER_S = 60.0
MAX_SHOWN = 40
_RASAS_OWN = ("ConversationError", "ParsingError")


@dataclass(kw_only=True)
class Outcome:
    """What a run saw. `problems`: each a sentence, the first `MAX_SHOWN`."""

    malformed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    still_valid: int = 0
    valid: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    server_errors: int = 0
    exceptions: int = 0
    hangs: int = 0
    rows_too_many: int = 0
    wrongly_taken: int = 0
    longest_s: float = 0.0
    longest_valid_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        if len(self.problems) < MAX_SHOWN:
            self.problems.append(text)

    @property
    def is_clean(self) -> bool:
        trouble = self.server_errors + self.exceptions + self.hangs + self.rows_too_many + self.wrongly_taken
        return trouble == 0 and self.valid == self.answered


async def run(shop: Shop, requests: int, seed: int = 0) -> Outcome:
    """Put at least so many malformed requests (websocket frames and Socket.IO packets count each) to the shop."""
    outcome, rng = Outcome(), random.Random(seed)
    surfaces = (*SIGNED, *open_surfaces(shop.secret))
    names, number = list(CUSTOMERS), 0
    with _listening(outcome):
        while outcome.malformed.total() - outcome.still_valid < requests:
            await _round(shop, outcome, rng, surfaces, names[number % len(names)], number)
            number += 1
        await shop.settled()
        gc.collect()  # a task that failed unseen says so when it is collected
        await asyncio.sleep(0)
    return outcome


async def _round(
    shop: Shop, outcome: Outcome, rng: random.Random, surfaces: tuple[Surface, ...], customer: str, number: int
) -> None:
    before = await shop.rows()
    cases = [shaken(rng, rng.choice(surfaces).strict(rng)) for _ in range(STRICT_A_ROUND)]
    await _put(shop, outcome, cases)
    await _chat(shop, outcome, rng)
    if number % 4 == 0:
        await _over_a_session(shop, outcome, rng)
    if (after := await shop.rows()) != before:
        outcome.rows_too_many += 1
        kinds = Counter(f"{case.channel}: {case.kind}" for case in cases)
        outcome.problem(f"rows {before} became {after}, seed of round {number}, among {dict(kinds)}")

    loose = [rng.choice(surfaces).loose(rng) for _ in range(LOOSE_A_ROUND)]
    _, (taken, *_) = await asyncio.gather(
        _valid(shop, outcome, customer, number), asyncio.gather(_put(shop, outcome, loose))
    )
    await shop.settled()
    stored = (await shop.rows())["inbox"] - after["inbox"]
    by_customer = 0 if customer == "files" else 1
    outcome.still_valid += max(0, stored - by_customer)
    if stored > taken + by_customer:
        outcome.rows_too_many += 1
        outcome.problem(f"{stored} messages were stored of {taken} accepted requests and {by_customer} valid message")


async def _put(shop: Shop, outcome: Outcome, cases: list[Case]) -> int:
    """Some at a time; how many were accepted that may have a message in them."""
    taken, left = 0, iter(cases)

    async def client() -> None:
        nonlocal taken
        for case in left:
            answered, took_s = await _asked(shop, outcome, case.asked)
            taken += _judge(outcome, case, answered, took_s)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return taken


async def _asked(shop: Shop, outcome: Outcome, asked: Asked) -> tuple[Answered, float]:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            answered = await shop.ask(asked)
    except TimeoutError:
        outcome.hangs += 1
        answered = Answered()
    return answered, time.perf_counter() - began


def _judge(outcome: Outcome, case: Case, answered: Answered, took_s: float) -> bool:
    """Count the answer; whether a message may have come of it."""
    outcome.malformed[case.channel] += 1
    outcome.kinds[f"{case.channel}: {case.kind}"] += 1
    outcome.longest_s = max(outcome.longest_s, took_s)
    if answered.error is not None:
        outcome.exceptions += 1
        outcome.problem(f"{_shown(case)}: {answered.error!r}")
    if answered.status == 500 and case.channel == "rasa_api" and json.loads(answered.body)["reason"] in _RASAS_OWN:
        outcome.statuses["500 as Rasa's API words a refusal"] += 1
    else:
        outcome.statuses[f"{answered.status // 100}xx" if answered.status else "none"] += 1
        if answered.status >= 500 or (not answered.status and not case.asked.breaks_off):
            outcome.server_errors += 1
            outcome.problem(f"{_shown(case)}: HTTP {answered.status} {answered.body[:300]!r}")
    if case.verdict == "refused" and not 400 <= answered.status < 500:
        outcome.wrongly_taken += 1
        outcome.problem(f"{_shown(case)}: was not refused, HTTP {answered.status} {answered.body[:200]!r}")
    return case.verdict == "at_most_one" and answered.status < 300


def _shown(case: Case) -> str:
    asked = case.asked
    headers = [(name[:40], value[:120]) for name, value in asked.headers]
    return (
        f"[{case.channel}: {case.kind}] {asked.method} {asked.path[:120]}?{asked.query[:200]!r} "
        f"{headers} {asked.body[:700]!r}"
    )


async def _valid(shop: Shop, outcome: Outcome, customer: str, number: int) -> None:
    outcome.valid[customer] += 1
    began = time.perf_counter()
    try:
        said = await CUSTOMERS[customer](shop, number)
    except (TimeoutError, AssertionError, LookupError, ValueError, TypeError) as error:
        said = repr(error)
    outcome.longest_valid_s = max(outcome.longest_valid_s, time.perf_counter() - began)
    if said == ANSWER:
        outcome.answered[customer] += 1
    else:
        outcome.problem(f"a valid message over {customer} was answered {said!r:.300}")


# ---- sockets ----


async def _chat(shop: Shop, outcome: Outcome, rng: random.Random) -> None:
    """Malformed frames on an open socket, each answered by an error; and one that opens none."""
    wire = Wire(shop.lab.app, "/webchat/ws")
    frames = [wrong_frame(rng) for _ in range(FRAMES_A_SOCKET)]
    wire.send(json.dumps({"type": "hello", "protocol": 1}))
    await _next(wire, outcome)
    for frame in frames:
        wire.send(frame)
        _judge_frame(outcome, frame, await _next(wire, outcome))
    await wire.close()
    stranger, frame = Wire(shop.lab.app, "/webchat/ws"), wrong_hello(rng)
    stranger.send(frame)
    _judge_frame(outcome, frame, await _next(stranger, outcome))
    if (more := await _next(stranger, outcome)) is not None:
        outcome.problem(f"a socket stayed open after {frame!r:.300}: {more!r:.200}")
    await stranger.close()
    for one in (wire, stranger):
        if one.error is not None:
            outcome.exceptions += 1
            outcome.problem(f"a websocket ended with {one.error!r}")


def _judge_frame(outcome: Outcome, frame: str | bytes, answer: str | None) -> None:
    outcome.malformed["web"] += 1
    outcome.kinds["web: a frame that cannot be"] += 1
    outcome.statuses["error frame"] += 1
    said: dict[str, Any] = json.loads(answer) if answer is not None else {}
    if said.get("type") != "error" or said["code"] in ("rate_limited", "unavailable"):
        outcome.wrongly_taken += 1
        outcome.problem(f"the frame {frame!r:.300} was answered {answer!r:.300}")


async def _next(wire: Wire, outcome: Outcome) -> str | None:
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            return await wire.next()
    except TimeoutError:
        outcome.hangs += 1
        return None


async def _over_a_session(shop: Shop, outcome: Outcome, rng: random.Random) -> None:
    """Malformed Socket.IO packets, each as the last of a session that is open: a bad one may end it."""
    for _ in range(PACKETS_A_SESSION):
        query = b"EIO=4&transport=polling&sid=" + await socketio_session(shop)
        asked = Asked(path="/socket.io/", query=query, body=_packet(rng))
        case = Case(channel="socketio", kind="a packet that cannot be", asked=asked, verdict="no_message")
        _judge(outcome, case, *await _asked(shop, outcome, asked))
        await shop.ask(Asked(path="/socket.io/", query=query, body=b"1"))


def _packet(rng: random.Random) -> bytes:
    event = m.dumped(["user_uttered", {"message": m.not_text(rng), "session_id": m.hostile(rng)}])
    return rng.choice(
        (b"42" + event, b"42" + event[:-2], b"42", b"42[]", b"42[1]", b"43[]", b"451-[]", b"45x-", b"4", b"49", b"9",
         b"b" + rng.randbytes(9), rng.randbytes(40), b"42/other,[]", b"40{", b"41", b"42" + b"[" * 5_000, b"\x1e" * 99,
         b"42" + m.dumped(["user_uttered", {"message": "", "metadata": m.hostile(rng)}]), b"42[\"session_request\"]")
    )  # fmt: skip


# ---- what the server says of itself ----


class _Errors(logging.Handler):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(logging.ERROR)
        self._outcome = outcome

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is None and not record.name.startswith("kefu"):
            return  # Engine.IO's way of saying that it refused something
        self._outcome.exceptions += 1
        error = record.exc_info[1] if record.exc_info else None
        self._outcome.problem(f"logged {record.name} {record.getMessage()!r:.300} {error!r:.500}")


@contextmanager
def _listening(outcome: Outcome) -> Iterator[None]:
    """Errors that are logged, and tasks that fail unseen, count as exceptions."""
    handler, loop = _Errors(outcome), asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        outcome.exceptions += 1
        outcome.problem(f"the event loop was told: {context.get('message')} {context.get('exception')!r:.500}")

    logging.getLogger().addHandler(handler)
    loop.set_exception_handler(failed)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        logging.getLogger().removeHandler(handler)
