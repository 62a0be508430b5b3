"""Turns a second of one web and 1, 2 and 4 worker processes on one PostgreSQL, and whether a worker idles meanwhile.

python -m tests.bench.bench_workers [--seconds 20] [--rounds 2]  →  results/workers.json

The reader is scripted, so that what is measured is the queue, the dialogue and the database. Each customer asks over
REST as soon as the last answer came, a new sender every few messages. Beside the load the queue is looked at every
`SAMPLE_S`: which conversations are due and claimed by nobody, and how many each worker holds. All processes share the
machine: with fewer cores than processes more workers cannot be faster, and the processor time says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvloop

from bot.storage.database import Database
from tests.bench.bench_webhook import Connection, cpu_s
from tests.bench.labbot_half import ANSWER, ASKED
from tests.bench.report import latency, percentile, write
from tests.postgres import PostgresServer, find_binaries, new_postgres
from tests.server import free_port

WORKERS = (1, 2, 4)
CUSTOMERS = 64  # as many as one worker has places, so that there always is a free one
MESSAGES_A_SENDER = 8
SECONDS, WARM_UP_S = 20.0, 3.0
SAMPLE_S = 0.05
GRACE_S = 0.1
"""A conversation that is due for less is on its way: the word of it, the claim and its commit take that long."""
MAX_IDLE_SHARE = 0.01

QUEUE = """
SELECT lease_owner, count(*), max(extract(epoch FROM clock_timestamp() - claimable_at)) FROM conversations
WHERE claimable_at IS NOT NULL AND (lease_owner IS NOT NULL OR claimable_at <= clock_timestamp()) GROUP BY lease_owner
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The queue at one instant: `unclaimed` ones are due, the oldest since `oldest_s`; `held` by process id."""

    unclaimed: int
    oldest_s: float
    held: dict[int, int]


@dataclass(kw_only=True)
class Step:
    """What one number of workers did."""

    workers: int
    wall_s: float
    turns_by_worker: list[int]
    cpu_s: dict[str, float]
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def turns_per_s(self) -> float:
        return len(self.seconds) / self.wall_s


@dataclass
class Half:
    """A web or worker process that listens."""

    process: subprocess.Popen[bytes]
    port: int

    def turns(self) -> int:
        """How many turns this process has finished."""
        page = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        lines = [line for line in page.splitlines() if line.startswith('kefu_turns_total{outcome="answered"}')]
        return int(float(lines[0].split()[-1])) if lines else 0


@contextmanager
def half(role: str, home: Path, url: str) -> Iterator[Half]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.labbot_half", role],
        env={**os.environ, "KEFU_HOME": str(home), "KEFU_PORT": str(port), "KEFU_DATABASE_URL": url},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"listening\n":
            raise RuntimeError(f"the {role} process ended with {process.wait()}")
        yield Half(process, port)
    finally:
        process.kill()
        process.wait()


async def customer(number: int, port: int, until: float, step: Step | None) -> None:
    """Ask again and again until that time; the warm-up is noted nowhere."""
    async with Connection("127.0.0.1", port) as connection:
        asked = 0
        while time.perf_counter() < until:
            sender = f"{number}-{asked // MESSAGES_A_SENDER}-{'warm' if step is None else 'measured'}"
            asked += 1
            began = time.perf_counter()
            status, answer = await connection.post(json.dumps({"sender": sender, "message": ASKED}).encode())
            if step is not None:
                step.seconds.append(time.perf_counter() - began)
                step.failed += status != 200 or json.loads(answer) != [{"recipient_id": sender, "text": ANSWER}]


async def load(port: int, seconds: float, step: Step | None) -> None:
    until = time.perf_counter() + seconds
    await asyncio.gather(*(customer(number, port, until, step) for number in range(CUSTOMERS)))


@asynccontextmanager
async def sampling(url: str, samples: list[Sample]) -> AsyncIterator[None]:
    """Look at the queue while the block runs."""

    async def look() -> None:
        while True:
            rows = await (await conn.execute(QUEUE)).fetchall()
            held = {int(owner.split(":")[1]): count for owner, count, _ in rows if owner is not None}
            due = next(((count, float(age)) for owner, count, age in rows if owner is None), (0, 0.0))
            samples.append(Sample(unclaimed=due[0], oldest_s=due[1], held=held))
            await asyncio.sleep(SAMPLE_S)

    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


def postgres_cpu_s(server: PostgresServer) -> float:
    """Processor time of the server and of its connections that are open."""
    main = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    spent = cpu_s(main)
    for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
        with suppress(FileNotFoundError):  # it ended meanwhile
            spent += cpu_s(int(child))
    return spent


async def measured(server: PostgresServer, web: Half, workers: list[Half], url: str, seconds: float) -> Step:
    await load(web.port, WARM_UP_S, None)

    def spent() -> dict[str, float]:
        by_workers = sum(cpu_s(worker.process.pid) for worker in workers)
        return {"web": cpu_s(web.process.pid), "workers": by_workers, "postgresql": postgres_cpu_s(server)}

    turns, cpu, began = [worker.turns() for worker in workers], spent(), time.perf_counter()
    step = Step(workers=len(workers), wall_s=0.0, turns_by_worker=[], cpu_s={})
    async with sampling(url, step.samples):
        await load(web.port, seconds, step)
    step.wall_s = time.perf_counter() - began
    step.cpu_s = {name: value - cpu[name] for name, value in spent().items()}
    step.turns_by_worker = [worker.turns() - before for worker, before in zip(workers, turns, strict=True)]
    return step


def run(server: PostgresServer, count: int, seconds: float) -> Step:
    """One web and `count` worker processes over an empty database."""
    url = new_postgres(server)
    database = Database.open(url)
    database.upgrade()
    database.dispose()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        web = stack.enter_context(half("web", home, url))
        workers = [stack.enter_context(half("worker", home, url)) for _ in range(count)]
        return uvloop.run(measured(server, web, workers, url, seconds))


def idle_share(step: Step, is_waiting: Any) -> float:
    """The share of samples in which a worker holds nothing although something waits."""
    found = [len(sample.held) < step.workers and is_waiting(sample) for sample in step.samples]
    return round(sum(found) / len(found), 4)


def figures_of(steps: list[Step]) -> dict[str, Any]:
    """Of the rounds of one number of workers: the throughput's median, all samples and answers together."""
    seconds = [second for step in steps for second in step.seconds]
    samples = [sample for step in steps for sample in step.samples]
    together = Step(workers=steps[0].workers, wall_s=1, turns_by_worker=[], cpu_s={}, samples=samples)
    ages = [sample.oldest_s for sample in samples if sample.unclaimed]
    return {
        "turns": len(seconds),
        "turns_per_s": round(statistics.median(step.turns_per_s for step in steps), 1),
        "turns_per_s_rounds": [round(step.turns_per_s, 1) for step in steps],
        **latency(seconds),
        "failed": sum(step.failed for step in steps),
        "turns_by_worker": [step.turns_by_worker for step in steps],
        "cores_used": {
            name: round(sum(step.cpu_s[name] for step in steps) / sum(step.wall_s for step in steps), 2)
            for name in steps[0].cpu_s
        },
        "samples": len(samples),
        "share_something_unclaimed": round(len(ages) / len(samples), 4),
        "oldest_unclaimed": latency(ages) if ages else None,
        "share_idle_while_unclaimed": idle_share(together, lambda sample: sample.unclaimed > 0),
        f"share_idle_while_unclaimed_for_{GRACE_S * 1000:.0f}_ms": idle_share(
            together, lambda sample: sample.oldest_s >= GRACE_S
        ),
        "share_idle_beside_a_worker_with_several": idle_share(
            together, lambda sample: max(sample.held.values(), default=0) > 1
        ),
        "held_by_all_workers_p50": percentile([sum(sample.held.values()) for sample in samples], 50),
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=SECONDS, help="of each step")
    options.add_argument(
        "--rounds", type=int, default=2, help="of all steps; in turn, so that all see the same machine"
    )
    given = options.parse_args()
    binaries = find_binaries()
    if binaries is None:
        print("no PostgreSQL: install the package postgresql")
        return 1
    server = PostgresServer(binaries)
    server.start()
    try:
        steps = [run(server, count, given.seconds) for _ in range(given.rounds) for count in WORKERS]
    finally:
        server.stop()
    by_count = {count: figures_of([step for step in steps if step.workers == count]) for count in WORKERS}
    idle = f"share_idle_while_unclaimed_for_{GRACE_S * 1000:.0f}_ms"
    targets = {
        "every message answered": all(figures["failed"] == 0 for figures in by_count.values()),
        f"no worker idle while messages wait: at most {MAX_IDLE_SHARE:.0%} of the samples": all(
            figures[idle] <= MAX_IDLE_SHARE for figures in by_count.values()
        ),
        "every worker worked": all(min(step.turns_by_worker) > 0 for step in steps),
    }
    figures = {
        "concurrent": CUSTOMERS,
        "seconds_a_step": given.seconds,
        "rounds": given.rounds,
        "sampled_every_ms": SAMPLE_S * 1000,
        "workers": {str(count): found for count, found in by_count.items()},
        "speedup_over_one": {
            str(count): round(by_count[count]["turns_per_s"] / by_count[WORKERS[0]]["turns_per_s"], 2)
            for count in WORKERS
        },
    }
    write("workers", figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
