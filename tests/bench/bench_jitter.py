"""1,000 browsers whose connections are cut every 15 seconds, for 2 and more, while the server is restarted twice.

python -m tests.bench.bench_jitter [--clients 1000] [--seconds 120]  →  results/jitter.json
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from tests.bench.report import REPOSITORY, percentile, write
from tests.faults.checker import check
from tests.faults.deployment import Deployment, one_process
from tests.faults.generators import WebCustomer, words_of
from tests.faults.webclient import Say, WebClient

ONLINE_S = 15.0  # mean, between two cuts
OFFLINE_S = (2.0, 5.0)
MESSAGE_EVERY_S = 30.0
ARRIVE_WITHIN_S = 15.0
SETTLE_WITHIN_S = 120.0
REREAD_AT_ONCE = 50


async def live(client: WebCustomer, until: float, seed: int) -> None:
    """Come, write, be cut off: half of the cuts come right behind a message, so that its answer is missed."""
    rng = random.Random(f"{client.name}:{seed}")
    await asyncio.sleep(rng.uniform(0, ARRIVE_WITHIN_S))
    async with AsyncExitStack() as online:
        await online.enter_async_context(client)
        next_cut = time.monotonic() + rng.uniform(0, 2 * ONLINE_S)
        next_word = time.monotonic() + rng.uniform(0, MESSAGE_EVERY_S)
        number = 0
        while (now := time.monotonic()) < until:
            if next_word <= now:
                name = f"{client.name}-{number:06}"
                client.say(Say(payload=words_of(name)), name)
                number += 1
                next_word = now + rng.uniform(0.5, 1.5) * MESSAGE_EVERY_S
                if rng.random() < 0.5:
                    await client.until(lambda: not client.unacked, timeout_s=5)
                    next_cut = 0.0
            if next_cut <= now:
                client.drop(rng.uniform(*OFFLINE_S))
                next_cut = time.monotonic() + rng.uniform(0.5, 1.5) * ONLINE_S
            await asyncio.sleep(max(0.01, min(next_cut, next_word, until) - time.monotonic()))
        await client.until(lambda: not client.owed(), timeout_s=SETTLE_WITHIN_S)


async def restart_twice(deployment: Deployment, seconds: float) -> list[float]:
    """A deploy after a third of the time, a SIGKILL after two; how long each took until the server was ready again."""
    took = []
    for stop in (deployment.deploy, deployment.kill):
        await asyncio.sleep(seconds / 3)
        began = time.monotonic()
        await stop("serve")
        await deployment.start("serve")
        took.append(round(time.monotonic() - began, 2))
    return took


async def reread(url: str, clients: Sequence[WebCustomer]) -> list[WebClient]:
    """Each conversation as somebody reads it who opens it anew."""
    places = asyncio.Semaphore(REREAD_AT_ONCE)

    async def read(client: WebCustomer) -> WebClient:
        async with places, WebClient(url, f"{client.name}-again", token=client.token) as reader:
            await reader.until(lambda: reader.last_seen >= client.last_seen, timeout_s=30)
            return reader

    return list(await asyncio.gather(*(read(client) for client in clients)))


async def measure(folder: Path, clients_count: int, seconds: float, seed: int) -> None:
    with one_process(folder, {}) as deployment:
        await deployment.start()
        [url] = deployment.urls
        clients = [WebCustomer(url, f"web{number}", seed=seed) for number in range(clients_count)]
        until = time.monotonic() + seconds
        restarts_s, *_ = await asyncio.gather(
            restart_twice(deployment, seconds), *(live(client, until, seed) for client in clients)
        )
        readers = await reread(url, clients)
    verdict = check(
        [client.conversation_seen(reader) for client, reader in zip(clients, readers, strict=True) if client.events]
    )
    replays_s = [took for client in clients for took in client.replays_s]
    figures = {
        "n_clients": clients_count,
        "n_messages": verdict.sent,
        "acknowledged": verdict.acked,
        "answered": verdict.answered,
        "entries_received": verdict.received,
        "connections": sum(client.connections for client in clients),
        "restarts": len(restarts_s),
        "restart_to_ready_s": restarts_s,
        "replays": len(replays_s),
        "replay_p50_s": round(percentile(replays_s, 50), 3),
        "replay_p99_s": round(percentile(replays_s, 99), 3),
        "replay_max_s": round(max(replays_s), 3),
        **verdict.counts,
        "resyncs": verdict.resyncs,
        "error_frames": dict(sum((client.errors for client in clients), Counter[str]())),
        "seconds": seconds,
        "seed": seed,
        "faults": [asdict(fault) for fault in verdict.faults[:30]],
    }
    targets = {
        "100 % delivered": verdict.is_clean and verdict.sent == verdict.answered,
        "replay p99 < 2 s": percentile(replays_s, 99) < 2,
        "1,000 clients": clients_count >= 1_000,
    }
    write("jitter", figures, targets=targets)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clients", type=int, default=1_000)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    parent = REPOSITORY / ".kefu" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        asyncio.run(measure(Path(folder), given.clients, given.seconds, given.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
