"""Slack's part of bench_channels: events on a schedule against a real server, whose answers a small Slack takes."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from tests import slack_people as workspace
from tests.bench.bench_webhook import Connection, cpu_s
from tests.bench.profiling import Profile
from tests.bench.report import RESULTS, latency, percentile
from tests.bench.serving import trained_home
from tests.bench.talks import TALKS
from tests.server import STARTER, Server, private_home
from tests.slack_server import FakeSlack, credentials, slack

EVENTS_PER_S = 100
WARM_UP_S = 5
MAX_ACK_P99_MS = 300
SLACK_WAITS_S = 3.0
REUSED_WITHIN_S = 3.0
ANSWERED_WITHIN_S = 120.0
"""After the last event; what has no answer by then counts as unanswered."""
TEXTS = tuple(step.message for talk in TALKS for step in talk if not step.is_pressed)


@dataclass
class Load:
    """What Slack would have seen. Times in seconds; `late`: how far behind its schedule this process sent."""

    acks: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    sent: list[str] = field(default_factory=list)  # the conversations


@dataclass(frozen=True, kw_only=True)
class Event:
    channel: str
    body: bytes
    headers: str


def slack_part(folder: Path, *, seconds: int, profile: bool) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    """Figures and targets."""
    return uvloop.run(_measured(folder, seconds, profile))


async def _measured(folder: Path, seconds: int, profile: bool) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    async with slack() as (fake, api_url):
        # The server starts and ends in a thread: the small Slack lives on this loop.
        server = await asyncio.to_thread(_started, folder, api_url)
        assert server.process is not None
        pid = server.process.pid
        try:
            warm = await _load(server.port, EVENTS_PER_S * WARM_UP_S)
            await _answered(fake, warm.sent)
            before, began = cpu_s(pid), time.monotonic()
            with Profile(pid, RESULTS / "channels_profile.txt") if profile else nullcontext():
                load = await _load(server.port, EVENTS_PER_S * seconds)
            busy = (cpu_s(pid) - before) / (time.monotonic() - began)
            last_s = await _answered(fake, load.sent)
            answered = len(set(load.sent) & {post.channel for post in fake.posts})
        finally:
            server.kill()
    return _figures(load, busy, answered, last_s), _targets(load, answered)


def _started(folder: Path, api_url: str) -> Server:
    assistant = folder / "shop"
    shutil.copytree(STARTER, assistant, ignore=shutil.ignore_patterns("__pycache__"))
    (assistant / "credentials.yml").write_text(json.dumps({"slack": credentials(api_url)}), encoding="utf-8")
    return Server(home=private_home(trained_home(), folder), assistant=assistant).start()


def _figures(load: Load, busy: float, answered: int, last_s: float) -> dict[str, Any]:
    n = len(load.sent)
    return {
        "n_events": n,
        "events_per_s": EVENTS_PER_S,
        "ack": latency(load.acks),
        "acks_later_than_3_s": sum(ack > SLACK_WAITS_S for ack in load.acks),
        "sent_late": latency(load.late),
        "not_acknowledged": dict(load.failed),
        "server_processors_busy": round(busy, 2),
        "answered": answered,
        "last_answer_after_last_event_s": round(last_s, 1),
    }


def _targets(load: Load, answered: int) -> dict[str, bool]:
    return {
        f"acknowledged with p99 below {MAX_ACK_P99_MS} ms": percentile(load.acks, 99) * 1000 < MAX_ACK_P99_MS,
        "every event acknowledged": not load.failed,
        "every event answered": answered == len(load.sent),
    }


_numbers = itertools.count(1)


def _events(count: int) -> list[Event]:
    """Signed before the clock runs: Slack takes five minutes for fresh."""
    found = []
    for text in itertools.islice(itertools.cycle(TEXTS), count):
        post = workspace.direct(text, user=f"U{next(_numbers):07d}")
        body = json.dumps(workspace.event(post))
        headers = "".join(f"{name}: {value}\r\n" for name, value in workspace.signed(body).items())
        found.append(Event(channel=post["channel"], body=body.encode(), headers=headers))
    return found


async def _load(port: int, count: int) -> Load:
    """One event each hundredth of a second, whatever became of those before."""
    events, load = _events(count), Load()
    free: deque[tuple[Connection, float]] = deque()
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.1
    tasks = []
    for number, event in enumerate(events):
        due = began + number / EVENTS_PER_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        tasks.append(asyncio.create_task(_deliver(port, event, due, free, load)))
    await asyncio.gather(*tasks)
    for connection, _ in free:
        await connection.__aexit__()
    return load


async def _deliver(port: int, event: Event, due: float, free: deque[tuple[Connection, float]], load: Load) -> None:
    loop = asyncio.get_running_loop()
    load.sent.append(event.channel)
    load.late.append(loop.time() - due)
    try:
        # The youngest; an old one may be about to be closed by the server, which keeps an idle connection for 5 s.
        connection = free.pop()[0] if free and loop.time() - free[-1][1] < REUSED_WITHIN_S else await _connected(port)
        status, _ = await connection.post(event.body, event.headers)
    except (OSError, EOFError) as error:
        load.failed[type(error).__name__] += 1
        return
    load.acks.append(loop.time() - due)
    if status != 200:
        load.failed[f"HTTP {status}"] += 1
    free.append((connection, loop.time()))


async def _connected(port: int) -> Connection:
    return await Connection("127.0.0.1", port, "/webhooks/slack/events").__aenter__()


async def _answered(fake: FakeSlack, channels: Sequence[str]) -> float:
    """Wait until each has an answer; seconds from now to the last one that came, 0 if they were there already."""
    began = time.monotonic()
    missing = set(channels) - {post.channel for post in fake.posts}
    seen, last = len(fake.posts), 0.0
    while missing and time.monotonic() - began < ANSWERED_WITHIN_S:
        await asyncio.sleep(0.05)
        fresh = [post.channel for post in fake.posts[seen:]]
        seen += len(fresh)
        if not missing.isdisjoint(fresh):
            last = time.monotonic() - began
            missing -= set(fresh)
    return last
