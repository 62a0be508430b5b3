"""One conversation of 10,000 events: what a turn costs at its beginning and at its end.

python -m tests.bench.bench_long  →  results/long_conversation.json

labbot through the real worker on SQLite, one session without end, button payloads (no model), one message after the
other. A turn is from `receive` to the answer in the outbox. Compared are the medians of turns around the same place.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.app import Platform, load_bot
from bot.settings import load_settings
from bot.storage import conversations
from connectors.base import InboundMessage
from models.base import ModelUnavailable, Understanding
from tests.bench.report import REPOSITORY, latency, write

LABBOT = REPOSITORY / "tests" / "bots" / "labbot"
EVENTS = 10_000
WINDOW = 100  # turns whose median stands for a place
AT_MOST = 1.5
SAID = ("/ask_hours", "/chitchat", "/check_balance", "/greet", "/ask_hours")


class Nobody:
    """Payloads need no reader."""

    version = "none"

    async def understand(self, texts: Any) -> list[Understanding]:
        raise ModelUnavailable("only payloads are sent here")


async def measure(home: Path) -> dict[str, Any]:
    bot = load_bot(LABBOT, load_settings())
    # One session without end: expiry would cut the log that is to grow.
    domain = replace(bot.assistant.domain, session_expiration_min=0.0)
    bot = replace(bot, assistant=replace(bot.assistant, domain=domain))
    platform = Platform.build(load_settings(home=home), bot, understander=Nobody())
    await platform.start()
    seconds: list[float] = []
    stored = 0
    try:
        for number in itertools.count():
            message = InboundMessage(
                channel="rest", account="", external_id=str(number), customer="c", sender_id="c",
                text=SAID[number % len(SAID)], received_at=datetime.now(UTC), input_channel="rest",
            )  # fmt: skip
            started = time.perf_counter()
            [receipt] = await platform.ports.receive([message])
            answer = await platform.ports.wait_for_reply(receipt.inbound_id, 30.0)
            seconds.append(time.perf_counter() - started)
            assert answer is not None
            if number % 100 == 0:
                found = await platform.db.read(lambda c: conversations.find(c, bot.assistant.assistant_id, "c"))
                stored = found.event_seq if found else 0
                print(f"  {stored} events", end="\r", flush=True)
                if stored >= EVENTS and number > 3 * WINDOW:
                    break
    finally:
        await platform.stop()
    # The first turns warm caches up; they are part of neither place.
    first, last = seconds[2 : 2 + WINDOW], seconds[-WINDOW:]
    times = statistics.median(last) / statistics.median(first)
    return {
        "events": stored,
        "turns": len(seconds),
        "first": latency(first),
        "last": latency(last),
        "times": round(times, 3),
    }


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as home:
        found = asyncio.run(measure(Path(home)))
    target = f"a turn at event {EVENTS:,} takes at most {AT_MOST} times one at the beginning"
    write("long_conversation", found, targets={target: found["times"] <= AT_MOST})
    return 0 if found["times"] <= AT_MOST else 1


if __name__ == "__main__":
    raise SystemExit(main())
