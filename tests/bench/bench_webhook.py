"""Turns a second of `POST /webhooks/rest/webhook`: 32 concurrent customers of the starter shop, every turn durable.

python -m tests.bench.bench_webhook            →  results/webhook.json
python -m tests.bench.bench_webhook --profile  →  also results/webhook_profile.txt: where the server's time goes

Server and client are two processes on the same machine. Each customer plays the conversations of talks.py, a new
sender for each, and sends the next message as soon as the last is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.profiling import Profile
from tests.bench.report import RESULTS, latency, percentile, write
from tests.bench.serving import fresh_home, serving
from tests.bench.talks import TALKS, Step, is_answer, is_right, typed_share
from tests.faults.log import rows
from tests.server import Server

CUSTOMERS = 32
TURNS = 3_000
REPEATS = 3
WARM_UP = 400
MIN_TURNS_PER_S = 150
MAX_P99_MS = 400


@dataclass
class Run:
    """What one run saw. `wrong`: answers of the right kind that were not the expected response, by message."""

    seconds: list[float] = field(default_factory=list)
    pressed_seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    wall_s: float = 0.0
    server_cpu_s: float = 0.0

    @property
    def turns_per_s(self) -> float:
        return len(self.seconds) / self.wall_s


class Connection:
    """One keep-alive HTTP/1.1 connection: as little client as possible, the cores belong to the server."""

    def __init__(self, host: str, port: int, path: str = "/webhooks/rest/webhook") -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        self._where = (host, port)

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(*self._where)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, body: bytes, headers: str = "") -> tuple[int, bytes]:
        """The answer's status and body. `headers`: more of them, each with its line's end."""
        self._writer.write(f"{self._head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return int(head[9:12]), await self._reader.readexactly(length)


def steps_of(customer: int, seed: int) -> Iterator[tuple[str, Step]]:
    """Conversation after conversation, without end: (sender, step)."""
    rng = random.Random(f"{seed}:{customer}")
    number = 0
    while True:
        number += 1
        for step in rng.choice(TALKS):
            yield f"bench-{seed}-{customer}-{number}", step


def measured(server: Server, turns: int, seed: int) -> Run:
    """`turns` turns, with the processor time that the server took for them: it depends least on what else runs."""
    assert server.process is not None
    before = cpu_s(server.process.pid)
    run = uvloop.run(load(server.port, turns, seed))
    run.server_cpu_s = cpu_s(server.process.pid) - before
    return run


def cpu_s(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, turns: int, seed: int) -> Run:
    """`turns` turns by all customers together."""
    run, left = Run(), iter(range(turns))

    async def customer(number: int) -> None:
        async with Connection("127.0.0.1", port) as connection:
            for sender, step in steps_of(number, seed):
                if next(left, None) is None:
                    return
                body = json.dumps({"sender": sender, "message": step.message}, ensure_ascii=False).encode()
                began = time.perf_counter()
                status, answer = await connection.post(body)
                took = time.perf_counter() - began
                run.seconds.append(took)
                if step.is_pressed:
                    run.pressed_seconds.append(took)
                judge(run, sender, step, status, answer)

    began = time.perf_counter()
    await asyncio.gather(*(customer(number) for number in range(CUSTOMERS)))
    run.wall_s = time.perf_counter() - began
    return run


def judge(run: Run, sender: str, step: Step, status: int, answer: bytes) -> None:
    """Note what is no answer at all, and what is not the expected one."""
    if status != 200:
        run.failed[f"HTTP {status}"] += 1
        return
    messages = json.loads(answer)
    if not is_answer(messages, sender):
        run.failed["empty" if messages == [] else "not an answer"] += 1
    elif not is_right(messages, step.answer):
        run.wrong[f"{step.message} → {step.answer}"] += 1


def figures_of(run: Run) -> dict[str, Any]:
    return {
        "turns": len(run.seconds),
        "turns_per_s": round(run.turns_per_s, 1),
        "server_cpu_ms_per_turn": round(run.server_cpu_s * 1000 / len(run.seconds), 2),
        **latency(run.seconds),
        "pressed": latency(run.pressed_seconds),
        "failed": dict(run.failed),
        "not_as_expected": dict(run.wrong),
    }


def record(runs: list[Run], durability: dict[str, Any]) -> bool:
    """Write results/webhook.json; whether every answer was right and the targets are met."""
    turns_per_s = statistics.median(run.turns_per_s for run in runs)
    p99_ms = statistics.median(percentile(run.seconds, 99) * 1000 for run in runs)
    n = sum(len(run.seconds) for run in runs)
    failed, wrong = sum(run.failed.total() for run in runs), sum(run.wrong.total() for run in runs)
    targets = {
        f"at least {MIN_TURNS_PER_S} turns/s (median of the runs)": turns_per_s >= MIN_TURNS_PER_S,
        f"p99 at most {MAX_P99_MS} ms (median of the runs)": p99_ms <= MAX_P99_MS,
        "every message answered": failed == 0,
        "at least 95 % of the answers as expected": wrong <= 0.05 * n,
    }
    figures = {
        "n_turns": n,
        "concurrent": CUSTOMERS,
        "typed_share": round(typed_share(), 3),
        "turns_per_s": round(turns_per_s, 1),
        "p50_ms": round(statistics.median(percentile(run.seconds, 50) * 1000 for run in runs), 2),
        "p95_ms": round(statistics.median(percentile(run.seconds, 95) * 1000 for run in runs), 2),
        "p99_ms": round(p99_ms, 2),
        "server_cpu_ms_per_turn": round(sum(run.server_cpu_s for run in runs) * 1000 / n, 2),
        "as_expected_share": round(1 - (failed + wrong) / n, 4),
        **durability,
        "runs": [figures_of(run) for run in runs],
    }
    write("webhook", figures, targets=targets)
    return all(targets.values())


def durability_of(home: Path, turns: int) -> dict[str, Any]:
    """What the database holds afterwards: every turn, none waiting, and how it was written."""
    states = {row["state"]: row["n"] for row in rows(home, "SELECT state, count(*) AS n FROM inbox GROUP BY state")}
    assert states == {"done": turns}, f"{turns} messages were answered, the inbox holds {states}"
    [journal] = rows(home, "PRAGMA journal_mode")
    return {"database": f"SQLite, synchronous=FULL, journal_mode={journal[0]}", "inbox": states}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--profile", action="store_true", help="sample the server with py-spy during a run of its own")
    options.add_argument("--turns", type=int, default=TURNS)
    options.add_argument("--repeats", type=int, default=REPEATS)
    given = options.parse_args()
    with fresh_home() as home, serving(home) as server:
        assert server.process is not None
        runs = [measured(server, WARM_UP, seed=0)]
        for repeat in range(1, given.repeats + 1):
            runs.append(measured(server, given.turns, seed=repeat))
            print(f"run {repeat}: {figures_of(runs[-1])}", file=sys.stderr)
        durability = durability_of(home, sum(len(run.seconds) for run in runs))
        if given.profile:
            with Profile(server.process.pid, RESULTS / "webhook_profile.txt"):
                measured(server, given.turns, seed=given.repeats + 1)
    return 0 if record(runs[1:], durability) else 1


if __name__ == "__main__":
    sys.exit(main())
